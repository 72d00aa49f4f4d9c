"""A device that asks again for a page that it was told it can never have."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.access import Intent


class RetriesForEver(Device):
    """Takes every response for one that is worth another translation."""

    async def page_request(self, thread: DeviceThread, intent: Intent) -> bool:
        """Wait for the response, and do not read it."""
        await super().page_request(thread, intent)
        return True
