"""A device whose threads go on using the translation of their last access."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_device_agent.machine.atc import Cached, Issued, issued_cell
from shootdown_device_agent.machine.device import Device, DeviceThread, Found
from shootdown_engine.access import Begun, Intent, begin
from shootdown_engine.store import Store
from shootdown_protocol.history import Kind


class UsesAfterCompleting(Device):
    """Each thread has a latch before the ATC, which no invalidation reaches."""

    def step_lookup(self, store: Store, thread: DeviceThread, intent: Intent) -> Found:
        """Look into the latch first."""
        site = thread.slot.sites[intent.location]
        held = store.get(self._latch(thread, site.vpn))
        if isinstance(held, Cached) and (held.writable or intent.kind is Kind.LOAD):
            store.put(issued_cell(self.number, thread.key), Issued(site.pasid, site.vpn, ()))
            return Found(begin(store, site), held)
        return super().step_lookup(store, thread, intent)

    def step_access(
        self,
        store: Store,
        thread: DeviceThread,
        intent: Intent,
        begun: Begun,
        entry: Cached,
        hit: bool,
    ) -> int:
        """Keep the translation that was used."""
        store.put(self._latch(thread, thread.slot.sites[intent.location].vpn), entry)
        return super().step_access(store, thread, intent, begun, entry, hit)

    def _latch(self, thread: DeviceThread, vpn: int) -> tuple[Hashable, ...]:
        return ("latch", self.number, *thread.key, vpn)
