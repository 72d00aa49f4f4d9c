"""A fence that fails since a device has not completed: what a driver does about it, in dialects."""

from __future__ import annotations

import msgspec
import pytest
from tests.explore.shipped import ALL, NEED_A_FAULT

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mutant import RIGHT
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_protocol.errors import UsageError
from shootdown_verify.explore import Result, Verdict, explore
from shootdown_verify.fault_tasks import SURVIVED, Environment

QUEUES = ("vtd", "smmuv3", "riscv")
ONE, TWO = "zap-use-after-free", "completion-vector"
WRONG = {
    "skips_timed_out": (ONE, "inv.drop", "S1"),
    "empties_queue": (TWO, "completion.drop", "S5"),
    "repeats_for_ever": (ONE, "completion.never", "S5"),
}
"""Where each wrong driver is caught, by which loss, and by which check."""


def result_of(name: str, dialect: str, kinds: tuple[str, ...], mutant: str = "") -> Result:
    """Explore a scenario with a command queue and one loss."""
    program = ALL[name].program
    options = {**program.options, "dialect": dialect, "queue_depth": "2"}
    return explore(
        msgspec.structs.replace(program, options=options),
        DISCIPLINES["clear_flush"],
        conditions=ALL[name].conditions,
        mutant=MUTANTS[mutant] if mutant else RIGHT,
        faults=Environment(kinds, 1),
    )


@pytest.mark.parametrize("dialect", QUEUES)
def test_what_is_lost_is_written_again(dialect: str) -> None:
    """Whichever loss or time-out there is, the fence fails, and the invalidation is made good."""
    result = result_of(ONE, dialect, SURVIVED)

    assert (result.verdict, result.complete) == (Verdict.OK, True)


@pytest.mark.parametrize("dialect", QUEUES)
@pytest.mark.parametrize("mutant", WRONG)
def test_a_driver_that_makes_nothing_good_is_caught(mutant: str, dialect: str) -> None:
    """One that goes on, one that loses what is behind the fence, one that never gives up."""
    name, kind, check = WRONG[mutant]

    result = result_of(name, dialect, (kind,), mutant)

    assert [finding.check for finding in result.findings] == [check]
    assert result_of(name, dialect, (kind,)).verdict is Verdict.OK
    assert result_of(name, dialect, (), mutant).verdict is Verdict.OK


def test_every_mutant_that_needs_a_fault_is_looked_at() -> None:
    """No scenario names them, for a claim has no faults."""
    assert set(WRONG) == set(NEED_A_FAULT)


def test_a_driver_of_a_queue_needs_one() -> None:
    """Said by name, with the dialects that there are."""
    with pytest.raises(UsageError, match="vtd, smmuv3, riscv"):
        result_of(ONE, "direct", (), "empties_queue")
