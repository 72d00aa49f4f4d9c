"""Unbinding that takes the fault queue away while faults are still being reported."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_UNBIND_DEVICE,
    cache_tag_unassign,
    clear_entry,
    drain_prq,
    flush_pasid,
    remove_queue,
)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """The queue goes first, the PASID's entry after it."""
    await remove_queue(cpu)
    await clear_entry(cpu)
    await flush_pasid(cpu)
    await drain_prq(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "removes_queue_first",
    "The queue of reported faults is removed before the PASID can fault no more.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
