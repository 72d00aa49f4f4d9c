"""A reset of a device that has accesses under way."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    PCI_RESET_FUNCTION,
    dev_wait,
    enable_ats,
    flush_iotlb,
    function_level_reset,
    release_invalidations,
)


async def run_pci_reset_function(cpu: Cpu) -> None:
    """Nobody waits for what was lost; what that would have waited for goes on."""
    await function_level_reset(cpu)
    await dev_wait(cpu)
    await release_invalidations(cpu)
    await flush_iotlb(cpu)
    await enable_ats(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "resets_in_use",
    "A device is reset before its accesses have ended, and its invalidations count as complete.",
    operations=(Operation(*PCI_RESET_FUNCTION, run_pci_reset_function),),
)
