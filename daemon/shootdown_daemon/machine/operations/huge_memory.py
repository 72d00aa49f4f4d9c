"""Transparent huge pages: splitting, and write faults, in mm/huge_memory.c (rows 3, 4 and 18).

Left out: the split of the folio itself (here its pages count references of their own as soon as
its mapping is split), file and device pages, migration entries, deferred split.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.cow import do_wp_page
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    alloc_hugepage,
    fill_table,
    first_page,
    folio_zero_user,
    mk_huge_pmd,
    pmd_lock,
    pmd_populate,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_get_lockless,
    pmdp_huge_clear_flush,
    pmdp_invalidate,
    pmdp_set_access_flags,
    pte_alloc_one,
    pte_free,
    put_hugepage,
    set_pmd_at,
    sites_of,
    split_references,
    whole_region,
)
from shootdown_daemon.machine.region import pmd_leaf, small_entry
from shootdown_protocol.memory import Pte, pte_present, pte_same, pte_write

_ALL = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_SET,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.OP_RETURN,
)
SPLIT_HUGE_PMD = ("__split_huge_pmd", _ALL)
DO_HUGE_ZERO_WP_PMD = ("do_huge_zero_wp_pmd", _ALL)
DO_HUGE_PMD_WP_PAGE = ("do_huge_pmd_wp_page", _ALL)


async def split_huge_pmd(cpu: Cpu) -> None:
    """Map a 2 MiB page by entries of its pages instead, as ``__split_huge_pmd()``.

    The same pages stay mapped with the same permissions; only the size of the mapping changes.
    """
    whole = whole_region(cpu)
    table = await pte_alloc_one(whole)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if pmd_leaf(pmd):
        await _split_locked(whole, pmd, table)
        await pmd_unlock_changed(whole)
    else:
        await pmd_unlock(whole)
        await pte_free(whole, table)
    await whole.invalidate_range_end()


async def _split_locked(whole: Cpu, pmd: Pte, table: int) -> None:
    """``__split_huge_pmd_locked()``: invalidate, fill the page-table page, lead to it."""
    await pmdp_invalidate(whole)
    if first_page(whole, pmd) != whole.zero_pfn:
        await split_references(whole, first_page(whole, pmd))
    await fill_table(whole, table, [small_entry(pmd, site.va) for site in sites_of(whole)])
    await pmd_populate(whole, table)


async def do_huge_zero_wp_pmd(cpu: Cpu, orig_pmd: Pte) -> None:
    """Put a page of one's own where the huge zero page is, as ``do_huge_zero_wp_pmd()``."""
    whole = whole_region(cpu)
    new = await alloc_hugepage(whole)
    await folio_zero_user(whole, new)
    entry = await mk_huge_pmd(whole, new, writable=True)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if pte_same(pmd, orig_pmd):
        await pmdp_huge_clear_flush(whole)
        await set_pmd_at(whole, entry)
        await pmd_unlock_changed(whole)
        await whole.invalidate_range_end()
    else:
        await pmd_unlock(whole)
        await whole.invalidate_range_end()
        await put_hugepage(whole, new)


async def do_huge_pmd_wp_page(cpu: Cpu, orig_pmd: Pte) -> None:
    """Reuse the page in place, else split it and break the one page, as ``do_huge_pmd_wp_page()``.

    Under the operation's own name, so that its discipline moves what both parts notify of.
    """
    whole = whole_region(cpu)
    pmd = await pmd_lock(whole)
    if not pte_same(pmd, orig_pmd):
        await pmd_unlock(whole)
        return
    if await whole.wp_can_reuse_anon_folio(first_page(whole, pmd)):
        await pmdp_set_access_flags(whole)
        await pmd_unlock_changed(whole)
        return
    await pmd_unlock(whole)
    await split_huge_pmd(cpu)
    pte = await cpu.ptep_get_lockless()
    if pte_present(pte) and not pte_write(pte):
        await do_wp_page(cpu, pte)


async def run_split_huge_pmd(cpu: Cpu) -> None:
    """Split for somebody who wants a part of the page only."""
    await split_huge_pmd(cpu)
    await finish(cpu)


async def run_do_huge_zero_wp_pmd(cpu: Cpu) -> None:
    """A write fault on the huge zero page, from the fault's entry to its return."""
    await cpu.mmap_read_lock()
    pmd = await pmdp_get_lockless(cpu)
    if pte_present(pmd) and pmd_leaf(pmd) and not pte_write(pmd):
        await do_huge_zero_wp_pmd(cpu, pmd)
    await cpu.mmap_read_unlock()
    await finish(cpu)


async def run_do_huge_pmd_wp_page(cpu: Cpu) -> None:
    """A write fault on a write-protected 2 MiB page, from the fault's entry to its return."""
    await cpu.mmap_read_lock()
    pmd = await pmdp_get_lockless(cpu)
    if pte_present(pmd) and pmd_leaf(pmd) and not pte_write(pmd):
        await do_huge_pmd_wp_page(cpu, pmd)
    await cpu.mmap_read_unlock()
    await finish(cpu)


async def finish(cpu: Cpu) -> None:
    """Return from an operation on all of a region; it leaves permissions and epochs as they are."""
    whole = whole_region(cpu)
    await whole.phase(Phase.OP_RETURN)
    for site in sites_of(cpu):
        await cpu.at(site.index).op_return()
