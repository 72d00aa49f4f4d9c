"""``i_mmap``: the lock of a file's mappings, which truncation and hugetlb hold across page tables.

All locations of an instance that are mapped from a file are mapped from one. Held exclusively
throughout; the kernel lets readers in together.
"""

from __future__ import annotations

from collections.abc import Awaitable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


def i_mmap_lock(cpu: Cpu) -> Awaitable[None]:
    """``i_mmap_lock_write()``."""
    return cpu.step("i_mmap_lock_write", take, cpu.kslot.index, cpu.task)


def i_mmap_unlock(cpu: Cpu) -> Awaitable[None]:
    """``i_mmap_unlock_write()``."""
    return cpu.step("i_mmap_unlock_write", give_back, cpu.kslot.index, cpu.task)


def take(store: Store, slot: int, owner: str) -> Blocked | None:
    """Guard: nobody holds the lock; then take it."""
    cell = ("i_mmap", slot)
    if store.get(cell) is not None:
        return BLOCKED
    store.put(cell, owner)
    return None


def give_back(store: Store, slot: int, owner: str) -> None:
    """Give the lock back."""
    cell = ("i_mmap", slot)
    assert store.get(cell) == owner, f"{owner} drops i_mmap, which it does not hold"
    store.put(cell, None)
