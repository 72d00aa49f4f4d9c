"""A device that takes the success of a page request for the permission that it asked for."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_device_agent.machine.atc import Cached
from shootdown_device_agent.machine.device import SUCCESS, Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked
from shootdown_engine.walker import WalkFault
from shootdown_protocol.history import Kind


class TrustsSuccess(Device):
    """After a success it reads the address off the next translation, and not the permission."""

    def step_response(
        self, store: Store, thread: DeviceThread, intent: Intent, asked: int = 1
    ) -> str | Blocked:
        """Note what was granted."""
        answer = super().step_response(store, thread, intent, asked)
        if answer == SUCCESS and intent.kind is Kind.STORE:
            store.put(self._granted(thread), intent.location)
        return answer

    def step_insert(
        self,
        store: Store,
        thread: DeviceThread,
        intent: Intent,
        answer: Cached | WalkFault,
        issue: bool,
    ) -> Cached | WalkFault | None:
        """Write where it was granted to."""
        if isinstance(answer, Cached) and store.get(self._granted(thread)) == intent.location:
            answer = answer._replace(writable=True)
        store.put(self._granted(thread), None)
        return super().step_insert(store, thread, intent, answer, issue)

    def _granted(self, thread: DeviceThread) -> tuple[Hashable, ...]:
        return ("granted", self.number, *thread.key)
