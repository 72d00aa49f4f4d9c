"""A device that does not obey its ATS control register."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store


class IgnoresAtsDisable(Device):
    """Says that it has nothing under way, and begins something new."""

    def ats_enabled(self, store: Store, slot: Slot) -> bool:
        """Ask for translations and use them, whatever the register says."""
        del store, slot
        return True
