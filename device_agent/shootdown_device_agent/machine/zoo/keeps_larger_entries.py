"""A device whose larger translations survive an invalidation of a part of their page."""

from __future__ import annotations

from collections.abc import Iterable

from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_engine.translation_cache import TranslationCache, cell_of, first_page
from shootdown_protocol.memory import PAGE_SHIFT


class WholePages(TranslationCache):
    """Gives up what an invalidation covers, and nothing that it only overlaps."""

    def drop(self, store: Store, pasid: int, pages: Iterable[int], first: int, last: int) -> None:
        """Give up each page that lies within pages ``first`` to ``last``."""
        for vpn in pages:
            for shift in self.shifts:
                base = first_page(vpn, shift)
                if base >= first and base + (1 << shift - PAGE_SHIFT) - 1 <= last:
                    store.put(cell_of(self.kind, self.device, pasid, vpn, shift), None)


class KeepsLargerEntries(Device):
    """Goes on to reach all of a 2 MiB page when one 4 KiB page of it was moved."""

    def __init__(self, config: DeviceConfig, memory: PhysicalMemory) -> None:
        """Take a cache that minds sizes."""
        super().__init__(config, memory)
        self.atc = WholePages("atc", self.number, shifts=self.atc.shifts)
