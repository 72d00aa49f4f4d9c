"""hugetlb pages: faults, unmapping, unsharing, in mm/hugetlb.c (rows 29, 30 and 31 of the table).

A table of level 2 may be shared by two address spaces that map the same pages; whoever unmaps
first leaves it to the other, and the last one frees it. Left out: reservations, subpools, the
fault mutex, the per-VMA hugetlb lock (``i_mmap`` and mmap_lock stand for it), sizes but 2 MiB and
1 GiB, whose PUD entry goes by the names of PMD entries here.
"""

from __future__ import annotations

from shootdown_daemon.machine import deferred_free
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.operations.huge_memory import finish
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    alloc_hugepage,
    copy_user_large_folio,
    first_page,
    folio_zero_user,
    mk_huge_pmd,
    pmd_lock,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_get_lockless,
    pmdp_huge_clear_flush,
    pmdp_huge_get_and_clear,
    pmdp_set_access_flags,
    pte_free,
    put_hugepage,
    region_entry,
    set_pmd_at,
    sites_of,
    whole_region,
)
from shootdown_daemon.machine.pud import (
    pud_clear,
    pud_of,
    put_shared_table,
    sharers_of,
)
from shootdown_daemon.machine.region import PUD_SIZE, pmd_leaf
from shootdown_protocol.memory import Pte, pte_present, pte_same, pte_write

HUGETLB_WP = (
    "hugetlb_wp",
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
UNMAP_HUGEPAGE_RANGE = (
    "__unmap_hugepage_range",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
HUGE_PMD_UNSHARE = ("huge_pmd_unshare", UNMAP_HUGEPAGE_RANGE[1])
"""Unmapping under this name is that of a location whose table of level 2 is shared."""
HUGETLB_NO_PAGE = ("hugetlb_no_page", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told."""


async def hugetlb_wp(cpu: Cpu, orig_pmd: Pte) -> None:
    """Copy a page that is shared copy-on-write, as ``hugetlb_wp()``."""
    whole = whole_region(cpu)
    old = first_page(whole, orig_pmd)
    pmd = await pmd_lock(whole)
    if not pte_same(pmd, orig_pmd):
        await pmd_unlock(whole)
        return
    if await whole.wp_can_reuse_anon_folio(old):
        await pmdp_set_access_flags(whole)
        await pmd_unlock_changed(whole)
        return
    await whole.get_page(old)
    await pmd_unlock(whole)
    new = await alloc_hugepage(whole)
    await copy_user_large_folio(whole, new, old)
    await _replace(whole, orig_pmd, new)


async def _replace(whole: Cpu, orig_pmd: Pte, new: int) -> None:
    """Let the copy take the old page's place, unless another CPU has been here."""
    old = first_page(whole, orig_pmd)
    entry = await mk_huge_pmd(whole, new, writable=True)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if pte_same(pmd, orig_pmd):
        await pmdp_huge_clear_flush(whole)
        await set_pmd_at(whole, entry)
        await pmd_unlock_changed(whole)
        await whole.invalidate_range_end()
        await put_hugepage(whole, old, references=2)
    else:
        await pmd_unlock(whole)
        await whole.invalidate_range_end()
        await put_hugepage(whole, new)
        await put_hugepage(whole, old)


async def hugetlb_no_page(cpu: Cpu) -> None:
    """Map a zeroed page where nothing was mapped, as ``hugetlb_no_page()``."""
    whole = whole_region(cpu)
    new = await alloc_hugepage(whole)
    await folio_zero_user(whole, new)
    entry = await mk_huge_pmd(whole, new, writable=True)
    pmd = await pmd_lock(whole)
    if not pmd:
        await set_pmd_at(whole, entry)
        await pmd_unlock(whole)
        return
    await pmd_unlock(whole)
    await put_hugepage(whole, new)


async def run_hugetlb_wp(cpu: Cpu) -> None:
    """A write fault on a write-protected hugetlb page, from the fault's entry to its return."""
    await cpu.mmap_read_lock()
    pmd = await pmdp_get_lockless(cpu)
    if pte_present(pmd) and pmd_leaf(pmd) and not pte_write(pmd):
        await hugetlb_wp(cpu, pmd)
    await cpu.mmap_read_unlock()
    await finish(cpu)


async def run_unmap_hugepage_range(cpu: Cpu) -> None:
    """Munmap of a hugetlb mapping: leave a shared table of level 2 to its other user, or clear.

    After unsharing, the flush comes while ``i_mmap`` is still held: as soon as it is dropped, the
    other one may free the table. What is cleared is freed after the gather's flush.
    """
    whole = _reaching_all(cpu)
    await whole.mmap_write_lock()
    for site in sites_of(cpu):
        await cpu.at(site.index).vm_flags_reset(0)
    await i_mmap_lock(whole)
    await whole.invalidate_range_start()
    if await huge_pmd_unshare(whole):
        await i_mmap_unlock(whole)
        await whole.invalidate_range_end()
        await whole.phase(Phase.BEFORE_FREE)
    else:
        await _unmap_last(whole)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for site in sites_of(cpu):
        await cpu.at(site.index).op_return(permissions=0)


async def huge_pmd_unshare(whole: Cpu) -> bool:
    """Take the shared table away from this address space; False where it has no other user."""
    if not await sharers_of(whole):
        return False
    await pmd_lock(whole)
    table = await pud_clear(whole)
    await deferred_free.tlb_remove_table_sync_one(whole)
    await put_shared_table(whole, table)
    await pmd_unlock_changed(whole)
    return True


async def _unmap_last(whole: Cpu) -> None:
    """Clear the entry, and free page and table once the gather is flushed."""
    pmd = await pmd_lock(whole)
    if pmd_leaf(pmd):
        await pmdp_huge_get_and_clear(whole)
        await pmd_unlock_changed(whole)
    else:
        await pmd_unlock(whole)
    await i_mmap_unlock(whole)
    await whole.invalidate_range_end()
    table = await _free_level_2(whole)
    await whole.phase(Phase.BEFORE_FREE)
    if table is not None:
        await pte_free(whole, table)
    if pmd_leaf(pmd):
        await put_hugepage(whole, first_page(whole, pmd))


async def _free_level_2(whole: Cpu) -> int | None:
    """``hugetlb_free_pgd_range()``: take the table of level 2 away, where it may go."""
    if not region_entry(whole).shares_table or not await pud_of(whole):
        return None
    await pmd_lock(whole)
    table = await pud_clear(whole)
    await pmd_unlock_changed(whole)
    return table


def _reaching_all(cpu: Cpu) -> Cpu:
    """The range is widened to all that a shared table of level 2 may map."""
    if region_entry(cpu).shares_table:
        return cpu.reaching(PUD_SIZE)
    return whole_region(cpu)
