"""A device whose drain waits for translations too, even for one that waits for a page."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import Thread, Walking
from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


class DrainWaitsForTranslation(Device):
    """Completes when no translation of the pages is under way or parked on a page request.

    The answer to that request needs the page table lock, whose holder waits for the completion.
    """

    def step_page_request(
        self, store: Store, thread: DeviceThread, intent: Intent
    ) -> bool | Blocked | None:
        """Note that the translation is parked."""
        sent = super().step_page_request(store, thread, intent)
        if sent is None:
            store.put(self._parked_cell(thread.key), thread.slot.sites[intent.location].vpn)
        return sent

    def step_response(
        self, store: Store, thread: DeviceThread, intent: Intent, asked: int = 1
    ) -> str | Blocked:
        """Note that it is parked no more."""
        answer = super().step_response(store, thread, intent, asked)
        if not isinstance(answer, Blocked):
            store.put(self._parked_cell(thread.key), None)
        return answer

    def step_drain(self, store: Store, request: InvalidateRequest) -> Blocked | None:
        """Guard: as it should be, and no translation of these pages is unfinished."""
        pages = self.matching(request)
        for thread in self.threads.get(request.pasid, ()):
            walking = store.get(atc.walking_cell(self.number, thread))
            if isinstance(walking, Walking) and walking.vpn in pages:
                return BLOCKED
            if store.get(self._parked_cell(thread)) in pages:
                return BLOCKED
        return super().step_drain(store, request)

    def _parked_cell(self, thread: Thread) -> tuple[Hashable, ...]:
        return ("parked", self.number, *thread)
