"""A device that drops an entry only when it is told a second time."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store


class NeedsTwoInvalidations(Device):
    """Takes the first invalidation of a range in, completes, and goes on using what it holds."""

    def reset(self, store: Store, slot: Slot) -> None:
        """Forget what it was told, as between two batches."""
        super().reset(store, slot)
        for pasid in slot.pasids:
            store.put(self._told_cell(pasid), None)

    def step_apply(self, store: Store, request: InvalidateRequest) -> None:
        """Drop what is named if the last request named the same."""
        cell = self._told_cell(request.pasid)
        named = (request.address, request.size)
        if store.get(cell) == named:
            store.put(cell, None)
            super().step_apply(store, request)
        else:
            store.put(cell, named)
            self._report(store, "applied", request)

    def _told_cell(self, pasid: int) -> tuple[Hashable, ...]:
        return ("told", self.number, pasid)
