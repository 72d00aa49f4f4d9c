"""Counterexamples of the explorer happen again on real processes, with the same values."""

from __future__ import annotations

import pytest
from tests.explore.test_faults import CAUGHT, SCENARIO_OF, USUAL
from tests.processes.ground import Ground

MINE = """
from shootdown_device_agent.machine.zoo.ignores_invalidation import IgnoresInvalidation


class Mine(IgnoresInvalidation):
    pass
"""
TIMES = 3


@pytest.mark.parametrize(
    ("scenario", "wrong", "shows"),
    [
        ("cow-two-pages", ("--discipline", "range_end"), "S2 stale-read"),
        ("late-insertion", ("--device", "inserts_late"), "S2 stale-read"),
        ("completion-before-drain", ("--device", "completes_before_drain"), "S1 use-after-free"),
        ("completion-before-drain", ("--device", "mine.py:Mine"), "S1 use-after-free"),
    ],
)
def test_what_was_explored_happens_live(
    ground: Ground, scenario: str, wrong: tuple[str, ...], shows: str
) -> None:
    """Whichever device it was, every grant is obeyed and every value is the same, each time."""
    (ground.root / "mine.py").write_text(MINE)
    found = ground.do("explore", scenario, *wrong, "--json")

    again = ground.do("replay", found.told["replay"], "--live", "--verify", str(TIMES), "--json")

    assert again.status == 0, str(again)
    assert (again.told["same"], again.told["verdict"]) == (TIMES, shows)


@pytest.mark.parametrize("kind", CAUGHT)
def test_every_kind_of_fault_that_is_caught_happens_live(ground: Ground, kind: str) -> None:
    """A fault of a schedule is applied by whoever has it, whatever the name of its task is."""
    scenario = SCENARIO_OF.get(kind, USUAL)
    found = ground.do("explore", scenario, "--faults", "1", "--fault-kinds", kind, "--json")

    again = ground.do("replay", found.told["replay"], "--live", "--verify", "1", "--json")

    assert again.status == 0, str(again)
    assert (again.told["same"], again.told["verdict"].split()[0]) == (1, CAUGHT[kind])


def test_a_deadlock_is_told_from_a_lost_agent(ground: Ground) -> None:
    """When a schedule is over and nothing moves any more, that is what there is to see."""
    found = ground.do(
        "explore", "drain-deadlock", "--device", "drain_waits_for_translation", "--json"
    )

    again = ground.do("replay", found.told["replay"], "--live", "--verify", "2", "--json")

    assert again.status == 0, str(again)
    assert (again.told["same"], again.told["verdict"]) == (2, "S5 deadlock")


def test_a_schedule_that_cannot_be_followed_says_where(ground: Ground) -> None:
    """A step that nobody is at is a divergence, with its number, and no success."""
    found = ground.do("explore", "cow-two-pages", "--discipline", "range_end", "--json")
    path = ground.root / "wrong.replay"
    text = (ground.root / found.told["replay"]).read_text()
    path.write_text(text.replace("wp_page_copy.get_page", "wp_page_copy.put_page", 1))

    again = ground.do("replay", str(path), "--live", "--verify", "1")

    assert again.status == 4, str(again)
    assert "expected CPU0 wp_page_copy.put_page" in again.output
    assert "enabled {" in again.output
