"""Unbinding that gives the PASID back while devices still hold its translations."""

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
    free_pasid,
    stop_device,
)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """Free the PASID as soon as no walk can begin, and flush after that."""
    await stop_device(cpu)
    await clear_entry(cpu)
    await drain_prq(cpu)
    await free_pasid(cpu)
    await flush_pasid(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "frees_pasid_unflushed",
    "A PASID is free for another address space before its translations are invalidated.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
