"""A device that does not read the size of an invalidation."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_protocol.memory import PAGE_SIZE


class HonoursFirstPage(Device):
    """Takes the S bit and the ones below it for part of the address: one page is dropped."""

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Obey a request for the range's first page."""
        super().obey(store, request._replace(size=min(request.size, PAGE_SIZE)))
