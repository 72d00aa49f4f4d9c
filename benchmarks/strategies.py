"""How fast each strategy of the explorer is, per state or per step, on `cow-two-pages`.

The floor is what any search in Python must do for a state: look an integer up in a dict, put it
there, and append it to a list. Both are measured in processor time, for neither waits for anything.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from benchmarks.against_spin import SCENARIO
from benchmarks.measure import Effort, Row, in_child

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.explore import Budget, Strategy, explore
from shootdown_verify.litmus import load

RUNS: Final = 2000
STEPS: Final = 100_000
FLOOR_STATES: Final = 300_000
_US: Final = 1e6
_STATE_BITS: Final = 300


def rows(effort: Effort) -> Iterator[Row]:
    """A row for each strategy, under the discipline that nothing breaks."""
    for strategy in Strategy:
        rounds: list[dict[str, Any]] = []
        floor: list[float] = []
        for _ in range(effort.rounds):
            rounds.append(in_child(partial(_explored, strategy, effort)))
            floor.append(in_child(partial(_bare, effort.of(FLOOR_STATES))))
        ours = [told["seconds"] * _US / told["moves"] for told in rounds]
        schedules = statistics.median(told["schedules"] / told["seconds"] for told in rounds)
        what = "step" if schedules else "state"
        note = f"{_US / statistics.median(ours):,.0f} {what}s a second"
        if schedules:
            note += f", {schedules:,.0f} schedules a second"
        yield Row("strategies", f"a {what}, {strategy.value}", ours, floor, "us", note=note)


def _explored(strategy: Strategy, effort: Effort) -> dict[str, Any]:
    scenario = load(SCENARIO, operations=OPERATIONS, disciplines=DISCIPLINES)
    began = time.process_time()
    result = explore(
        scenario.program,
        DISCIPLINES["clear_flush"],
        strategy=strategy,
        preemptions=2,
        budget=Budget(runs=effort.of(RUNS), steps=effort.of(STEPS)),
        samples=0,
    )
    spent = time.process_time() - began
    assert not result.counterexamples
    return {
        "seconds": spent,
        "moves": result.states or result.steps,
        "schedules": result.traces + result.blocked,
    }


def _bare(count: int) -> float:
    """Microseconds a state."""
    high = 1 << _STATE_BITS
    seen: dict[int, int] = {}
    order: list[int] = []
    began = time.process_time()
    for number in range(count):
        state = high | number
        if state not in seen:
            seen[state] = number
            order.append(state)
    return (time.process_time() - began) * _US / count
