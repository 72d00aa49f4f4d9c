"""A device that completes an invalidation while accesses through what it dropped are under way."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.trap import trap


class CompletesBeforeDrain(Device):
    """Sends the completion first and waits then."""

    async def serve_invalidate(self) -> None:
        """Take one invalidation; the last two steps are in the wrong order."""
        request = await trap("", self.step_take_invalidate)
        if self.config.iotlb:
            await trap("iotlb_invalidate", self.step_iotlb_invalidate, request)
        await trap("atc_invalidate", self.step_apply, request)
        await trap("invalidate_completion", self.step_complete, request)
        await trap("drain", self.step_drain, request)
