"""Detaching that does not wait for what the device has begun."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    IOMMU_DETACH_DEVICE,
    disable_ats,
)
from shootdown_daemon.machine.operations.sva import cache_tag_unassign, clear_entry


async def run_iommu_detach_device(cpu: Cpu) -> None:
    """Whose ATS is disabled uses no translation, it thinks; but an access may be under way."""
    await disable_ats(cpu)
    await clear_entry(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "detaches_without_drain",
    "A detached device is told nothing any more while it still has an access under way.",
    operations=(Operation(*IOMMU_DETACH_DEVICE, run_iommu_detach_device),),
)
