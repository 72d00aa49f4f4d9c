"""mremap: ``move_ptes()`` and ``move_normal_pmd()`` in mm/mremap.c (row 21 of the table).

The destination is set before the source is flushed, both under both page table locks: for a short
time a stale source and the destination lead to one page, and only the locks protect it. A whole
page-table page is moved by the entry above it, under the rmap locks too: whoever came by way of
the file may be at work in it, and tells devices of the old address only. ``i_mmap`` stands for
those locks. Left out: the rmap locks of `run_move_ptes`, ``move_normal_pud()``, the destination's
own range.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    pmd_clear,
    pmd_lock,
    pmd_populate,
    pmd_unlock,
    pmd_unlock_changed,
    region_entry,
    sites_of,
    whole_region,
)
from shootdown_daemon.machine.region import is_table
from shootdown_daemon.machine.tlb_batch import flush_tlb_batched_pending
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write

MOVE_PTES = (
    "move_ptes",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_SET,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.OP_RETURN,
    ),
)
MOVE_NORMAL_PMD = ("move_normal_pmd", MOVE_PTES[1])


async def run_move_ptes(cpu: Cpu) -> None:
    """Move a mapping to where the scenario says: ``B = move of A``."""
    new = cpu.at(destination(cpu))
    await cpu.mmap_write_lock()
    permissions = await cpu.vma_lookup()
    await new.vm_flags_reset(permissions)
    await cpu.invalidate_range_start()
    await move_ptes(cpu, new)
    await cpu.invalidate_range_end()
    await cpu.vm_flags_reset(0)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


async def move_ptes(cpu: Cpu, new: Cpu) -> None:
    """Under both locks: clear the source, set the destination, then flush the source."""
    pte = await cpu.pte_offset_map_lock()
    if cpu.entry.lock != new.entry.lock:
        await new.pte_offset_map_lock()
    await flush_tlb_batched_pending(cpu)
    if pte_present(pte):
        old = await cpu.ptep_clear_flush()
        entry = await new.mk_pte(pte_pfn(old), writable=pte_write(old))
        await new.set_pte_at(entry, operating=cpu)
    if cpu.entry.lock != new.entry.lock:
        await new.spin_unlock()
    await cpu.pte_unmap_unlock()


async def run_move_normal_pmd(cpu: Cpu) -> None:
    """Move the page-table page of a mapping to where the scenario says: ``B = move of A``."""
    whole, new = whole_region(cpu), whole_region(cpu.at(destination(cpu)))
    old = [cpu.at(site.index) for site in sites_of(cpu)]
    await whole.mmap_write_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    await whole.invalidate_range_start()
    await i_mmap_lock(whole)
    await move_normal_pmd(whole, new)
    await i_mmap_unlock(whole)
    await whole.invalidate_range_end()
    for vma in old:
        await vma.vm_flags_reset(0)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for vma in old:
        await vma.op_return(permissions=0)
    await new.op_return()


async def move_normal_pmd(whole: Cpu, new: Cpu) -> None:
    """Under the lock of the table of level 2: clear, lead there from the new place, flush the old.

    Whether a page-table page is there is looked up under the lock: khugepaged may have retracted
    it. Both places lie in one table of level 2, so there is one lock.
    """
    assert region_entry(whole).pmd_lock == region_entry(new).pmd_lock
    pmd = await pmd_lock(whole)
    if not is_table(pmd):
        await pmd_unlock(whole)
        return
    await whole.phase(Phase.BEFORE_CLEAR)
    await pmd_clear(whole)
    await whole.phase(Phase.CLEAR_FLUSH)
    await pmd_populate(new, pte_pfn(pmd), operating=whole)
    await pmd_unlock_changed(whole)


def destination(cpu: Cpu) -> int:
    """The location that this one is moved to."""
    for index, place in enumerate(cpu.kslot.kernel.program.locations):
        if place.alias == cpu.site.index and place.mm == cpu.site.mm:
            return index
    message = f"{cpu.site.name} has nowhere to go: say `X = move of {cpu.site.name}`"
    raise AssertionError(message)
