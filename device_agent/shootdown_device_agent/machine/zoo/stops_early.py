"""A device that says that no page request follows while one of its threads may still send some."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.store import Store


class StopsEarly(Device):
    """Sends its stop markers when the first of its columns has ended."""

    def step_stop(self, store: Store, thread: DeviceThread) -> None:
        """Take the first that has ended for the last."""
        if store.get(self._ended_cell(thread.slot)) is None:
            self.send_stop_markers(store, thread.slot)
        store.put(self._ended_cell(thread.slot), 1)
