"""Real bugs on real processes: a fault holds threads in their windows, and they come out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.processes.ground import Ground

PLANS = Path(__file__).parents[2] / "configs" / "faults" / "bugs"
BUGS = sorted(path.stem for path in PLANS.glob("*.toml"))
INSTANCES = 200


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_met_live_by_the_command_that_is_told(ground: Ground, bug: str) -> None:
    """Its wrong side is a violation, and the same fault does the right side no harm."""
    live = ground.do("bugs", bug, "--json").told["live"].split()
    command, scenario, wrong = live[:2], live[2], live[3 : live.index("--instances")]

    found = ground.run(scenario, *wrong, instances=INSTANCES)
    fixed = ground.run(scenario, "--fault", bug, instances=INSTANCES)

    assert (command, scenario) == (["shootdown", "run"], bug)
    assert (found.status, found.told["verdict"]) == (1, "violation"), str(found)
    assert [fault["applied"] > 0 for fault in found.told["faults"]] == [True]
    assert fixed.status in (0, 3), str(fixed)
    assert (fixed.told["instances"], fixed.told["violations"]) == (INSTANCES, 0)
