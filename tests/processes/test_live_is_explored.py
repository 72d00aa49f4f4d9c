"""What real processes show is among what the explorer found, for every shipped scenario."""

from __future__ import annotations

import json

import pytest
from tests.explore.shipped import ALL, LARGE
from tests.processes.ground import Ground

from shootdown_cli.run import RunOptions, run
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_verify.explore import explore

INSTANCES = 300
SHARES = 6
"""Testbeds over which the scenarios are shared out, so that none goes on for a minute."""
SMALL = sorted(ALL.keys() - {LARGE})


def explored(name: str, discipline: str) -> frozenset[str]:
    """All outcomes of a scenario's orders, wrong ones too."""
    result = explore(
        ALL[name].program,
        DISCIPLINES[discipline],
        conditions=ALL[name].conditions,
        outcomes=True,
        every=True,
    )
    assert result.complete, result.stopped_by
    return result.outcomes


def raced(ground: Ground, name: str, discipline: str) -> set[str]:
    """Outcomes of a live run, asked for from this process: a command's start takes as long."""
    run(
        RunOptions(
            name,
            discipline,
            mutant="",
            testbed="",
            instances=INSTANCES,
            seed=1,
            out=ground.out,
            as_json=True,
            on=ground.name("one"),
        )
    )
    told = json.loads((ground.out / "latest" / "verdict.json").read_text())
    return set(told["histogram"])


@pytest.mark.parametrize(
    ("discipline", "names"),
    [
        *(("clear_flush", SMALL[share::SHARES]) for share in range(SHARES)),
        *(("range_end", SMALL[share::SHARES]) for share in range(SHARES)),
        ("none", [LARGE]),
    ],
)
def test_live_outcomes_are_among_those_explored(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, discipline: str, names: list[str]
) -> None:
    """One testbed races scenario after scenario; no outcome is one that no order leads to."""
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(ground.runtime))
    ground.up("one")
    unexplained = {}
    for name in names:
        seen = raced(ground, name, discipline)
        assert seen
        unexplained[name] = seen - explored(name, discipline)

    assert unexplained == {name: set() for name in names}
    assert ground.do("down", "--on", "one").status == 0


def test_the_wrong_outcome_would_not_go_unnoticed() -> None:
    """What only the late discipline can show is missing where the right one was explored."""
    late = explored("cow-two-pages", "range_end") - explored("cow-two-pages", "clear_flush")

    assert late == {"DEV0:r0=0 DEV2:r1=1"}
