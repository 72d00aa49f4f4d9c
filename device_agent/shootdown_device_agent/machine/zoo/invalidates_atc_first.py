"""A device whose own cache is emptied before that of the IOMMU in front of it."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.trap import trap


class InvalidatesAtcFirst(Device):
    """What it drops comes back from the IOTLB (Linux's SMMUv3 driver had this order until 2019)."""

    async def invalidate(self, request: InvalidateRequest) -> None:
        """Drop what a request names: from the ATC, then from the IOTLB."""
        await trap("atc_invalidate", self.step_apply, request)
        await trap("iotlb_invalidate", self.step_iotlb_invalidate, request)
