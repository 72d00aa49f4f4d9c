"""Every faulty device is caught by the scenario that names it, where the right one is proved."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.explore.shipped import ALL, DEVICE_CLAIMS, JOINED_CLAIMS, LARGE
from tests.litmus.texts import BUGS

from shootdown_cli import declared
from shootdown_cli.bugs import load_bugs
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mutant import RIGHT
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.explore import Budget, Result, Strategy, Verdict, explore
from shootdown_verify.litmus import Expectation


def result_of(name: str, device: str, strategy: Strategy = Strategy.EXHAUSTIVE) -> Result:
    """Explore a shipped scenario with a faulty device and a kernel that is right."""
    return explore(
        ALL[name].program,
        DISCIPLINES["clear_flush"],
        conditions=ALL[name].conditions,
        make_device=ZOO[device],
        strategy=strategy,
        every=strategy is Strategy.EXHAUSTIVE,
        budget=Budget(seconds=50),
    )


def test_every_faulty_device_has_a_scenario() -> None:
    """A device that no scenario claims to catch would test nothing."""
    bugs = load_bugs(BUGS).values()
    there = {claim.subject for bug in bugs for claim in bug.wrong if claim.device}
    there |= {claim.subject for _, claim in JOINED_CLAIMS if claim.device and claim.caught}

    assert {device for _, device, _ in DEVICE_CLAIMS} | there == set(ZOO)


def test_every_faulty_device_is_named_where_people_look() -> None:
    """The option's help and the page about exploring list all of them."""
    page = (Path(__file__).parents[2] / "docs" / "exploring.md").read_text()
    told = str(declared.DeviceOption)

    assert [name for name in ZOO if f"| `{name}` |" not in page or name not in told] == []


@pytest.mark.parametrize(("name", "device", "by"), [c for c in DEVICE_CLAIMS if c[0] != LARGE])
def test_a_faulty_device_is_caught_by_its_checks(
    name: str, device: str, by: tuple[str, ...]
) -> None:
    """All orders are looked at, and what fails in them is what the scenario says, no more."""
    result = result_of(name, device)

    assert (result.verdict, result.complete) == (Verdict.VIOLATION, True)
    found = {finding.check for told in result.counterexamples for finding in told.findings}
    assert found == set(by)


@pytest.mark.parametrize(("name", "claim"), JOINED_CLAIMS, ids=str)
def test_what_is_claimed_of_mutants_and_of_two_things_holds(name: str, claim: Expectation) -> None:
    """A wrong kernel is caught by its checks, as is what is wrong under one discipline only."""
    said = claim.configuration

    result = explore(
        ALL[name].program,
        DISCIPLINES[said.discipline],
        conditions=ALL[name].conditions,
        make_device=ZOO[said.device] if said.device else Device,
        mutant=MUTANTS[said.mutant] if said.mutant else RIGHT,
        every=True,
        budget=Budget(seconds=50),
    )

    assert result.complete
    found = {finding.check for told in result.counterexamples for finding in told.findings}
    assert found == set(claim.by)


@pytest.mark.parametrize(("name", "device", "by"), [c for c in DEVICE_CLAIMS if c[0] == LARGE])
def test_a_faulty_device_is_caught_at_random_where_orders_are_many(
    name: str, device: str, by: tuple[str, ...]
) -> None:
    """What takes a minute to find in all orders is met in few runs at random."""
    result = result_of(name, device, Strategy.POS)

    assert result.verdict is Verdict.VIOLATION
    assert {finding.check for finding in result.findings} <= set(by)


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("late-insertion", "inserts_late", "atc_insert"),
        ("completion-before-drain", "completes_before_drain", "access"),
        ("drain-deadlock", "drain_waits_for_translation", "page_request"),
    ],
)
def test_the_counterexample_shows_the_step_that_is_wrong(name: str, device: str, said: str) -> None:
    """After the invalidation was applied comes what the right device would not have done."""
    steps = [step.step for step in result_of(name, device).counterexamples[0].steps]

    assert any(step.endswith(said) for step in steps)
    assert "atc_invalidate" in steps
