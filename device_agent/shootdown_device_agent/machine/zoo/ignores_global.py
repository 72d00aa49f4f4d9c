"""A device that does not know the global bit of an invalidation."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest

NO_PASID = 0
"""Tag of entries for requests without a PASID."""


class IgnoresGlobal(Device):
    """Takes a request for all PASIDs as one for entries without a PASID."""

    def pasids(self, request: InvalidateRequest) -> tuple[int, ...]:
        """Any request's own PASID, but for a global one: that names none."""
        covered = super().pasids(request)
        return covered if covered == (request.pasid,) else (NO_PASID,)
