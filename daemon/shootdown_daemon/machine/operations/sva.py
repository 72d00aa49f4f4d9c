"""Binding an address space to devices and unbinding it: drivers/iommu/iommu-sva.c, intel/svm.c.

No row of the table: this is the IOMMU driver's side. All devices of the scenario are bound, to the
PASID of the location's address space. Where the address spaces have one PASID in turn (``pasid
reused``), unbinding frees it and binding waits for that: what ``mm_pasid_drop()`` does when the
process is gone. Left out: reference counts of the bond, domains, the PASID cache (a walk reads the
entry anew).
"""

from __future__ import annotations

from shootdown_daemon.machine import pasid
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import ADDRESS_END
from shootdown_daemon.machine.phases import InvalidateRange

IOMMU_SVA_BIND_DEVICE = (pasid.BIND, ())
IOMMU_SVA_UNBIND_DEVICE = (pasid.UNBIND, ())
"""The driver flushes by itself: no phase is announced, and no discipline moves anything."""


async def run_iommu_sva_bind_device(cpu: Cpu) -> None:
    """Bind: whoever may hold translations is told of invalidations before it can make any."""
    await alloc_pasid(cpu)
    await cache_tag_assign(cpu)
    await set_dev_pasid(cpu)
    await cpu.op_return()


async def run_iommu_sva_unbind_device(cpu: Cpu) -> None:
    """Unbind: no new walk, no translation, no page request; and only then nobody to tell.

    Where devices send stop markers, they are awaited first: whose device it is has stopped it.
    """
    await stop_device(cpu)
    await clear_entry(cpu)
    await flush_pasid(cpu)
    await drain_prq(cpu)
    await remove_queue(cpu)
    await cache_tag_unassign(cpu)
    await free_pasid(cpu)
    await cpu.op_return()


async def alloc_pasid(cpu: Cpu) -> None:
    """Take the PASID when whoever had it has freed it, and let faults be reported again."""
    if cpu.kslot.kernel.reuses_pasid:
        site = cpu.site
        await cpu.step("iommu_alloc_global_pasid", pasid.alloc_pasid, site.pasid, site.mm)
        await cpu.step("iopf_queue_add_device", pasid.add_queue, cpu.kslot.index)


async def free_pasid(cpu: Cpu) -> None:
    """Let another address space have the PASID."""
    if cpu.kslot.kernel.reuses_pasid:
        await cpu.step("iommu_free_global_pasid", pasid.free_pasid, cpu.site.pasid)


async def cache_tag_assign(cpu: Cpu) -> None:
    """Tell the devices of invalidations from now on."""
    await cpu.step("cache_tag_assign", pasid.cache_tag_assign, cpu.site.pasid)


async def cache_tag_unassign(cpu: Cpu) -> None:
    """Tell them no more."""
    await cpu.step("cache_tag_unassign", pasid.cache_tag_unassign, cpu.site.pasid)


async def set_dev_pasid(cpu: Cpu) -> None:
    """Let devices translate."""
    mm = cpu.site.mm
    await cpu.step(
        "set_dev_pasid", pasid.set_dev_pasid, cpu.kslot.pasid_words[mm], cpu.kslot.roots[mm]
    )


async def stop_device(cpu: Cpu) -> None:
    """Wait until the devices have stopped using the PASID."""
    if cpu.kslot.kernel.stop_markers:
        await cpu.step("wait_stop_markers", pasid.wait_stop_markers, cpu.site.pasid)


async def clear_entry(cpu: Cpu) -> None:
    """Let no walk begin any more."""
    await cpu.step("pasid_clear_entry", pasid.clear_entry, cpu.kslot.pasid_words[cpu.site.mm])


async def flush_pasid(cpu: Cpu) -> None:
    """Invalidate all of the PASID, in the IOMMU and in devices, and wait."""
    everything = InvalidateRange(cpu.site.pasid, 0, ADDRESS_END, cpu.site.index)
    await cpu.arch_invalidate_secondary_tlbs(everything)


async def drain_prq(cpu: Cpu) -> None:
    """Wait until no page request is under way."""
    await cpu.step("drain_pasid_prq", pasid.drain_prq, cpu.kslot.index)


async def remove_queue(cpu: Cpu) -> None:
    """Take the queue of reported faults away."""
    await cpu.step("iopf_queue_remove_device", pasid.remove_queue, cpu.kslot.index)
