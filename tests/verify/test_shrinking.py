"""Shrinking leaves out what the violation can do without, and never takes another for the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.litmus.texts import SCENARIOS, read_file

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.explore import Budget, Counterexample, Result, explore
from shootdown_verify.litmus import Scenario, parse
from shootdown_verify.litmus.sheet import take_apart
from shootdown_verify.replay_file import count_occurrences
from shootdown_verify.replaying import replay_schedule
from shootdown_verify.shrinking import Shrunk, claim_of, shrink

SUPERFLUOUS = """\
SHOOTDOWN superfluous
"CPU0 and DEV0 are enough, and A: CPU1, DEV1 and B have nothing to do with it."
{
  A = 0 rw; B = 0 rw;
  atc DEV0 A; atc DEV1 B;
}
 CPU0            | CPU1      | DEV0      | DEV1      ;
 zap_pte_range A | store B 1 | load A r0 | load B r1 ;
weakest none
caught none : S1
"""
TWO_WRONGS = """\
SHOOTDOWN two-wrongs
"A stale read of B in two threads, and beside it a use after free of A that needs fewer."
{
  A = 0 rw; B = 0 cow;
  atc DEV0 A; atc DEV1 B;
}
 CPU0            | CPU1           | CPU2                    | DEV0      | DEV1      ;
 zap_pte_range A | wp_page_copy B | store B 1 when writable | load A r0 | load B r1 ;
weakest none
caught none : S1 S2
"""


def read(text: str) -> Scenario:
    """A scenario whose file would have its name."""
    name = text.split(maxsplit=2)[1]
    return parse(text, f"{name}.litmus", operations=OPERATIONS, disciplines=DISCIPLINES)


def search(scenario: Scenario, every: bool) -> Result:
    """Explore a scenario in which nobody is notified."""
    return explore(
        scenario.program,
        DISCIPLINES["none"],
        conditions=scenario.conditions,
        budget=Budget(states=100_000),
        every=every,
        samples=0,
    )


def shrunk(scenario: Scenario, found: Counterexample, seconds: float = 30.0) -> Shrunk | None:
    """Shrink what happens where nobody is notified."""
    claim = claim_of([("", "none")], found.findings[0].check)
    return shrink(scenario, found, read, search, claim=claim, seconds=seconds)


def found_by(scenario: Scenario, check: str) -> Counterexample:
    """The counterexample of a check."""
    result = search(scenario, every=True)
    return next(c for c in result.counterexamples if c.findings[0].check == check)


def names(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Threads and locations."""
    program = scenario.program
    return [c.name for c in program.columns], [place.name for place in program.locations]


def test_a_superfluous_thread_and_page_are_left_out() -> None:
    """Two threads and a page are the core."""
    scenario = read(SUPERFLUOUS)

    smallest = shrunk(scenario, found_by(scenario, "S1"))

    assert smallest is not None
    assert names(smallest.scenario) == (["CPU0", "DEV0"], ["A"])
    assert smallest.counterexample.findings[0].check == "S1"


def test_what_is_left_happens_again() -> None:
    """The smaller scenario's schedule, followed on the machines, shows the same."""
    scenario = read(SUPERFLUOUS)
    smallest = shrunk(scenario, found_by(scenario, "S1"))
    assert smallest is not None
    steps = count_occurrences((step.task, step.step) for step in smallest.counterexample.steps)

    replayed = replay_schedule(smallest.scenario.program, DISCIPLINES["none"], steps)

    assert (replayed.diverged, replayed.verdict) == ("", "S1 use-after-free")


@pytest.mark.parametrize(
    ("check", "threads", "locations"),
    [("S1", ["CPU0", "DEV0"], ["A"]), ("S2", ["CPU1", "CPU2", "DEV1"], ["B"])],
)
def test_another_violation_is_never_taken(
    check: str, threads: list[str], locations: list[str]
) -> None:
    """Whichever of two wrongs is shrunk, it is that one that is left."""
    scenario = read(TWO_WRONGS)

    smallest = shrunk(scenario, found_by(scenario, check))

    assert smallest is not None
    assert smallest.counterexample.findings[0].check == check
    assert names(smallest.scenario) == (threads, locations)


def test_a_scenario_of_which_all_is_needed_stays() -> None:
    """There is nothing to say when nothing was left out."""
    scenario = read(SUPERFLUOUS)
    smallest = shrunk(scenario, found_by(scenario, "S1"))
    assert smallest is not None

    again = shrunk(smallest.scenario, smallest.counterexample)

    assert again is None


def test_no_time_leaves_nothing_out() -> None:
    """A budget that is spent stops it before the first attempt."""
    scenario = read(SUPERFLUOUS)

    assert shrunk(scenario, found_by(scenario, "S1"), seconds=0.0) is None


def silent(scenario: Scenario) -> Scenario:
    """A scenario without what it claims."""
    return replace(scenario, expectations=(), weakest=None, facts=None)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_is_put_together_as_it_was(path: Path) -> None:
    """Taken apart and put together again, every shipped scenario says the same but for claims."""
    scenario = read_file(path)
    kind = "" if scenario.program.bound else "device"
    claim = claim_of([(kind, "inserts_late" if kind else "none")], "S1")

    again = read(take_apart(scenario.text, claim).text)

    assert silent(again) == silent(scenario)
