"""Control registers of devices whose agents have no shared memory: told of, and obeyed by message.

Only programs that attach, detach or reset devices have any.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.live_run import Bank, LiveRun
from shootdown_protocol.board import F_CONTROL, F_STATUS
from shootdown_protocol.remote_messages import RegisterStatus, RegisterWrite


class RemoteRegisters:
    """What each agent was told last of each register, by slot and device."""

    def __init__(self, live: LiveRun) -> None:
        """Tell nothing yet."""
        self.live = live
        self.exist = live.program.has_functions
        self._told: dict[tuple[int, int], int] = {}

    def begin(self, bank: Bank) -> None:
        """A bank's slots begin with what their program says; nobody need be told that."""
        if self.exist:
            for kslot in bank.slots:
                for device, first in enumerate(kslot.slot.functions):
                    self._told[kslot.index, device] = self.live.store.load(first + F_CONTROL)

    def written(self, banks: list[Bank]) -> Iterator[tuple[int, RegisterWrite]]:
        """Registers that the kernel has written since the last call, each with its agent."""
        if not self.exist:
            return
        for kslot in (kslot for bank in banks for kslot in bank.used):
            serving = self.live.serving(kslot.index)
            for device, first in enumerate(kslot.slot.functions):
                control = self.live.store.load(first + F_CONTROL)
                if self._told.get((kslot.index, device)) != control:
                    self._told[kslot.index, device] = control
                    yield serving[device], RegisterWrite(kslot.index, device, control)

    def obeyed(self, kslot: KernelSlot, said: RegisterStatus) -> bool:
        """Take in what a device has obeyed; False for what it was not told."""
        if not self.exist or self._told.get((kslot.index, said.device)) != said.status:
            return False
        live = self.live
        live.store.store(kslot.slot.functions[said.device] + F_STATUS, said.status)
        live.runner.wake()
        live.flight.wake()
        return True
