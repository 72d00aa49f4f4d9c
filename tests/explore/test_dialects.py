"""The host's command queue in three dialects: the same scenario, the same verdict."""

from __future__ import annotations

import msgspec
import pytest
from tests.explore.shipped import ALL, DEVICE_CLAIMS, LARGE

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_protocol.device_options import DEVICE_OPTIONS
from shootdown_protocol.program import Program
from shootdown_verify.explore import Budget, Result, Verdict, explore

WORDS = DEVICE_OPTIONS["dialect"]
assert isinstance(WORDS, tuple)
QUEUES = WORDS[1:]
SMALL = (
    "completion-before-drain",
    "mprotect-deferred",
    "zap-use-after-free",
    "refused-page-request",
)
FAULTY = [(n, d, by) for n, d, by in DEVICE_CLAIMS if n != LARGE]
SLOW = (
    "device-reattach",
    "device-reset",
    "pagemap-scan",
    "soft-dirty",
    "uffd-write-protect",
)
"""Scenarios that take seconds: one dialect is enough."""
SPARED = {
    "iotlb-before-atc": "invalidates_atc_first",
    "completion-vector": "completes_what_has_arrived",
}
"""Faults that a queue leaves no room for: IOTLB and device TLB are told by commands of their own,
and a fence lets no second notification begin before the first is complete."""


def spoken(name: str, dialect: str) -> Program:
    """A shipped scenario's program, its host with a command queue."""
    program = ALL[name].program
    return msgspec.structs.replace(program, options={**program.options, "dialect": dialect})


def result_of(name: str, dialect: str, discipline: str, device: str = "") -> Result:
    """Explore a shipped scenario in a dialect."""
    return explore(
        spoken(name, dialect),
        DISCIPLINES[discipline],
        conditions=ALL[name].conditions,
        make_device=ZOO[device] if device else Device,
        budget=Budget(seconds=50),
    )


RIGHT = [
    (name, dialect)
    for name in ALL
    for dialect in QUEUES
    if name != LARGE and (name not in SLOW or dialect == QUEUES[0])
]


@pytest.mark.parametrize(("name", "dialect"), RIGHT)
def test_the_right_discipline_is_proved(name: str, dialect: str) -> None:
    """Every order is looked at, and nothing is wrong in any."""
    result = result_of(name, dialect, "clear_flush")

    assert (result.verdict, result.complete) == (Verdict.OK, True)


@pytest.mark.parametrize("dialect", QUEUES)
@pytest.mark.parametrize("name", SMALL)
def test_disciplines_have_the_same_verdicts(name: str, dialect: str) -> None:
    """What a scenario catches without a queue it catches with one, and what is safe stays so."""
    for claim in ALL[name].expectations:
        if not claim.device and not claim.mutant:
            verdict = result_of(name, dialect, claim.subject).verdict
            assert verdict is (Verdict.VIOLATION if claim.caught else Verdict.OK), claim.subject


@pytest.mark.parametrize("dialect", QUEUES)
@pytest.mark.parametrize(("name", "device", "by"), [c for c in FAULTY if c[0] not in SPARED])
def test_faulty_devices_are_caught(
    name: str, device: str, by: tuple[str, ...], dialect: str
) -> None:
    """How the host's requests come about is nothing that hides a device's fault."""
    result = result_of(name, dialect, "clear_flush", device)

    assert result.verdict is Verdict.VIOLATION
    assert {finding.check for finding in result.findings} <= set(by)


@pytest.mark.parametrize("dialect", QUEUES)
@pytest.mark.parametrize(("name", "device"), SPARED.items())
def test_a_queue_leaves_some_faults_no_room(name: str, device: str, dialect: str) -> None:
    """Proved, although the same device is caught where the host has no queue."""
    assert result_of(name, dialect, "clear_flush", device).verdict is Verdict.OK
