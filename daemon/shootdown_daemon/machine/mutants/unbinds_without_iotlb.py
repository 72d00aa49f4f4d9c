"""Unbinding that tells devices and leaves the IOMMU's own TLB as it is."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import ADDRESS_END
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.mutants.atc_before_iotlb import ATC_ONLY, AtcBeforeIotlb
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_UNBIND_DEVICE,
    cache_tag_unassign,
    clear_entry,
    drain_prq,
    remove_queue,
)
from shootdown_daemon.machine.phases import InvalidateRange


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """The directory entry is invalidated, and what was walked by way of it is not."""
    await clear_entry(cpu)
    everything = InvalidateRange(cpu.site.pasid, 0, ADDRESS_END, cpu.site.index)
    waiter = (cpu.kslot.index, cpu.task)
    driver = AtcBeforeIotlb(cpu.kslot.kernel.program.options)
    instance = cpu.kslot.slot.instance
    if await cpu.step("ats_inval", driver.step_send_one, everything, instance, waiter, ATC_ONLY):
        await driver.wait(cpu, waiter)
    await drain_prq(cpu)
    await remove_queue(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "unbinds_without_iotlb",
    "The directory entry is cleared, and the IOMMU's TLB keeps what was walked by way of it.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
