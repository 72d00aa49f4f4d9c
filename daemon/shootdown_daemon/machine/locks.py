"""Steps on locks: page table locks and ``mmap_lock``. A lock is a cell; waiting is a guard.

``mmap_lock`` is one cell for its writer and one a CPU for the readers there, as a per-CPU
read-write semaphore has it: readers that do not meet in a cell are independent to the explorer.
"""

from __future__ import annotations

from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


def lock_ptl(store: Store, lock: int, owner: str) -> Blocked | None:
    """``spin_lock(ptl)``: take the lock of a page-table page."""
    cell = ("ptl", lock)
    if store.get(cell) is not None:
        return BLOCKED
    store.put(cell, owner)
    return None


def unlock_ptl(store: Store, lock: int, owner: str) -> None:
    """``spin_unlock(ptl)``."""
    cell = ("ptl", lock)
    assert store.get(cell) == owner, f"{owner} drops a page table lock that it does not hold"
    store.put(cell, None)


def holds_ptl(store: Store, lock: int, owner: str) -> bool:
    """Whether a task holds the lock of a page-table page."""
    return bool(store.get(("ptl", lock)) == owner)


def mmap_read_lock(store: Store, slot: int, mm: int, cpu: int) -> Blocked | None:
    """``mmap_read_lock()``: counted on the CPU, so that readers do not touch each other's cells."""
    if store.get(("mmap_lock", slot, mm)) is not None:
        return BLOCKED
    cell = ("mmap_lock", slot, mm, cpu)
    store.put(cell, _readers(store, cell) + 1)
    return None


def mmap_read_unlock(store: Store, slot: int, mm: int, cpu: int) -> None:
    """``mmap_read_unlock()``."""
    cell = ("mmap_lock", slot, mm, cpu)
    held = _readers(store, cell)
    assert held > 0, "mmap_read_unlock without a reader"
    store.put(cell, held - 1 or None)


def mmap_write_lock(
    store: Store, slot: int, mm: int, cpus: tuple[int, ...], owner: str
) -> Blocked | None:
    """``mmap_write_lock()``: no other writer, and no reader on any of the ``cpus``."""
    if store.get(("mmap_lock", slot, mm)) is not None:
        return BLOCKED
    if any(_readers(store, ("mmap_lock", slot, mm, cpu)) for cpu in cpus):
        return BLOCKED
    store.put(("mmap_lock", slot, mm), owner)
    return None


def mmap_write_unlock(store: Store, slot: int, mm: int, owner: str) -> None:
    """``mmap_write_unlock()``."""
    cell = ("mmap_lock", slot, mm)
    assert store.get(cell) == owner, f"{owner} drops an mmap_lock that it does not hold"
    store.put(cell, None)


def add_pending(store: Store, slot: int, mm: int, more: int) -> None:
    """``inc_tlb_flush_pending()`` and ``dec_tlb_flush_pending()``: not a lock, but beside it."""
    cell = ("tlb_flush_pending", slot, mm)
    pending = _readers(store, cell) + more
    assert pending >= 0, "dec_tlb_flush_pending without an inc"
    store.put(cell, pending or None)


def is_pending(store: Store, slot: int, mm: int) -> bool:
    """``mm_tlb_flush_pending()``."""
    return bool(_readers(store, ("tlb_flush_pending", slot, mm)))


def _readers(store: Store, cell: tuple[str | int, ...]) -> int:
    held = store.get(cell) or 0
    assert isinstance(held, int)
    return held
