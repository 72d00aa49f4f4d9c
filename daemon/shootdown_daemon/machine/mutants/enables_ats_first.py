"""Attaching that enables ATS at a device which has no domain yet."""

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
    """Let the device ask for translations before there is anything to answer them from."""
    await enable_ats(cpu)
    await cache_tag_assign(cpu)
    await set_dev_pasid(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "enables_ats_first",
    "ATS is enabled before the domain is set: the device's requests are answered as unsupported.",
    operations=(Operation(*IOMMU_ATTACH_DEVICE, run_iommu_attach_device),),
)
