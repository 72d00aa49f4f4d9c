"""``shootdown step``: choosing, going back, saving, with lines piped in."""

from __future__ import annotations

import io
import re
import sys

import pytest
from tests.cli.conftest import Shootdown, Told
from tests.explore.shipped import ALL

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_verify.explore import explore


class Steps:
    """Gives the command lines to read."""

    def __init__(self, shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep what obeys command lines."""
        self.shootdown = shootdown
        self.monkeypatch = monkeypatch

    def __call__(self, *lines: str, discipline: str = "range_end") -> Told:
        """Step through the founding scenario."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return self.shootdown("step", "cow-two-pages", "--discipline", discipline)


@pytest.fixture
def steps(shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Obeys lines piped into the command."""
    return Steps(shootdown, monkeypatch)


def counterexample() -> list[str]:
    """Tasks of the explorer's counterexample under range_end, step by step."""
    found = explore(ALL["cow-two-pages"].program, DISCIPLINES["range_end"]).counterexamples[0]
    return [step.task for step in found.steps]


def test_enabled_steps_are_numbered_and_others_wait(steps: Steps) -> None:
    """At the start three tasks can go; the end of input ends the command."""
    told = steps()

    assert told.status == 0
    assert "   1  CPU0  wp_page_copy.mmap_read_lock A" in told.output
    assert "   3  DEV2  device.atc_lookup B" in told.output
    assert "   -  CPU2  when, waits" in told.output


def test_a_step_is_chosen_by_number_or_by_name(steps: Steps) -> None:
    """Both make the same step, and the output says which one that was."""
    by_number = steps("3", "q").output
    by_name = steps("dev2", "q").output

    assert "[1] DEV2 device.atc_lookup" in by_number
    assert by_number.replace("> 3", "> dev2") == by_name


def test_a_counterexample_can_be_walked_to_its_end(steps: Steps) -> None:
    """Entries change on the way, the last step is wrong, and the exit status says so."""
    told = steps(*counterexample(), "q")

    assert told.status == 1
    assert re.search(r"^    = entry A: frame 0x10\w+ -> none$", told.output, re.MULTILINE)
    assert "! S2 stale-read: read A=0 (version 0)" in told.output


def test_undoing_goes_back_to_what_was(steps: Steps) -> None:
    """After undo the same steps can go as before, and further back there is nothing."""
    told = steps("CPU0", "u", "u", "q")

    first, *_, last = told.output.split("\n\n")
    assert "undone: CPU0 wp_page_copy.mmap_read_lock" in told.output
    assert "there is nothing to undo" in told.output
    assert "   1  CPU0  wp_page_copy.mmap_read_lock A" in last
    assert first.startswith("cow-two-pages under range_end")


def test_what_cannot_be_made_is_said_and_changes_nothing(steps: Steps) -> None:
    """A task that waits, one that is misspelled, a number too high."""
    told = steps("CPU2", "DEV22", "99", "j", "q")

    assert "CPU2 waits: the guard of when is false" in told.output
    assert "did you mean DEV2?" in told.output
    assert "'99' is no step" in told.output
    assert "[1]" not in told.output


def test_a_saved_schedule_can_be_replayed(steps: Steps, shootdown: Shootdown) -> None:
    """What was walked by hand is a replay file like the explorer's."""
    saved = steps(*counterexample(), "s mine.replay", "q")

    told = shootdown("replay", "mine.replay", "--verify", "2")

    assert "saved mine.replay: S2 stale-read" in saved.output
    assert told.status == 0
    assert told.output.startswith("2/2  S2 stale-read")


def test_a_schedule_that_passes_is_saved_as_one(steps: Steps, shootdown: Shootdown) -> None:
    """Under the right discipline the same beginning is ok, and stays so."""
    steps("DEV2", "DEV2", "s ok.replay", "q", discipline="clear_flush")

    told = shootdown("replay", "ok.replay", "--verify", "1")

    assert told.status == 0
    assert told.output.startswith("1/1  ok")
