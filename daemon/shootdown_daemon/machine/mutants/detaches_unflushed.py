"""Detaching that leaves the device's TLB as it is."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    IOMMU_DETACH_DEVICE,
    disable_ats,
    wait_for_pending_transaction,
)
from shootdown_daemon.machine.operations.sva import cache_tag_unassign, clear_entry


async def run_iommu_detach_device(cpu: Cpu) -> None:
    """Nothing is under way, and nothing is dropped: whoever attaches again finds it there."""
    await disable_ats(cpu)
    await wait_for_pending_transaction(cpu)
    await clear_entry(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "detaches_unflushed",
    "A device that is attached again goes on with translations from before it was detached.",
    operations=(Operation(*IOMMU_DETACH_DEVICE, run_iommu_detach_device),),
)
