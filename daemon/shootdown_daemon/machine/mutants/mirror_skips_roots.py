"""A mirror with two tables whose callback goes through those only that are in use."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.mirror import Mirror, mapped, spt_cell
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.access import Intent
from shootdown_engine.store import Store
from shootdown_protocol.memory import Pte


class SkipsInvalidRoots(Mirror):
    """A root that is being torn down still has users, and is not zapped."""

    def reset(self, store: Store, kslot: KernelSlot) -> None:
        """Begin with both tables empty."""
        super().reset(store, kslot)
        for location in self.locations:
            store.put(old_root(kslot.index, location), None)

    def step_map(self, store: Store, cpu: Cpu, pte: Pte) -> None:
        """Map in the table in use; the one that is torn down has the same entries."""
        super().step_map(store, cpu, pte)
        store.put(old_root(cpu.kslot.index, cpu.site.index), pte)

    def step_access(self, store: Store, cpu: Cpu, intent: Intent) -> bool:
        """A vCPU that still runs on the old root uses what is there."""
        cell = spt_cell(cpu.kslot.index, cpu.site.index)
        if mapped(store, cpu.kslot.index, cpu.site.index) is None:
            store.put(cell, store.get(old_root(cpu.kslot.index, cpu.site.index)))
        return super().step_access(store, cpu, intent)


def old_root(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell of a location's entry below the root that is being torn down."""
    return ("spt_old", slot, location)


MUTANT = Mutant(
    "mirror_skips_roots",
    "range_start zaps valid roots only: one that is being torn down keeps its entries.",
    mirror=SkipsInvalidRoots,
)
