"""A device that has been pulled out: it answers nothing, and does nothing any more."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.column import deny
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked, trap


class Gone(Device):
    """Never completes an invalidation. Whether it is there can be read from its slot."""

    async def access(self, thread: DeviceThread, intent: Intent) -> bool:
        """Reach nothing."""
        await trap("", deny, thread.slot, intent, "no device", operation="device")
        return True

    async def serve_invalidate(self) -> None:
        """Let a request pass by."""
        await trap("", self.step_take_invalidate)

    def step_take_invalidate(self, store: Store) -> tuple[InvalidateRequest, ...] | Blocked:
        """Take a request from the link; the slot says that nobody is there to answer it."""
        taken = super().step_take_invalidate(store)
        if not isinstance(taken, Blocked):
            store.put(("absent_device", self.number), True)
        return taken
