"""A device whose translation cache does not tell PASIDs apart."""

from __future__ import annotations

from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_engine.translation_cache import Cached, TranslationCache


class Untagged(TranslationCache):
    """Keeps and finds everything under one tag."""

    def look_up(self, store: Store, pasid: int, vpn: int) -> Cached | None:
        """Find an address, whosesoever it is."""
        del pasid
        return super().look_up(store, 0, vpn)

    def insert(self, store: Store, pasid: int, vpn: int, entry: Cached) -> None:
        """Keep a translation of an address."""
        del pasid
        super().insert(store, 0, vpn, entry)

    def drop(self, store: Store, pasid: int, pages: tuple[int, ...], first: int, last: int) -> None:
        """Give up an address."""
        del pasid
        super().drop(store, 0, pages, first, last)


class IgnoresPasid(Device):
    """Serves one address space with the translations of another."""

    def __init__(self, config: DeviceConfig, memory: PhysicalMemory) -> None:
        """Take a cache without tags."""
        super().__init__(config, memory)
        self.atc = Untagged("atc", self.number, entries=self.config.atc_entries)
