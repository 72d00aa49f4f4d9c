"""A device whose IOMMU remembers page tables through every invalidation."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_protocol.messages import InvalidateFlag


class KeepsTables(Device):
    """Takes each invalidation for one of leaves: its walks go on through freed page-table pages."""

    def step_iotlb_invalidate(self, store: Store, request: InvalidateRequest) -> None:
        """Drop leaves, and no table."""
        leaves = request.flags | int(InvalidateFlag.LEAF_ONLY)
        super().step_iotlb_invalidate(store, request._replace(flags=leaves))
