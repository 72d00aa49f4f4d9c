"""Attaching that lets a device translate before it says that the device is to be told."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    IOMMU_ATTACH_DEVICE,
    enable_ats,
)
from shootdown_daemon.machine.operations.sva import cache_tag_assign, set_dev_pasid


async def run_iommu_attach_device(cpu: Cpu) -> None:
    """Set the domain and enable ATS, and then enter the device among the recipients."""
    await set_dev_pasid(cpu)
    await enable_ats(cpu)
    await cache_tag_assign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "attaches_unlisted",
    "A device's first walk may come before it is among those that are told of invalidations.",
    operations=(Operation(*IOMMU_ATTACH_DEVICE, run_iommu_attach_device),),
)
