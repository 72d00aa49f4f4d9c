"""Every faulty device and every wrong discipline is caught by the pass that should catch it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.explore.shipped import LARGE

from shootdown_cli.scenarios import read_scenario
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.check.passes import pass_of
from shootdown_verify.explore import Budget, Strategy, explore
from shootdown_verify.judge import judge_instance
from shootdown_verify.replaying import in_known_order

FOLDER = Path(__file__).parents[2] / "configs" / "scenarios"
ALL = {path.stem: read_scenario(path) for path in sorted(FOLDER.rglob("*.litmus"))}
CLAIMED = {
    expectation.subject: (scenario.name, expectation.configuration.discipline)
    for scenario in reversed(ALL.values())
    for expectation in scenario.expectations
    if expectation.device and expectation.caught and not expectation.configuration.mutant
}
"""A scenario for each device that one says to catch, and the discipline beside it."""

PASS_OF_DEVICE = {
    "caches_not_present": "liveness",
    "completes_before_drain": "protocol",
    "completes_what_has_arrived": "protocol",
    "drain_waits_for_translation": "liveness",
    "duplicate_completion": "protocol",
    "gone": "liveness",
    "honours_first_page": "translation",
    "ignores_ats_disable": "protocol",
    "ignores_detach": "translation",
    "ignores_global": "translation",
    "ignores_invalidation": "translation",
    "ignores_pasid": "translation",
    "inserts_late": "translation",
    "invalidates_atc_first": "translation",
    "keeps_atc_over_reset": "translation",
    "keeps_larger_entries": "freshness",
    "keeps_tables": "translation",
    "miscounts_completions": "protocol",
    "needs_two_invalidations": "translation",
    "retries_for_ever": "liveness",
    "serves_read_only": "liveness",
    "stops_early": "protocol",
    "trusts_success": "translation",
    "uses_after_completing": "translation",
    "wrong_itag": "protocol",
}
"""A device without a line here fails the tests: say which pass its fault is a matter of."""

CAUGHT_BY = {
    ("none", "cow-two-pages"): "freshness",
    ("range_start", "cow-message-passing"): "freshness",
    ("before_clear", "cow-message-passing"): "freshness",
    ("after_set", "cow-two-pages"): "freshness",
    ("after_unlock", "cow-two-pages"): "freshness",
    ("range_end", "cow-two-pages"): "freshness",
    ("before_free", "cow-two-pages"): "freshness",
    ("lazy", "cow-two-pages"): "freshness",
    ("none", "zap-use-after-free"): "translation",
    ("range_start", "zap-use-after-free"): "translation",
    ("before_clear", "zap-use-after-free"): "translation",
    ("range_end", "zap-use-after-free"): "translation",
    ("lazy", "zap-use-after-free"): "translation",
    ("leaf_only", "munmap-page-tables"): "translation",
}
"""Pass by discipline and scenario: who reads an old page, and who reaches a freed one."""

RIGHT = {"clear_flush", "linux-6.1", "linux-6.18"}
"""Disciplines that notify under the lock where a page is replaced, and before it is freed."""


def passes_of(scenario: str, discipline: str, device: type[Device] = Device) -> set[str]:
    """The passes that find something in the counterexamples of a scenario."""
    found = ALL[scenario]
    strategy = Strategy.POS if scenario == LARGE else Strategy.EXHAUSTIVE
    result = explore(
        found.program,
        DISCIPLINES[discipline],
        conditions=found.conditions,
        make_device=device,
        strategy=strategy,
        budget=Budget(seconds=50),
    )
    program = in_known_order(found.program)
    judged = [
        judge_instance((*told.records, *told.aftermath), program, found.conditions)
        for told in result.counterexamples
    ]
    return {pass_of(finding) for verdict in judged for finding in verdict.findings}


def test_every_faulty_device_and_every_discipline_has_a_line() -> None:
    """Nothing that is registered goes without saying what catches it, or that it is right."""
    assert set(ZOO) - set(PASS_OF_DEVICE) == set()
    assert set(DISCIPLINES) == RIGHT | {discipline for discipline, _ in CAUGHT_BY}


@pytest.mark.parametrize("device", ZOO)
def test_a_faulty_device_is_caught_by_its_pass(device: str) -> None:
    """In a scenario that names it, beside a kernel that is right."""
    scenario, discipline = CLAIMED[device]

    found = passes_of(scenario, discipline, ZOO[device])

    assert PASS_OF_DEVICE[device] in found


@pytest.mark.parametrize(("discipline", "scenario"), CAUGHT_BY)
def test_a_wrong_discipline_is_caught_by_its_pass(discipline: str, scenario: str) -> None:
    """Notified too early or too late, a device reads what it must not."""
    assert CAUGHT_BY[discipline, scenario] in passes_of(scenario, discipline)


@pytest.mark.parametrize("discipline", sorted(RIGHT))
@pytest.mark.parametrize("scenario", sorted({scenario for _, scenario in CAUGHT_BY}))
def test_no_pass_finds_anything_under_a_right_discipline(discipline: str, scenario: str) -> None:
    """What condemned the right ones would be worth nothing."""
    assert passes_of(scenario, discipline) == set()
