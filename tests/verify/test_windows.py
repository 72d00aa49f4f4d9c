"""Long histories: windows lose no cycle, and what was not recorded never makes a violation."""

from __future__ import annotations

import io
import json
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_verify.check.finding import Model
from shootdown_verify.check.models import HOLDS
from shootdown_verify.check.passes import INCONCLUSIVE, OK, VIOLATION
from shootdown_verify.foreign.columns import Columns
from shootdown_verify.foreign.guess import guesses
from shootdown_verify.foreign.jsonl import read_stream
from shootdown_verify.foreign.matching import match
from shootdown_verify.foreign.verdict import judge
from shootdown_verify.foreign.windows import Placed, execution, positions, time_order, windows

THREADS = 4
LOCATIONS = 3

Lines = list[dict[str, object]]


def machine(random: Random, events: int, *, buffered: bool, wrong: float) -> Lines:
    """What threads do that have store buffers or not; a share of the loads is stale."""
    buffers: list[list[tuple[int, dict[str, object]]]] = [[] for _ in range(THREADS)]
    versions: list[Lines] = [[] for _ in range(LOCATIONS)]
    lines: Lines = []
    for number in range(1, events + 1):
        thread, place = random.randrange(THREADS), random.randrange(LOCATIONS)
        while buffers[thread] and (random.random() < 0.5 or not buffered):
            where, made = buffers[thread].pop(0)
            versions[where].append(made)
        line: dict[str, object] = {"thread": f"P{thread}", "location": f"x{place}"}
        line |= {"start": 10 * number - random.randrange(25), "end": 10 * number}
        if random.random() < 0.5:
            line |= {"kind": "store", "value": number}
            buffers[thread].append((place, line))
        else:
            own = [made for where, made in buffers[thread] if where == place]
            seen = own or versions[place]
            back = -1 - min(len(seen) - 1, random.randrange(4)) if random.random() < wrong else -1
            line |= {"kind": "load", "value": seen[back]["value"] if seen else 0}
        lines.append(line)
    for buffer in buffers:
        for where, made in buffer:
            versions[where].append(made)
    for made_here in versions:
        for order, made in enumerate(made_here, 1):
            made["order"] = order
    return lines


def read(lines: Lines, *, without: tuple[str, ...] = ()) -> Columns:
    """The history of some lines, of which some fields were not recorded."""
    kept = [{k: v for k, v in line.items() if k not in without} for line in lines]
    return read_stream(io.BytesIO("\n".join(map(json.dumps, kept)).encode()), "history")


def whole_verdicts(columns: Columns) -> dict[Model, bool]:
    """Each model by its pass, on all events at once."""
    chosen = next(guesses(columns, match(columns)))
    placed = Placed(columns, chosen.writer, positions(columns, chosen.writer, chosen.rank))
    every = np.arange(len(columns))
    return {
        model: HOLDS[model](execution(placed, every, timed=model is Model.REAL_TIME))
        for model in Model
    }


SIZES = st.integers(2, 120)
SHARES = st.sampled_from((0.0, 0.0, 0.02, 0.3))


@given(st.randoms(use_true_random=False), SIZES, st.booleans(), SHARES)
def test_windows_lose_no_cycle(random: Random, events: int, buffered: bool, wrong: float) -> None:
    """Judged window by window, every model has the verdict that the whole has."""
    columns = read(machine(random, events, buffered=buffered, wrong=wrong))

    found = judge(columns).models

    expected = {m: OK if holds else VIOLATION for m, holds in whole_verdicts(columns).items()}
    assert found == expected


@given(st.randoms(use_true_random=False), SIZES, st.booleans(), SHARES)
def test_a_cycle_lies_in_one_window(
    random: Random, events: int, buffered: bool, wrong: float
) -> None:
    """Windows are apart, and each violation of the whole is one of a window."""
    columns = read(machine(random, events, buffered=buffered, wrong=wrong))
    chosen = next(guesses(columns, match(columns)))
    placed = Placed(columns, chosen.writer, positions(columns, chosen.writer, chosen.rank))

    for timed, model in ((False, Model.SC), (True, Model.REAL_TIME)):
        parts = windows(placed, time_order(placed), timed=timed)
        together = [event for part in parts for event in part.tolist()]
        assert len(together) == len(set(together))
        holds = all(HOLDS[model](execution(placed, part, timed=timed)) for part in parts)
        assert holds == whole_verdicts(columns)[model]


@pytest.mark.parametrize("without", [("order",), ("order", "start", "end"), ("start", "end")])
@given(st.randoms(use_true_random=False), st.integers(2, 60), st.booleans(), SHARES)
def test_what_was_not_recorded_never_makes_a_violation(
    without: tuple[str, ...], random: Random, events: int, buffered: bool, wrong: float
) -> None:
    """A model that holds with all fields holds with fewer, or is not decided."""
    lines = machine(random, events, buffered=buffered, wrong=wrong)
    full, less = judge(read(lines)).models, judge(read(lines, without=without)).models

    condemned = [m for m in Model if full[m] == OK and less[m] == VIOLATION]

    assert condemned == []


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_long_history_is_inferred(seed: int) -> None:
    """Thread after thread, without times and orders, a sequential history is found to be one."""
    lines = machine(Random(seed), 1500, buffered=False, wrong=0.0)
    lines.sort(key=lambda line: str(line["thread"]))

    verdict = judge(read(lines, without=("order", "start", "end")))

    assert (verdict.verdict, verdict.models[Model.SC]) == (OK, OK)


def test_where_no_choice_is_found_nothing_is_claimed() -> None:
    """A long history of a weaker machine, with nothing recorded, is not called sequential."""
    lines = machine(Random(7), 1500, buffered=True, wrong=0.0)

    models = judge(read(lines, without=("order", "start", "end"))).models

    assert models[Model.SC] in {VIOLATION, INCONCLUSIVE}
    assert models[Model.TSO] in {OK, INCONCLUSIVE}
