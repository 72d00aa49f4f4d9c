"""NUMA hinting: ``change_prot_numa()`` and ``do_numa_page()`` (row 10 of the table).

An entry is made inaccessible, so that the next access says which node it came from and the page is
moved there. Its flush comes after range_end and is said to be pending until then; who clears an
inaccessible entry flushes only if one is (``pte_accessible()``). Left out: the choice of a node
(every fault moves the page), rate limits, and more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.migrate import TRY_TO_MIGRATE_ONE, migrate_folio
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_same
from shootdown_protocol.swapops import pte_mkaccessible, pte_mkprotnone, pte_none

CHANGE_PROT_NUMA = (
    "change_prot_numa",
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
DO_NUMA_PAGE = ("do_numa_page", (Phase.OP_RETURN,))
"""Migration notifies by itself."""


async def run_change_prot_numa(cpu: Cpu) -> None:
    """Make the entry inaccessible; faults may run beside it."""
    await cpu.mmap_read_lock()
    await cpu.inc_tlb_flush_pending()
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte):
        old = await cpu.ptep_modify_prot_start()
        await cpu.set_pte_nonpresent(pte_mkprotnone(old))
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.dec_tlb_flush_pending()
    await cpu.mmap_read_unlock()
    await cpu.op_return()


async def do_numa_page(cpu: Cpu, orig_pte: Pte) -> None:
    """Move the page, which makes it accessible again; one that cannot be had is left in place."""
    isolated = await cpu.folio_isolate_lru()
    folio = pte_pfn(isolated)
    if pte_same(isolated, orig_pte):
        await migrate_folio(cpu.within(*TRY_TO_MIGRATE_ONE), folio)
        return
    if not pte_none(isolated):  # Another fault was here first.
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
        return
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.restore_accessible(pte_mkaccessible(pte))
    await cpu.spin_unlock()
