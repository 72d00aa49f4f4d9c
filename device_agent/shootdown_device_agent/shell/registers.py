"""Control registers of a batch's devices: whoever obeys one is tried when it has changed.

They are words of the daemon's, so nothing wakes their tasks, and there is one for each instance of
a batch: to try them all by turn would leave little time for anything else.
"""

from __future__ import annotations

from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.function import OBEY, function_servers, obeyed
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_protocol.board import F_CONTROL


class Registers:
    """Tasks that wait for a change of their register, each with the value that it has obeyed."""

    def __init__(self, words: memoryview, store: Store) -> None:
        """Begin with none."""
        self._words = words
        self._store = store
        self._of: dict[Task, tuple[int, Device, Slot]] = {}
        self.waiting: dict[Task, tuple[int, int]] = {}
        """Who waits for a change of which word from which value."""

    def watch(self, device: Device, slot: Slot) -> None:
        """Watch a device's register in a slot, if it has one."""
        for task in function_servers(device, slot):
            self._of[task] = slot.functions[device.number] + F_CONTROL, device, slot
            self.rest(task)

    def rest(self, task: Task) -> bool:
        """Let a task wait for its register; False when it waits for something else."""
        if task not in self._of or task.request is None or task.request.name != OBEY:
            return False
        word, device, slot = self._of[task]
        self.waiting[task] = word, obeyed(self._store, device.number, slot)
        return True

    def changed(self) -> list[Task]:
        """Tasks whose register says something new."""
        words = self._words
        found = [task for task, (word, seen) in self.waiting.items() if words[word] != seen]
        for task in found:
            del self.waiting[task]
        return found

    def clear(self) -> None:
        """Forget those of a batch that is over."""
        self._of.clear()
        self.waiting.clear()
