"""Faults of CPUs and devices: how they are resolved, who is refused, and who wins a race."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location, run, store

from shootdown_daemon.machine.columns import FAULTS_MAX
from shootdown_protocol.board import READ
from shootdown_protocol.history import Access, Denied, Fault, Kind, Resident
from shootdown_protocol.memory import NONE, pte_pfn, pte_write
from shootdown_protocol.program import Instruction, State

A = 0


def one(line: Instruction, state: State, **changes: object) -> Bench:
    """CPU0 makes one access to A, which is in a state."""
    places = (location("A", state=state, **changes),)
    return Bench(scene(column("CPU0", line), places=places))


@pytest.mark.parametrize(
    ("line", "state", "way"),
    [
        (load(A, "r0"), State.RW, ""),
        (store(A, 1), State.RW, ""),
        (load(A, "r0"), State.COW, ""),
        (load(A, "r0"), State.NONE, "set_pte_at"),
        (store(A, 1), State.NONE, "alloc_page clear_user_page set_pte_at"),
        (store(A, 1), State.ZERO, "alloc_page clear_user_page ptep_clear_flush set_pte_at"),
        (store(A, 1), State.COW, "alloc_page copy_user_page ptep_clear_flush set_pte_at"),
        (store(A, 1), State.COW_SOLE, "alloc_page copy_user_page ptep_clear_flush set_pte_at"),
    ],
)
def test_an_access_faults_as_its_entry_needs(line: Instruction, state: State, way: str) -> None:
    """Each state is resolved by the kernel's way for it, and the access then takes effect."""
    bench = one(line, state)

    bench.go("CPU0")

    changes = {"alloc_page", "copy_user_page", "clear_user_page", "ptep_clear_flush", "set_pte_at"}
    assert [step for step in bench.made if step in changes] == way.split()
    assert len(bench.of_kind(Access)) == 1
    assert bench.made[0] == bench.made[-2] == line.op.name.lower()


def test_a_first_read_maps_the_zero_page() -> None:
    """A read of untouched memory sees 0 and takes no frame."""
    bench = one(load(A, "r0"), State.NONE)

    bench.go("CPU0")

    assert pte_pfn(bench.entry()) == bench.memory.zero_pfn
    assert [access.value for access in bench.of_kind(Access)] == [0]


def test_a_copy_carries_the_version() -> None:
    """After COW the new page holds the version that the old one held."""
    bench = one(store(A, 1), State.COW, value=5)
    bench.go("CPU0", before="pte_unmap_unlock")

    bench.go("CPU0")

    residents = [(r.value, r.order) for r in bench.of_kind(Resident)]
    (access,) = bench.of_kind(Access)
    assert residents == [(5, 0)]
    assert (access.kind, access.met, access.order) == (Kind.STORE, 0, 1)


@pytest.mark.parametrize(
    ("line", "permissions", "denied"),
    [(load(A, "r0"), 0, True), (store(A, 1), READ, True), (load(A, "r0"), READ, False)],
)
def test_a_mapping_decides_who_is_refused(
    line: Instruction, permissions: int, denied: bool
) -> None:
    """Without the permission in the mapping an access is denied, and no lock stays behind."""
    bench = one(line, State.NONE)
    bench.store.put(("vma", 0, A), permissions or None)

    bench.go("CPU0")

    assert bool(bench.of_kind(Denied)) is denied
    assert not [cell for cell in bench.store.cells if cell[0] in ("mmap_lock", "ptl")]


def test_a_read_only_mapping_is_not_written() -> None:
    """A store to a page of a read-only mapping is denied."""
    bench = one(store(A, 1), State.RO)

    bench.go("CPU0")

    assert [denied.kind for denied in bench.of_kind(Denied)] == [Kind.STORE]


def test_a_fault_that_never_helps_is_given_up() -> None:
    """When the page is gone again each time, the access ends after a bounded number of faults."""
    bench = one(load(A, "r0"), State.NONE)

    while bench.next_step("CPU0"):
        bench.store.store(bench.whole.kslot.entries[A].word, NONE)
        bench.go("CPU0", before="pte_unmap_unlock")
        bench.step("CPU0")
        bench.store.store(bench.whole.kslot.entries[A].word, NONE)
        bench.go("CPU0", before="pte_offset_map_lock")

    assert bench.made.count("load") == FAULTS_MAX
    assert [fault.exhausted for fault in bench.of_kind(Fault)] == [True]


def racing(operation: str, state: State) -> Bench:
    """Two CPUs that run the same operation on A."""
    columns = (column("CPU0", run(operation, A)), column("CPU1", run(operation, A)))
    return Bench(scene(*columns, places=(location("A", state=state),)))


def test_the_second_to_break_cow_gives_its_copy_back() -> None:
    """It finds another entry under the lock, frees its own copy and drops its reference."""
    bench = racing("wp_page_copy", State.COW)
    old = pte_pfn(bench.entry())
    bench.go("CPU0", before="invalidate_range_start")
    bench.go("CPU1")
    winner = bench.entry()
    assert bench.refs(old) == 2

    bench.go("CPU0")

    assert bench.entry() == winner
    assert bench.made.count("set_pte_at") == 1
    assert bench.refs(old) == 1


def test_the_second_to_touch_first_gives_its_page_back() -> None:
    """It finds the entry filled under the lock and frees the page that it had zeroed."""
    bench = racing("do_anonymous_page", State.NONE)
    bench.go("CPU0", before="pte_offset_map_lock")
    bench.go("CPU1")
    filled = bench.entry()

    bench.go("CPU0")

    assert bench.entry() == filled
    assert bench.made.count("put_page") == 1


def test_a_ksm_merge_that_comes_late_changes_nothing() -> None:
    """An entry that is no longer the one compared is left alone, and the KSM page is put."""
    columns = (column("CPU0", run("replace_page", A)), column("CPU1", store(A, 2)))
    bench = Bench(scene(*columns, places=(location("A", state=State.KSM_PAIR, value=1),)))
    bench.go("CPU0", before="invalidate_range_start")
    bench.go("CPU1")
    mine = bench.entry()
    kpage = bench.store.get(("kpage", 0, A))

    bench.go("CPU0")

    assert bench.entry() == mine
    assert isinstance(kpage, int)
    assert bench.refs(kpage) == 1


def test_a_fork_shares_the_page_and_takes_the_write_permission() -> None:
    """Parent and child map one frame, neither may write it, and it has one reference more."""
    bench = Bench.of("copy_pte_range", State.RW)
    page = pte_pfn(bench.entry(0))

    bench.go("CPU0")

    assert [pte_pfn(bench.entry(place)) for place in (0, 1)] == [page, page]
    assert not any(pte_write(bench.entry(place)) for place in (0, 1))
    assert bench.refs(page) == 2


def test_after_munmap_an_access_is_denied() -> None:
    """Once the mapping is gone the fault path refuses, and maps nothing anew."""
    columns = (column("CPU0", run("unmap_vmas", A)), column("CPU1", load(A, "r0")))
    bench = Bench(scene(*columns, places=(location("A", state=State.RW),)))
    bench.go("CPU0")

    bench.go("CPU1")

    assert len(bench.of_kind(Denied)) == 1
    assert bench.entry() == NONE


def test_after_a_zap_a_new_epoch_begins() -> None:
    """MADV_DONTNEED keeps the mapping: the next read is of new, zero memory."""
    columns = (column("CPU0", run("zap_pte_range", A)), column("CPU1", load(A, "r0")))
    bench = Bench(scene(*columns, places=(location("A", state=State.RW, value=5),)))
    bench.go("CPU0")

    bench.go("CPU1")

    (access,) = bench.of_kind(Access)
    assert (access.value, access.order >> 10) == (0, 1)
