"""khugepaged that collapses without a range: mirrors hear nothing of it."""

from __future__ import annotations

from shootdown_daemon.machine import deferred_free
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    alloc_hugepage,
    clear_old_ptes,
    mk_huge_pmd,
    pmd_lock,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_collapse_flush,
    read_old_ptes,
    set_pmd_at,
    sites_of,
    whole_region,
)
from shootdown_protocol.memory import pte_pfn

PHASES = (Phase.BEFORE_CLEAR, Phase.CLEAR_FLUSH, Phase.AFTER_UNLOCK, Phase.OP_RETURN)


async def run_collapse_huge_page(cpu: Cpu) -> None:
    """Clear and flush, copy, map; no ``invalidate_range_start()`` and no end."""
    whole = whole_region(cpu)
    await whole.mmap_write_lock()
    new = await alloc_hugepage(whole)
    pmd = await pmd_lock(whole)
    await pmdp_collapse_flush(whole)
    await pmd_unlock_changed(whole)
    await deferred_free.tlb_remove_table_sync_one(whole)
    ptes = await read_old_ptes(whole, pte_pfn(pmd))
    for offset, pte in enumerate(ptes):
        await whole.copy_user_page(new + offset, pte_pfn(pte))
    await clear_old_ptes(whole, pte_pfn(pmd))
    entry = await mk_huge_pmd(whole, new, writable=True)
    await pmd_lock(whole)
    await set_pmd_at(whole, entry)
    await pmd_unlock(whole)
    for pte in ptes:
        await whole.put_page(pte_pfn(pte))
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for site in sites_of(cpu):
        await cpu.at(site.index).op_return()


MUTANT = Mutant(
    "collapses_unannounced",
    "khugepaged clears entries and frees pages without invalidate_range_start() and end.",
    operations=(Operation("collapse_huge_page", PHASES, run_collapse_huge_page),),
)
