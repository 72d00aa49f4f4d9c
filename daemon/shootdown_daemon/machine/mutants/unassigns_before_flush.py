"""Unbinding that forgets whom to tell before it tells them."""

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
    """The flush goes to those who are on the list, and that is nobody any more."""
    await clear_entry(cpu)
    await cache_tag_unassign(cpu)
    await flush_pasid(cpu)
    await drain_prq(cpu)
    await remove_queue(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "unassigns_before_flush",
    "The device is taken off the list of recipients, and then the list is flushed.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
)
