"""The vocabulary of faults is whole, and refuses what makes no sense."""

import pytest

from shootdown_protocol.faults import KINDS, MS_DEFAULT, Fault, lasting, misfits


def test_every_kind_says_how_it_is_applied_or_why_not() -> None:
    """No cell of the table is empty, and each names a promise."""
    for kind in KINDS.values():
        assert all((kind.doc, kind.live, kind.explored, kind.caught_by, kind.promise))
        assert kind.is_live or kind.is_explored


def test_an_unknown_kind_is_given_right_words() -> None:
    """The error carries every kind, for the nearest to be found among them."""
    (misfit,) = misfits(Fault("inv.dorp"))

    assert misfit.seen == "'inv.dorp'"
    assert "inv.drop" in misfit.right


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (Fault("inv.drop", thread="CPU0"), "thread"),
        (Fault("inv.drop", ms=5), "ms"),
        (Fault("cpu.preempt", agent="0"), "agent"),
        (Fault("clock.jump", prob=0.5), "prob"),
        (Fault("daemon.crash_before"), "at"),
        (Fault("inv.drop", prob=2.0), "prob"),
        (Fault("inv.drop", prob=0.0), "prob"),
        (Fault("inv.delay", ms=1 << 40), "ms"),
        (Fault("inv.drop", count=1 << 40), "count"),
        (Fault("inv.drop", agent="a" * 65), "agent"),
        (Fault("inv.delay", ms=5, jitter_ms=6), "jitter"),
    ],
)
def test_a_parameter_that_a_kind_does_not_take_is_refused(fault: Fault, where: str) -> None:
    """What would have no effect is not taken in silence."""
    assert [misfit.where for misfit in misfits(fault)] == [where]


def test_a_fault_that_lasts_has_a_length() -> None:
    """Nothing that holds can be left to hold for ever."""
    assert lasting(Fault("inv.delay")).ms == MS_DEFAULT
    assert lasting(Fault("inv.delay", ms=7)).ms == 7
    assert lasting(Fault("inv.drop")).ms == 0
