"""Page-table pages that come and go: munmap's, and the kernel's own (rows 12 and 43 of the table).

A page-table page is freed behind everybody who may still walk through it: the flush before the
free must reach paging-structure caches too. Left out: tables above the page table, the floor and
ceiling of a range, batches of tables; kernel mappings are shown by a mapping of the address space
whose pages nobody frees.
"""

from __future__ import annotations

from shootdown_daemon.machine import deferred_free
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    pmd_lock,
    pmd_populate,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_collapse_flush,
    pte_alloc_one,
    pte_free,
    sites_of,
    whole_region,
)
from shootdown_daemon.machine.region import is_table, pmd_none
from shootdown_protocol.memory import pte_pfn

FREE_PGTABLES = (
    "free_pgtables",
    (
        Phase.RANGE_START,
        Phase.RANGE_END,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
"""Entries are cleared twice, those of the pages before the end and the one above after it."""
PAGETABLE_FREE_KERNEL = (
    "pagetable_free_kernel",
    (
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
"""No ``invalidate_range_start()`` and no end: the kernel's own half has no subscriber."""
PTE_ALLOC = ("__pte_alloc", (Phase.OP_RETURN,))
"""An entry that was none leads to an empty page-table page: nobody needs to be told."""


async def run_free_pgtables(cpu: Cpu) -> None:
    """Munmap of all that a page-table page maps: pages and table are freed after the one flush.

    The entry that leads to the table is cleared after ``invalidate_range_end()``.
    """
    whole = whole_region(cpu)
    mappings = [cpu.at(site.index) for site in sites_of(cpu)]
    await whole.mmap_write_lock()
    for vma in mappings:
        await vma.vm_flags_reset(0)
    await whole.invalidate_range_start()
    gathered = [page for vma in mappings if (page := await clear_entry(vma)) is not None]
    await whole.invalidate_range_end()
    table = await free_pte_range(whole)
    await whole.phase(Phase.BEFORE_FREE)
    if table is not None:
        await deferred_free.pte_free_defer(whole, table)
    for page in gathered:
        await cpu.put_page(page)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for vma in mappings:
        await vma.op_return(new_epoch=True, permissions=0)


async def free_pte_range(whole: Cpu) -> int | None:
    """``free_pte_range()``: take the page-table page out; gives it, for the gather."""
    pmd = await pmd_lock(whole)
    if not is_table(pmd):
        await pmd_unlock(whole)
        return None
    await pmdp_collapse_flush(whole)
    await pmd_unlock_changed(whole)
    return pte_pfn(pmd)


async def run_pagetable_free_kernel(cpu: Cpu) -> None:
    """Vfree takes a page-table page out; a worker tells every SVA address space, then frees it."""
    whole = whole_region(cpu)
    await whole.mmap_write_lock()
    for site in sites_of(cpu):
        await cpu.at(site.index).vm_flags_reset(0)
    table = await free_pte_range(whole)
    await whole.phase(Phase.BEFORE_FREE)
    if table is not None:
        await pte_free(whole, table)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for site in sites_of(cpu):
        await cpu.at(site.index).op_return(permissions=0)


async def pte_alloc(cpu: Cpu) -> None:
    """``__pte_alloc()``: lead to an empty page-table page, unless another CPU has."""
    whole = whole_region(cpu.within(*PTE_ALLOC))
    table = await pte_alloc_one(whole)
    pmd = await pmd_lock(whole)
    if pmd_none(pmd):
        await pmd_populate(whole, table)
        await pmd_unlock(whole)
        return
    await pmd_unlock(whole)
    await pte_free(whole, table)
