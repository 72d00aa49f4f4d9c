"""A device that completes every invalidation twice."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.trap import trap


class DuplicateCompletion(Device):
    """Sends one completion too many. By then its ITag may stand for another invalidation."""

    async def complete(self, requests: tuple[InvalidateRequest, ...]) -> None:
        """Send what is due, and one more."""
        await super().complete(requests)
        await trap("invalidate_completion", self.step_complete, requests)
