"""Unbinding that clears the entry and empties the IOMMU's caches, and no device's."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_UNBIND_DEVICE,
    cache_tag_unassign,
    clear_entry,
    drain_prq,
    remove_queue,
)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """What devices hold of the PASID stays with them."""
    await clear_entry(cpu)
    await drain_prq(cpu)
    await remove_queue(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "unbinds_without_devtlb",
    "The PASID's entry is cleared, and no device TLB is told.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
