"""A device that completes another invalidation than the one that it was sent."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_protocol.limits import ITAGS


class WrongItag(Device):
    """Sets the bit beside the right one."""

    def step_complete(self, store: Store, requests: tuple[InvalidateRequest, ...]) -> None:
        """Complete the ITags that follow."""
        self.send_completion(store, sum(1 << (request.itag + 1) % ITAGS for request in requests))
