"""A mirror that maps a whole 2 MiB page when the CPU maps a part of it."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, spt_cell
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.region import PMD_SIZE
from shootdown_engine.store import Store
from shootdown_protocol.memory import PAGE_SHIFT, Pte


class MapsWholePage(Mirror):
    """Takes for granted that the CPU maps all of a compound page of which it maps one page."""

    def step_map(self, store: Store, cpu: Cpu, pte: Pte) -> None:
        """Map the page, and its neighbours where they would lie in one 2 MiB page with it."""
        for site in cpu.kslot.slot.sites:
            inside = site.va // PMD_SIZE == cpu.site.va // PMD_SIZE and site.mm == cpu.site.mm
            if inside and site.index in self.locations:
                moved = pte + (site.vpn - cpu.site.vpn << PAGE_SHIFT)
                store.put(spt_cell(cpu.kslot.index, site.index), Pte(moved))


MUTANT = Mutant(
    "mirror_maps_whole_page",
    "A mirror maps 2 MiB though the CPU maps only a part of them.",
    mirror=MapsWholePage,
)
