"""A device that remembers that a page was not there."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_device_agent.machine.atc import Cached
from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_engine.walker import WalkFault


class CachesNotPresent(Device):
    """Answers from what it remembers until an invalidation, and filling an entry sends none."""

    def reset(self, store: Store, slot: Slot) -> None:
        """Forget, as between two batches."""
        super().reset(store, slot)
        for pasid, vpns in slot.vpns.items():
            for vpn in vpns:
                store.put(self._absent_cell(pasid, vpn), None)

    def step_walk(self, store: Store, site: Site, write: bool = False) -> Cached | WalkFault:
        """Walk only where no walk has failed before."""
        cell = self._absent_cell(site.pasid, site.vpn)
        known = store.get(cell)
        if isinstance(known, WalkFault):
            return known
        answer = super().step_walk(store, site, write)
        if isinstance(answer, WalkFault):
            store.put(cell, answer)
        return answer

    def step_apply(self, store: Store, request: InvalidateRequest) -> None:
        """Forget the pages that are named."""
        for vpn in self.matching(request):
            store.put(self._absent_cell(request.pasid, vpn), None)
        super().step_apply(store, request)

    def _absent_cell(self, pasid: int, vpn: int) -> tuple[Hashable, ...]:
        return ("absent", self.number, pasid, vpn)
