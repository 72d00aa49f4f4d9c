"""A reset after which somebody waits for what it has lost."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    PCI_RESET_FUNCTION,
    dev_wait,
    disable_ats,
    enable_ats,
    flush_iotlb,
    function_level_reset,
    wait_for_pending_transaction,
)


async def run_pci_reset_function(cpu: Cpu) -> None:
    """Let the device go on as if no invalidation had been on its way to it."""
    await disable_ats(cpu)
    await wait_for_pending_transaction(cpu)
    await function_level_reset(cpu)
    await dev_wait(cpu)
    await flush_iotlb(cpu)
    await enable_ats(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "forgets_what_reset_lost",
    "Invalidations that were lost in a reset are waited for, for ever.",
    operations=(Operation(*PCI_RESET_FUNCTION, run_pci_reset_function),),
)
