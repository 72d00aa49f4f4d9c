"""Per-VMA locks beside ``mmap_lock``, where a scenario says ``vma_lock on``.

A fault then takes the lock of its own mapping only, so that it runs beside whoever holds
``mmap_lock`` for writing, unless that one has write-locked the mapping (``vma_start_write()``);
all such locks are dropped with ``mmap_lock``. Readers are counted on their CPU, as `locks` does.
"""

from __future__ import annotations

from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


def start_read(store: Store, slot: int, location: int, cpu: int) -> Blocked | None:
    """``vma_start_read()``. Guard: the mapping is not write-locked."""
    if store.get(("vma_lock", slot, location)) is not None:
        return BLOCKED
    cell = ("vma_lock", slot, location, cpu)
    store.put(cell, _readers(store, cell) + 1)
    return None


def end_read(store: Store, slot: int, location: int, cpu: int) -> None:
    """``vma_end_read()``."""
    cell = ("vma_lock", slot, location, cpu)
    held = _readers(store, cell)
    assert held > 0, "vma_end_read without a reader"
    store.put(cell, held - 1 or None)


def start_write(
    store: Store, slot: int, locations: tuple[int, ...], cpus: tuple[int, ...], owner: str
) -> Blocked | None:
    """``vma_start_write()`` of mappings. Guard: nobody reads one of them."""
    for location in locations:
        if any(_readers(store, ("vma_lock", slot, location, cpu)) for cpu in cpus):
            return BLOCKED
    for location in locations:
        store.put(("vma_lock", slot, location), owner)
    return None


def end_write_all(store: Store, slot: int, locations: tuple[int, ...], owner: str) -> None:
    """``vma_end_write_all()``: drop what a writer of ``mmap_lock`` has write-locked."""
    for location in locations:
        if store.get(("vma_lock", slot, location)) == owner:
            store.put(("vma_lock", slot, location), None)


def _readers(store: Store, cell: tuple[str | int, ...]) -> int:
    held = store.get(cell) or 0
    assert isinstance(held, int)
    return held
