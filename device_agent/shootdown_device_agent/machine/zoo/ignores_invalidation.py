"""A device that answers an invalidation and goes on as before."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store


class IgnoresInvalidation(Device):
    """Says that it has dropped what it keeps."""

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Do nothing."""
