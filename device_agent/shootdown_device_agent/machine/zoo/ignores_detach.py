"""A device that takes an invalidation of everything for one of nothing."""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store

EVERYTHING = 1 << 63
"""Size of what is invalidated when a device is detached: the half of addresses of a process."""


class IgnoresDetach(Device):
    """Goes on, when it is attached again, with what it held before it was detached."""

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Drop what is named, and nothing where that is everything."""
        if request.size < EVERYTHING:
            super().obey(store, request)
