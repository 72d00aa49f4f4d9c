"""khugepaged: collapse of anonymous and of file memory, in mm/khugepaged.c (rows 19 and 20).

Left out: scanning, isolation and LRU, swap-in, the deposited page-table page of an anonymous
collapse (it is kept), userfaultfd, the collapse of the file's pages that comes before.
"""

from __future__ import annotations

from shootdown_daemon.machine import deferred_free
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.operations.huge_memory import finish
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    alloc_hugepage,
    clear_old_ptes,
    mk_huge_pmd,
    pmd_lock,
    pmd_populate,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_collapse_flush,
    put_hugepage,
    read_old_ptes,
    set_pmd_at,
    sites_of,
    whole_region,
)
from shootdown_daemon.machine.region import NO_TABLE, is_table
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_write

COLLAPSE_HUGE_PAGE = (
    "collapse_huge_page",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.AFTER_SET,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
_RETRACT = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.BEFORE_FREE,
    Phase.OP_RETURN,
)
COLLAPSE_PTE_MAPPED_THP = ("collapse_pte_mapped_thp", _RETRACT)
RETRACT_PAGE_TABLES = ("retract_page_tables", _RETRACT)


async def run_collapse_huge_page(cpu: Cpu) -> None:
    """Copy pages into one of 2 MiB; between the flush and the copy only "none" keeps devices out.

    The copy comes after ``invalidate_range_end()``.
    """
    whole = whole_region(cpu)
    await whole.mmap_write_lock()
    new = await alloc_hugepage(whole)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if is_table(pmd):
        await pmdp_collapse_flush(whole)
        await pmd_unlock_changed(whole)
        await whole.invalidate_range_end()
        await deferred_free.tlb_remove_table_sync_one(whole)
        await _collapse_isolated(whole, pte_pfn(pmd), new)
    else:
        await pmd_unlock(whole)
        await whole.invalidate_range_end()
        await put_hugepage(whole, new)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for site in sites_of(cpu):
        await cpu.at(site.index).op_return()


async def _collapse_isolated(whole: Cpu, table: int, new: int) -> None:
    """Copy and map the new page, or lead to the old table again if a page is held elsewhere."""
    ptes = await read_old_ptes(whole, table)
    if not await _isolated(whole, ptes):
        await pmd_lock(whole)
        await pmd_populate(whole, table)
        await pmd_unlock_changed(whole)
        await put_hugepage(whole, new)
        return
    for offset, (site, pte) in enumerate(zip(sites_of(whole), ptes, strict=True)):
        if pte_present(pte) and pte_pfn(pte) != whole.zero_pfn:
            await whole.copy_user_page(new + offset, pte_pfn(pte))
        else:
            await whole.at(site.index).clear_user_page(new + offset)
    await clear_old_ptes(whole, table)
    entry = await mk_huge_pmd(whole, new, writable=True)
    await pmd_lock(whole)
    await set_pmd_at(whole, entry)
    await pmd_unlock(whole)
    await whole.phase(Phase.BEFORE_FREE)
    for pte in ptes:
        if pte_present(pte):
            await whole.put_page(pte_pfn(pte))


async def _isolated(whole: Cpu, ptes: tuple[Pte, ...]) -> bool:
    """``__collapse_huge_page_isolate()``: nobody else holds any of the pages."""
    for pte in ptes:
        if not pte_present(pte) or pte_pfn(pte) == whole.zero_pfn:
            continue
        if not pte_write(pte) or not await whole.wp_can_reuse_anon_folio(pte_pfn(pte)):
            return False
    return True


async def run_collapse_pte_mapped_thp(cpu: Cpu) -> None:
    """Take away the entries of a 2 MiB folio's pages and the page-table page that held them.

    The next fault maps the folio as one page. The entries are cleared without a flush of their
    own; that of the page-table page covers them.
    """
    whole = whole_region(cpu)
    await whole.mmap_read_lock()
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    table = await _retract(whole, pmd, unmap=True)
    await _free_later(whole, table)
    await whole.mmap_read_unlock()
    await finish(cpu)


async def run_retract_page_tables(cpu: Cpu) -> None:
    """Take away a page-table page whose entries are empty, in a process found by way of the file.

    Here they are emptied first, each with the flush of an ``rmap`` walk, as the collapse of the
    file's pages has done; no mmap_lock is held.
    """
    whole = whole_region(cpu)
    await _try_to_unmap(cpu)
    await i_mmap_lock(whole)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    table = await _retract(whole, pmd, unmap=False)
    await i_mmap_unlock(whole)
    await _free_later(whole, table)
    await finish(cpu)


async def _try_to_unmap(cpu: Cpu) -> None:
    """``try_to_unmap()`` of the folio's pages, notified rightly: no part of the retraction.

    Where page-table pages are moved, ``i_mmap`` keeps that out, as it does in ``rmap_walk_file()``.
    """
    moves = cpu.kslot.kernel.moves_tables
    if moves:
        await i_mmap_lock(cpu)
    unmap = cpu.within("try_to_unmap_one", (Phase.CLEAR_FLUSH, Phase.OP_RETURN))
    for site in sites_of(cpu):
        one = unmap.at(site.index)
        pte = await one.pte_offset_map_lock()
        mapped = pte_present(pte) and pte != NO_TABLE
        if mapped:
            await one.ptep_clear_flush()
        await one.spin_unlock()
        if mapped:
            await one.put_page(pte_pfn(pte))
    if moves:
        await i_mmap_unlock(cpu)


async def _retract(whole: Cpu, pmd: Pte, *, unmap: bool) -> int | None:
    """Under both locks: clear the entries, then the one that leads to them; gives the table."""
    table = None
    if is_table(pmd):
        await whole.pte_offset_map_lock()
        kept = await read_old_ptes(whole, pte_pfn(pmd))
        if unmap or not any(pte_present(pte) for pte in kept):
            if unmap:
                await clear_old_ptes(whole, pte_pfn(pmd))
            await pmdp_collapse_flush(whole)
            table = pte_pfn(pmd)
        await whole.spin_unlock()
        await pmd_unlock_changed(whole)
        await _drop_references(whole, kept if unmap else ())
    else:
        await pmd_unlock(whole)
    await whole.invalidate_range_end()
    return table


async def _drop_references(whole: Cpu, ptes: tuple[Pte, ...]) -> None:
    """The page cache keeps its own reference to each page."""
    for pte in ptes:
        if pte_present(pte):
            await whole.put_page(pte_pfn(pte))


async def _free_later(whole: Cpu, table: int | None) -> None:
    await whole.phase(Phase.BEFORE_FREE)
    if table is not None:
        await deferred_free.pte_free_defer(whole, table)
