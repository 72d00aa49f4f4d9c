"""A device that inserts the answer of a walk although an invalidation came in between."""

from __future__ import annotations

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import VALID, Cached, Walking
from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.store import Store
from shootdown_engine.walker import WalkFault


class InsertsLate(Device):
    """Takes every answer for a new one."""

    def step_insert(
        self,
        store: Store,
        thread: DeviceThread,
        intent: Intent,
        answer: Cached | WalkFault,
        issue: bool,
    ) -> Cached | WalkFault | None:
        """Forget that the translation was cancelled."""
        cell = atc.walking_cell(self.number, thread.key)
        walking = store.get(cell)
        assert isinstance(walking, Walking)
        store.put(cell, walking._replace(state=VALID))
        return super().step_insert(store, thread, intent, answer, issue)
