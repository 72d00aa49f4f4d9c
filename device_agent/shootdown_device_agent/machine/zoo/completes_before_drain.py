"""A device that completes an invalidation while accesses through what it dropped are under way."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.trap import trap


class CompletesBeforeDrain(Device):
    """Sends the completion first and waits then."""

    async def serve_invalidate(self) -> None:
        """Take one invalidation; the last two steps are in the wrong order."""
        requests = await trap("", self.step_take_invalidate)
        for request in requests:
            await self.invalidate(request)
        await self.complete(requests)
        for request in requests:
            await trap("drain", self.step_drain, request)
