"""Schedules are followed step by step on the machines, and a step that cannot be is named."""

from pathlib import Path

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.explore import explore
from shootdown_verify.litmus import Scenario, load
from shootdown_verify.replay_file import ReplayStep, count_occurrences
from shootdown_verify.replaying import replay_schedule

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def cow_two_pages() -> Scenario:
    """The founding scenario."""
    path = SCENARIOS / "cow-two-pages.litmus"
    return load(path, operations=OPERATIONS, disciplines=DISCIPLINES)


def schedule() -> tuple[ReplayStep, ...]:
    """The explorer's counterexample under range_end."""
    found = explore(cow_two_pages().program, DISCIPLINES["range_end"]).counterexamples[0]
    return count_occurrences((step.task, step.step) for step in found.steps)


def test_a_counterexample_happens_again() -> None:
    """What the explorer found is what the machines show when they follow its schedule."""
    scenario = cow_two_pages()

    replayed = replay_schedule(scenario.program, DISCIPLINES["range_end"], schedule())

    assert (replayed.verdict, replayed.diverged) == ("S2 stale-read", "")
    assert replayed.outcome == "DEV0:r0=0 DEV2:r1=0"


def test_the_right_discipline_does_not_follow_the_schedule() -> None:
    """Under clear_flush the schedule diverges where the notification comes in."""
    scenario = cow_two_pages()

    replayed = replay_schedule(scenario.program, DISCIPLINES["clear_flush"], schedule())

    assert "it is at wp_page_copy.arch_invalidate_secondary_tlbs" in replayed.diverged
    assert "enabled {" in replayed.diverged
