"""A mirror that falls back on the pages of an earlier walk."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.mirror import Mirror, Outcome, Resolve
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_protocol.memory import Pte


class KeepsPages(Mirror):
    """Remembers what it has mapped, and maps it again when nothing new is to be had."""

    def reset(self, store: Store, kslot: KernelSlot) -> None:
        """Begin with nothing to remember."""
        super().reset(store, kslot)
        for location in self.locations:
            store.put(kept_cell(kslot.index, location), None)

    def step_map(self, store: Store, cpu: Cpu, pte: Pte) -> None:
        """Map, and remember."""
        super().step_map(store, cpu, pte)
        store.put(kept_cell(cpu.kslot.index, cpu.site.index), pte)

    async def range_fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Pte | Outcome:
        """Take EFAULT for harmless."""
        found = await super().range_fault(cpu, resolve, write=write)
        if found is not Outcome.DENIED:
            return found
        kept = await cpu.step("rebind", self.step_kept, cpu)
        return Outcome.DENIED if kept is None else kept

    def step_kept(self, store: Store, cpu: Cpu) -> Pte | None:
        """What was mapped last."""
        kept = store.get(kept_cell(cpu.kslot.index, cpu.site.index))
        assert kept is None or isinstance(kept, int)
        return None if kept is None else Pte(kept)


def kept_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell of the pages that a location's range had."""
    return ("pages_kept", slot, location)


MUTANT = Mutant(
    "mirror_keeps_pages",
    "A range whose walk has failed is bound again with the pages that it had before.",
    mirror=KeepsPages,
)
