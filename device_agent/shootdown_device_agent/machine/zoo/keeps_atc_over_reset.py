"""A device whose translation cache survives its reset."""

from __future__ import annotations

from shootdown_device_agent.machine import function
from shootdown_device_agent.machine.device import Device
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store


class KeepsAtcOverReset(Device):
    """Loses the requests that wait, and none of what they were to drop."""

    def function_reset(self, store: Store, slot: Slot) -> None:
        """Forget what was asked."""
        function.lose_requests(store, self, slot)
