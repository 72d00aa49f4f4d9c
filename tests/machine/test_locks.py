"""Locks: who waits, who goes, and that a lock mishandled is an assertion."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.machine.machines import Bench, make_store, scene
from tests.verify.record_builders import column, location, run

from shootdown_daemon.machine import locks, page_table
from shootdown_engine.live_store import LiveStore
from shootdown_engine.trap import BLOCKED
from shootdown_protocol.layout import Layout
from shootdown_protocol.memory import NONE, make_pte
from shootdown_protocol.program import State


@pytest.fixture
def store() -> LiveStore:
    """A small store."""
    return make_store(Layout(4, 64, 1))


def test_a_page_table_lock_has_one_holder(store: LiveStore) -> None:
    """The second taker waits until the first has dropped the lock."""
    assert locks.lock_ptl(store, 7, "CPU0") is None
    assert locks.lock_ptl(store, 7, "CPU1") is BLOCKED
    assert locks.lock_ptl(store, 8, "CPU1") is None
    assert (locks.holds_ptl(store, 7, "CPU0"), locks.holds_ptl(store, 7, "CPU1")) == (True, False)

    locks.unlock_ptl(store, 7, "CPU0")

    assert locks.lock_ptl(store, 7, "CPU1") is None


def test_readers_of_mmap_lock_share_it(store: LiveStore) -> None:
    """Readers on any CPU go together, and a writer waits for the last of them."""
    for cpu in (0, 1, 1):
        assert locks.mmap_read_lock(store, 0, 0, cpu) is None
    for cpu in (1, 0, 1):
        assert locks.mmap_write_lock(store, 0, 0, (0, 1), "CPU0") is BLOCKED
        locks.mmap_read_unlock(store, 0, 0, cpu)

    assert locks.mmap_write_lock(store, 0, 0, (0, 1), "CPU0") is None


def test_a_writer_of_mmap_lock_is_alone(store: LiveStore) -> None:
    """While one writes, readers and writers of that address space wait; others do not."""
    locks.mmap_write_lock(store, 0, 0, (0, 1), "CPU0")

    assert locks.mmap_read_lock(store, 0, 0, 1) is BLOCKED
    assert locks.mmap_write_lock(store, 0, 0, (0, 1), "CPU1") is BLOCKED
    assert locks.mmap_write_lock(store, 0, 1, (0, 1), "CPU1") is None

    locks.mmap_write_unlock(store, 0, 0, "CPU0")

    assert locks.mmap_read_lock(store, 0, 0, 1) is None


def drop_anothers(store: LiveStore) -> None:
    """Drop a lock that another task holds."""
    locks.lock_ptl(store, 7, "CPU0")
    locks.unlock_ptl(store, 7, "CPU1")


@pytest.mark.parametrize(
    "mistake",
    [
        drop_anothers,
        lambda store: locks.unlock_ptl(store, 7, "CPU0"),
        lambda store: locks.mmap_read_unlock(store, 0, 0, 0),
        lambda store: locks.mmap_write_unlock(store, 0, 0, "CPU0"),
    ],
)
def test_a_lock_that_is_not_held_cannot_be_dropped(
    store: LiveStore, mistake: Callable[[LiveStore], None]
) -> None:
    """Dropping what one does not hold is an assertion."""
    with pytest.raises(AssertionError):
        mistake(store)


@pytest.mark.parametrize(
    "change",
    [
        page_table.ptep_get_and_clear,
        page_table.ptep_set_wrprotect,
        lambda store, entry, owner: page_table.ptep_clear_for_good(store, entry, owner, 3),
    ],
)
def test_an_entry_is_changed_only_under_its_lock(
    store: LiveStore, change: Callable[[LiveStore, page_table.Entry, str], object]
) -> None:
    """A change by a task that does not hold the page table lock is an assertion."""
    entry = page_table.Entry(word=20, lock=7)
    store.store(entry.word, make_pte(1 << 20, writable=True))
    with pytest.raises(AssertionError):
        change(store, entry, "CPU0")

    locks.lock_ptl(store, 7, "CPU0")

    assert change(store, entry, "CPU0")


def test_an_entry_is_set_only_when_clear() -> None:
    """set_pte_at() on a present entry is an assertion, for a flush would be missing."""
    bench = Bench.of("wp_page_copy", State.COW)
    bench.go("CPU0", before="set_pte_at")
    bench.store.store(bench.whole.kslot.entries[0].word, make_pte(1 << 20, writable=False))

    with pytest.raises(AssertionError, match="set_pte_at"):
        bench.step("CPU0")


def two_cows(ptl: str = "split") -> Bench:
    """Two CPUs that break COW on two locations in different page-table pages."""
    places = (location("A", state=State.COW), location("B", state=State.COW))
    columns = (column("CPU0", run("wp_page_copy", 0)), column("CPU1", run("wp_page_copy", 1)))
    return Bench(scene(*columns, places=places, ptl=ptl))


def test_page_table_locks_are_split_by_default() -> None:
    """Two operations on entries of different page-table pages hold their locks together."""
    bench = two_cows()

    for name in ("CPU0", "CPU1"):
        bench.go(name, before="set_pte_at")

    assert [bench.entry(place) for place in (0, 1)] == [NONE, NONE]


def test_one_lock_can_serve_a_whole_mm() -> None:
    """With ``ptl mm`` the second operation waits though its entry lies elsewhere."""
    bench = two_cows(ptl="mm")
    bench.go("CPU0", before="set_pte_at")

    with pytest.raises(AssertionError, match="CPU1 waits for ever"):
        bench.go("CPU1", before="set_pte_at")

    bench.go("CPU0")
    bench.go("CPU1")
