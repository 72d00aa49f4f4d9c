"""Unbinding that gives the PASID back while page requests of it are under way."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_UNBIND_DEVICE,
    cache_tag_unassign,
    clear_entry,
    flush_pasid,
    free_pasid,
)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """Clear, flush, free: nobody asks whether the device has more to request."""
    await clear_entry(cpu)
    await flush_pasid(cpu)
    await cache_tag_unassign(cpu)
    await free_pasid(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "frees_pasid_undrained",
    "A PASID is free for another address space before its page requests are drained.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
