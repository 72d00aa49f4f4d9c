"""A mirror whose reverse map files an entry under another key than the one it is looked up by."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, drop, seq_cell
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_protocol.memory import Pte, pte_write


class FilesUnderAnotherKey(Mirror):
    """The key has the role of the mapping in it; a zap looks up the role of read-only ones."""

    def step_map(self, store: Store, cpu: Cpu, pte: Pte) -> None:
        """Map, and file the entry by location and role."""
        super().step_map(store, cpu, pte)
        store.put(rmap_cell(cpu.kslot.index, cpu.site.index, writable=pte_write(pte)), True)

    def step_invalidate(self, store: Store, slot: int, location: int, seq: int) -> None:
        """Drop what is found in the reverse map."""
        store.put(seq_cell(slot, location), seq)
        cell = rmap_cell(slot, location, writable=False)
        if store.get(cell):
            store.put(cell, None)
            drop(store, slot, location)


def rmap_cell(slot: int, location: int, *, writable: bool) -> tuple[Hashable, ...]:
    """Cell of the reverse map."""
    return ("spt_rmap", slot, location, writable)


MUTANT = Mutant(
    "mirror_wrong_key",
    "The shadow reverse map is keyed otherwise when an entry is filed than when it is zapped.",
    mirror=FilesUnderAnotherKey,
)
