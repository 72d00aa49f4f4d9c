"""Steps on locks: page table locks and ``mmap_lock``. A lock is a cell; waiting is a guard."""

from __future__ import annotations

from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked

WRITER = -1
"""Value of an ``mmap_lock`` cell held for writing; a positive value counts readers."""


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
    return store.get(("ptl", lock)) == owner


def mmap_read_lock(store: Store, slot: int, mm: int) -> Blocked | None:
    """``mmap_read_lock()``."""
    cell = ("mmap_lock", slot, mm)
    held = store.get(cell) or 0
    assert isinstance(held, int)
    if held == WRITER:
        return BLOCKED
    store.put(cell, held + 1)
    return None


def mmap_read_unlock(store: Store, slot: int, mm: int) -> None:
    """``mmap_read_unlock()``."""
    cell = ("mmap_lock", slot, mm)
    held = store.get(cell)
    assert isinstance(held, int)
    assert held > 0, "mmap_read_unlock without a reader"
    store.put(cell, held - 1 or None)


def mmap_write_lock(store: Store, slot: int, mm: int) -> Blocked | None:
    """``mmap_write_lock()``."""
    cell = ("mmap_lock", slot, mm)
    if store.get(cell):
        return BLOCKED
    store.put(cell, WRITER)
    return None


def mmap_write_unlock(store: Store, slot: int, mm: int) -> None:
    """``mmap_write_unlock()``."""
    cell = ("mmap_lock", slot, mm)
    assert store.get(cell) == WRITER, "mmap_write_unlock without a writer"
    store.put(cell, None)
