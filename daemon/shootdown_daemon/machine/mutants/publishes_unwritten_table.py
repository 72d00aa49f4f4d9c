"""A driver whose PASID table reaches memory after the device may read it."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_BIND_DEVICE,
    IOMMU_SVA_UNBIND_DEVICE,
    alloc_pasid,
    cache_tag_assign,
    cache_tag_unassign,
    drain_prq,
    flush_pasid,
    free_pasid,
    remove_queue,
    set_dev_pasid,
)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """All in order, and the cleared entry stays in the CPU's cache: memory has the old one."""
    await flush_pasid(cpu)
    await drain_prq(cpu)
    await remove_queue(cpu)
    await cache_tag_unassign(cpu)
    await free_pasid(cpu)
    await cpu.op_return()


async def run_iommu_sva_bind_device(cpu: Cpu) -> None:
    """Let the device use the table, and write the cache line with its entry back after that."""
    await alloc_pasid(cpu)
    await cache_tag_assign(cpu)
    await cpu.op_return()
    await set_dev_pasid(cpu)


MUTANT = Mutant(
    "publishes_unwritten_table",
    "A PASID table is used before its contents have reached the memory that the IOMMU reads.",
    operations=(
        Operation(*IOMMU_SVA_BIND_DEVICE, run_iommu_sva_bind_device),
        Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),
    ),
)
