"""Which devices a verdict names: those whose access or completion was wrong, and no other."""

from __future__ import annotations

from shootdown_protocol.history import Invalidation, Stamped
from shootdown_protocol.program import Column, Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.judge.blame import Blame

PROGRAM = Program(
    name="two-devices",
    summary="A CPU and two devices.",
    mms=("mm0",),
    devices=("d0", "d1"),
    locations=(),
    columns=(Column("CPU0", -1, 0, ()), Column("DEV0", 0, -1, ()), Column("DEV1", 1, -1, ())),
    warm=(),
    speculation=(),
    bound=(),
)


def invalidation(state: str, device: str) -> Stamped:
    """One state of an invalidation of a device."""
    return Stamped(0, 0, 0, 0, "CPU0", Invalidation(state, device, 1, 1, 0, 4096))


def test_the_device_of_the_column_is_named() -> None:
    """A CPU's finding names none."""
    findings = [Finding("S2", "stale-read", "", task="DEV1"), Finding("S2", "x", "", task="CPU0")]

    assert Blame(PROGRAM).devices(findings, ()) == {"d1"}


def test_of_a_wrong_completion_the_device_in_the_record_is_named() -> None:
    """The host has made the record; whose completion it was stands in it."""
    records = (invalidation("unexpected", "d0"),)
    finding = Finding("protocol", "unexpected-completion", "", task="iommu", index=0)

    assert Blame(PROGRAM).devices([finding], records) == {"d0"}


def test_of_a_deadlock_the_device_that_owes_a_completion_is_named() -> None:
    """Every column waits for ever, and one device is what they wait for."""
    records = (
        invalidation("sent", "d0"),
        invalidation("sent", "d1"),
        invalidation("completed", "d0"),
    )
    findings = [Finding("S5", "deadlock", "", task=column.name) for column in PROGRAM.columns]

    assert Blame(PROGRAM).devices(findings, records) == {"d1"}
