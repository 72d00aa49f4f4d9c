"""Binding that lets devices translate before it says that they are to be told."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_BIND_DEVICE,
    cache_tag_assign,
    set_dev_pasid,
)


async def run_iommu_sva_bind_device(cpu: Cpu) -> None:
    """Load the root first, and enter the devices among the recipients when they are at work."""
    await set_dev_pasid(cpu)
    await cache_tag_assign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "publishes_late",
    "A device becomes active before it is among those that are told of invalidations.",
    operations=(Operation(*IOMMU_SVA_BIND_DEVICE, run_iommu_sva_bind_device),),
)
