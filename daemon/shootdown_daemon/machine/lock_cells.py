"""Every lock that a task of a slot may hold: which cells they are, who holds one, how all break.

A lock of a new kind is listed here, so that a thread that dies with it held is noticed and the
others go on: a cell with an owner holds the task's name, one with readers counts them on a CPU.
What is no lock and holds others up all the same is listed beside them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from shootdown_daemon.machine import mirror
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_engine.store import Store

Cell = tuple[Hashable, ...]


class LockCells(NamedTuple):
    """Cells of a slot's locks; each of ``shared`` has one more cell a CPU, for its readers there.

    ``exclusive`` are the page table locks of every level, ``i_mmap``, the page locks and the lock
    of a mirror's user; ``shared`` are ``mmap_lock`` and the locks of the mappings.
    """

    slot: int
    mms: int
    exclusive: tuple[Cell, ...]
    shared: tuple[Cell, ...]


def lock_cells(kslot: KernelSlot) -> LockCells:
    """Every lock of a slot."""
    slot = kslot.index
    numbers = dict.fromkeys(lock for entry in kslot.entries for lock in entry.locks)
    exclusive: list[Cell] = [("ptl", number) for number in numbers]
    exclusive += [("i_mmap", slot), mirror.lock_cell(slot)]
    exclusive += [("folio_lock", pfn) for pfn in kslot.frames]
    shared: list[Cell] = [("mmap_lock", slot, mm) for mm in range(len(kslot.slot.pasids))]
    shared += [("vma_lock", slot, site.index) for site in kslot.slot.sites]
    return LockCells(slot, len(kslot.slot.pasids), tuple(exclusive), tuple(shared))


def held_by(store: Store, cells: LockCells, owner: str, cpu: int) -> str:
    """Name of a lock that a task holds, alone or as a reader on its CPU; empty for none."""
    for cell in (*cells.exclusive, *cells.shared):
        if store.get(cell) == owner:
            return str(cell[0])
    for cell in cells.shared:
        if store.get((*cell, cpu)):
            return str(cell[0])
    return ""


def break_locks(store: Store, cells: LockCells, owners: Mapping[str, int]) -> None:
    """Free whatever the dead tasks of a slot hold; ``owners`` has the CPU of each."""
    for cell in _held(store, cells, owners):
        store.put(cell, None)


def _held(store: Store, cells: LockCells, owners: Mapping[str, int]) -> Iterator[Cell]:
    yield from (c for c in (*cells.exclusive, *cells.shared) if store.get(c) in owners)
    counted = [(*cell, cpu) for cell in cells.shared for cpu in owners.values()]
    counted += [("irqs_off", cells.slot, cpu) for cpu in owners.values()]
    counted += [("tlb_flush_pending", cells.slot, mm) for mm in range(cells.mms)]
    yield from (cell for cell in counted if store.get(cell) is not None)
