"""A device behind an IOMMU TLB that answers a write from a read-only entry."""

from __future__ import annotations

from shootdown_device_agent.machine.atc import Cached
from shootdown_device_agent.machine.device import Device
from shootdown_engine.slot import Site
from shootdown_engine.store import Store
from shootdown_engine.walker import WalkFault


class ServesReadOnly(Device):
    """Never walks for a page that its IOTLB holds, whatever permission is asked for.

    Right on architectures that invalidate when a permission grows, wrong on x86.
    """

    def step_walk(self, store: Store, site: Site, write: bool = False) -> Cached | WalkFault:
        """Answer from the IOTLB, be it read-only; fill it by a walk when it holds nothing."""
        held = self.iotlb.look_up(store, site.pasid, site.vpn)
        if held is not None:
            return held
        found = super().step_walk(store, site, write)
        if isinstance(found, Cached):
            self.iotlb.insert(store, site.pasid, site.vpn, found)
        return found
