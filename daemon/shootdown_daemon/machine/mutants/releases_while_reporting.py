"""Unbinding that releases a device's fault data while one of its faults is being handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shootdown_daemon.machine import pasid
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_UNBIND_DEVICE,
    cache_tag_unassign,
    clear_entry,
    flush_pasid,
    remove_queue,
)

if TYPE_CHECKING:
    from shootdown_engine.channels import PageRequest
    from shootdown_engine.store import Store


class RespondsByFaultData(IommuDriver):
    """Answers by way of the data that a fault was reported with; without them nothing is sent."""

    def respond(self, store: Store, slot: int, request: PageRequest, answer: str) -> None:
        """Respond, if the device is still there to respond to."""
        if not pasid.queue_removed(store, slot):
            super().respond(store, slot, request, answer)


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """Nobody waits for a fault that has been taken from the queue and is not answered yet."""
    await clear_entry(cpu)
    await flush_pasid(cpu)
    await remove_queue(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "releases_while_reporting",
    "A device is released between the look-up of who has faulted and the answer to the fault.",
    operations=(Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),),
    driver=RespondsByFaultData,
)
