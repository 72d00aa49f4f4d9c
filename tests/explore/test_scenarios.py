"""Every shipped scenario: what it claims is what all its orders show, on whatever store."""

from __future__ import annotations

import random
from functools import cache

import msgspec
import pytest
from tests.explore.random_programs import describe_automata
from tests.explore.shipped import (
    ALL,
    CLAIMS,
    LARGE,
    exploration,
    live_whole,
    make_again,
)

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_protocol.history import Step
from shootdown_verify.explore import (
    Budget,
    Result,
    Strategy,
    Verdict,
    breadth_first,
    explore,
    explorer,
)
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.reduction import ReducedSearch
from shootdown_verify.explore.trace import follow
from shootdown_verify.explore.walks import Uniform, walk
from shootdown_verify.fault_tasks import Environment
from shootdown_verify.judge import judge_instance

BOTH_SIDES = {
    (scenario.name, claim.caught): (scenario.name, claim.subject)
    for scenario in ALL.values()
    for claim in scenario.expectations
    if not claim.kind and scenario.name not in {LARGE, "cow-two-pages-causal"}
}.values()
"""Of each small scenario a discipline that is safe and one that is caught."""
WALKS = 30


@cache
def result_of(
    name: str, discipline: str, strategy: Strategy = Strategy.EXHAUSTIVE, *, every: bool = False
) -> Result:
    """Explore a shipped scenario."""
    return explore(
        ALL[name].program,
        DISCIPLINES[discipline],
        conditions=ALL[name].conditions,
        strategy=strategy,
        every=every,
        outcomes=True,
        budget=Budget(seconds=300),
        faults=Environment(ALL[name].fault_kinds, ALL[name].faults),
    )


@pytest.mark.parametrize(("name", "discipline"), CLAIMS)
def test_claims_hold_in_all_orders(name: str, discipline: str) -> None:
    """A discipline claimed safe is proved so; one claimed caught is, by a check that is named."""
    expectation = ALL[name].expectation(discipline)
    assert expectation is not None

    result = result_of(name, discipline, every=True)

    assert result.complete
    found = {finding.check for told in result.counterexamples for finding in told.findings}
    if expectation.caught:
        assert result.verdict is Verdict.VIOLATION
        assert found == set(expectation.by)
    else:
        assert result.verdict is Verdict.OK
        assert result.hazards.overlapping


@pytest.mark.parametrize(("name", "discipline"), BOTH_SIDES)
def test_reduction_loses_no_step_and_no_outcome(name: str, discipline: str) -> None:
    """Every result of every step, every outcome and every failing check is seen with reduction."""
    seen = []
    for kind in (BreadthFirst, ReducedSearch):
        explored = exploration(ALL[name], discipline)
        search = kind(
            explored.system, quiet=explored.ending.quiet, stuck=explored.ending.stuck, every=True
        )
        search.run(states=1 << 30)
        assert search.complete
        seen.append(
            (
                describe_automata(explored.system),
                explored.ending.outcomes,
                search.violations.keys(),
            )
        )
        explored.system.close()

    assert seen[0] == seen[1]


@pytest.mark.parametrize(("name", "discipline"), CLAIMS)
def test_counterexamples_happen_on_words_of_memory(name: str, discipline: str) -> None:
    """Each step of a counterexample can be made live, and all report the same."""
    for told in result_of(name, discipline, every=True).counterexamples:
        schedule = [(step.task, step.step) for step in told.steps]

        made = make_again(live_whole(ALL[name], discipline), schedule)

        reported = [
            (stamped.task, stamped.record)
            for stamped in told.records
            if not isinstance(stamped.record, Step)
        ]
        assert [(task, record) for task, record in made if not isinstance(record, Step)] == reported


@pytest.mark.parametrize(("name", "discipline"), CLAIMS)
def test_both_stores_report_the_same_along_random_runs(name: str, discipline: str) -> None:
    """Whatever the schedule, each step reports the same on an exploring store and on memory."""
    explored = exploration(ALL[name], discipline)
    system = explored.system
    for seed in range(WALKS):
        run = walk(system, Uniform(random.Random(seed)), lambda _: (), 1000)
        steps = follow(system, run.schedule).steps
        names = [system.specs[step.task].name for step in steps]
        schedule = [
            (name, step.node.request.full_name if step.node.request else "")
            for name, step in zip(names, steps, strict=True)
        ]

        made = make_again(live_whole(ALL[name], discipline), schedule)

        assert made == [
            (name, record)
            for name, step in zip(names, steps, strict=True)
            for record in step.records
        ]
    system.close()


@pytest.mark.parametrize("discipline", ["range_end", "none", "after_set"])
def test_counterexample_of_two_pages_is_shortest(discipline: str) -> None:
    """The two-page COW bug takes 21 steps: CPU0 up to the set, the store, and the two reads."""
    result = result_of("cow-two-pages", discipline)

    assert (result.shortest_steps, result.shortest) == (21, True)
    assert result.counterexamples[0].findings[0].check == "S2"
    assert result.counterexamples[0].steps[-1].task == "DEV0"


def test_a_counterexample_can_be_judged_as_a_whole() -> None:
    """Let run to its end, the counterexample of message passing breaks causality."""
    scenario = ALL["cow-message-passing"]
    result = result_of(scenario.name, "range_end", every=True)

    verdicts = [
        judge_instance([*told.records, *told.aftermath], scenario.program, scenario.conditions)
        for told in result.counterexamples
    ]

    assert min(verdict.weakest_model or 9 for verdict in verdicts) == scenario.weakest
    for told, verdict in zip(result.counterexamples, verdicts, strict=True):
        assert told.findings[0].why in {finding.why for finding in verdict.findings}


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_step_and_list_can_be_made_again(name: str) -> None:
    """The kernel and the device learn about shared state in no other way than they may."""
    discipline = "none" if name == LARGE else "range_end"

    explore(ALL[name].program, DISCIPLINES[discipline], samples=1_000_000)


def test_too_small_a_budget_is_inconclusive() -> None:
    """A search that was stopped by its budget has proved nothing."""
    scenario = ALL["cow-two-pages"]

    result = explore(
        scenario.program, DISCIPLINES["clear_flush"], budget=Budget(states=1000, seconds=60)
    )

    assert (result.verdict, result.complete) == (Verdict.INCONCLUSIVE, False)
    assert result.stopped_by == "states"


@pytest.mark.parametrize("name", ["completion-before-drain", "cow-two-pages"])
def test_schedules_race_states_where_that_takes_long(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two searches comes to its end first proves the same."""
    monkeypatch.setattr(explorer, "_ALONE_S", 0.0)
    monkeypatch.setattr(explorer, "_TURN_S", 0.05)
    monkeypatch.setattr(explorer, "_DPOR_TURN_S", 0.2)
    monkeypatch.setattr(breadth_first, "_STATES_BETWEEN_CLOCKS", 1)
    program = msgspec.structs.replace(ALL[name].program, speculation=())

    result = explore(program, DISCIPLINES["clear_flush"])

    assert (result.verdict, result.complete) == (Verdict.OK, True)
    assert bool(result.traces) == (name == "completion-before-drain")


def test_source_dpor_agrees_where_it_comes_to_an_end() -> None:
    """Schedules and states prove the same of a scenario without prefetching."""
    scenario = ALL["cow-two-pages"]

    late = explore(scenario.program, DISCIPLINES["range_end"], strategy=Strategy.SOURCE_DPOR)

    assert late.verdict is Verdict.VIOLATION
    assert late.findings[0].check == "S2"
