"""Attaching devices to an address space, detaching and resetting them: drivers/iommu, drivers/pci.

The order is that of ``arm_smmu_attach_prepare()`` and ``arm_smmu_attach_commit()``, and for a reset
that of PCIe's note on invalidations and function-level resets. No row of the table. What is done
is done to all devices of the scenario, by way of the address space of the location. Left out: the
domains of a group, what else a function has to restore after its reset.
"""

from __future__ import annotations

from shootdown_daemon.machine import function, iommu, resending
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.sva import (
    cache_tag_assign,
    cache_tag_unassign,
    clear_entry,
    drain_prq,
    flush_pasid,
    set_dev_pasid,
)
from shootdown_engine.store import Store
from shootdown_protocol.program import ATTACH, DETACH, RESET

IOMMU_ATTACH_DEVICE = (ATTACH, ())
IOMMU_DETACH_DEVICE = (DETACH, ())
PCI_RESET_FUNCTION = (RESET, ())
"""The driver flushes by itself: no phase is announced, and no discipline moves anything."""


async def run_iommu_attach_device(cpu: Cpu) -> None:
    """Attach: be told of invalidations, then have a domain, and only then ask for translations."""
    await cache_tag_assign(cpu)
    await set_dev_pasid(cpu)
    await enable_ats(cpu)
    await cpu.op_return()


async def run_iommu_detach_device(cpu: Cpu) -> None:
    """Detach: ask for nothing more, be done with what was begun, hold nothing, be told no more."""
    await disable_ats(cpu)
    await wait_for_pending_transaction(cpu)
    await clear_entry(cpu)
    await flush_pasid(cpu)
    await drain_prq(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


async def run_pci_reset_function(cpu: Cpu) -> None:
    """Reset: quiesce, reset, and let nobody wait for what was lost, since nothing is held now."""
    await disable_ats(cpu)
    await wait_for_pending_transaction(cpu)
    await function_level_reset(cpu)
    await dev_wait(cpu)
    await release_invalidations(cpu)
    await flush_iotlb(cpu)
    await enable_ats(cpu)
    await cpu.op_return()


async def enable_ats(cpu: Cpu) -> None:
    """Enable ATS at each device."""
    for first in cpu.kslot.slot.functions:
        await cpu.step("pci_enable_ats", function.enable_ats, first)


async def disable_ats(cpu: Cpu) -> None:
    """Disable ATS at each device."""
    for first in cpu.kslot.slot.functions:
        await cpu.step("pci_disable_ats", function.disable_ats, first)


async def wait_for_pending_transaction(cpu: Cpu) -> None:
    """Wait until no device has a translation or an access under way."""
    for first in cpu.kslot.slot.functions:
        await cpu.step("pci_wait_for_pending_transaction", function.wait_obeyed, first)


async def function_level_reset(cpu: Cpu) -> None:
    """Initiate a reset of each device."""
    for first in cpu.kslot.slot.functions:
        await cpu.step("pcie_flr", function.function_level_reset, first)


async def dev_wait(cpu: Cpu) -> None:
    """Wait until each device is back."""
    for first in cpu.kslot.slot.functions:
        await cpu.step("pci_dev_wait", function.wait_obeyed, first)


async def flush_iotlb(cpu: Cpu) -> None:
    """Empty the IOTLB, which a reset of the device leaves as it is, and wait."""
    await cpu.kslot.kernel.driver.invalidate_iotlb(cpu)


async def release_invalidations(cpu: Cpu) -> None:
    """End the wait for invalidations that a reset has lost: what they were to drop is gone."""
    await cpu.step("release_invalidations", release, cpu.kslot.slot.pasids)


def release(store: Store, pasids: tuple[int, ...]) -> None:
    """Take what is outstanding of some PASIDs for complete, at every device of theirs."""
    devices = {device: None for pasid in pasids for device in iommu.members(store, pasid)}
    for device in devices:
        resending.release(store, device, pasids)
