"""Software mirrors: the sequence protocol, ranges that must not sleep, and the classic bugs."""

from __future__ import annotations

import pytest
from tests.explore.shipped import ALL, MUTANT_CLAIMS
from tests.machine.machines import make_store

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mirror import Mirror, lock_cell, mm_cell, spt_cell
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED
from shootdown_protocol.memory import Pte
from shootdown_verify.explore import Verdict, explore
from shootdown_verify.whole import Whole

OLD = Pte(1)
MIRRORS = [claim for claim in MUTANT_CLAIMS if claim[0].startswith("mirror")]


@pytest.mark.parametrize(("name", "mutant", "by"), MIRRORS)
def test_a_faulty_mirror_is_caught_by_its_checks(
    name: str, mutant: str, by: tuple[str, ...]
) -> None:
    """All orders are looked at, and what fails in them is what the scenario says."""
    scenario = ALL[name]

    result = explore(
        scenario.program,
        DISCIPLINES["clear_flush"],
        conditions=scenario.conditions,
        mutant=MUTANTS[mutant],
        every=True,
    )

    assert (result.verdict, result.complete) == (Verdict.VIOLATION, True)
    assert {f.check for told in result.counterexamples for f in told.findings} == set(by)


def interval() -> tuple[Store, Mirror, Cpu]:
    """An HMM mirror of A, and a CPU that is to work on it."""
    whole = Whole(ALL["mirror-zap"].program, DISCIPLINES["none"], make_store)
    assert whole.kernel.mirror is not None
    return whole.store, whole.kernel.mirror, Cpu(whole.kslot, "CPU0", 0, 0)


def test_a_reader_waits_for_the_phase_that_invalidated_its_range() -> None:
    """``read_begin`` goes on when the last range that was invalid has ended."""
    store, mirror, cpu = interval()
    begun = mirror.step_read_begin(store, cpu)

    seq = mirror.step_start(store, cpu, hit=True)
    mirror.step_start(store, cpu, hit=False)
    mirror.step_invalidate(store, 0, 0, seq)

    assert seq % 2 == 1
    assert isinstance(begun, int)
    assert mirror.step_read_retry(store, cpu, begun)
    assert mirror.step_read_begin(store, cpu) is BLOCKED
    mirror.step_end(store, cpu)
    assert mirror.step_read_begin(store, cpu) is BLOCKED
    mirror.step_end(store, cpu)
    assert mirror.step_read_begin(store, cpu) == seq


def test_a_range_that_touches_no_subscription_begins_no_phase() -> None:
    """The sequence stays even, and nobody waits."""
    store, mirror, cpu = interval()

    seq = mirror.step_start(store, cpu, hit=False)
    mirror.step_end(store, cpu)

    assert seq % 2 == 0
    assert store.get(mm_cell(0, 0)) == (seq, 0)


def test_invalidating_drops_the_entry() -> None:
    """What was mapped before is not mapped any more."""
    store, mirror, cpu = interval()
    mirror.step_map(store, cpu, OLD)

    mirror.step_invalidate(store, 0, 0, 3)

    assert store.get(spt_cell(0, 0)) is None


def test_a_range_that_must_not_sleep_is_refused_while_the_lock_is_held() -> None:
    """-EAGAIN, and the range has ended: the caller touches no entry and calls no end."""
    store, _, cpu = interval()
    store.put(lock_cell(0), "MIR0")

    started = drive(store, cpu)

    assert not started
    assert store.get(mm_cell(0, 0)) == (4, 0)
    store.put(lock_cell(0), None)
    assert drive(store, cpu)


def drive(store: Store, cpu: Cpu) -> bool:
    """Let a non-blockable range begin, its steps one after the other; gives what it comes to."""
    mirror = cpu.kslot.kernel.mirror
    assert mirror is not None
    starting = mirror.range_start(cpu, blockable=False)
    result: object = None
    while True:
        try:
            request = starting.send(result)
        except StopIteration as ended:
            return bool(ended.value)
        result = request.apply(store, *request.arguments)
        assert result is not BLOCKED
