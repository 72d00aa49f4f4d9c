"""MADV_FREE: ``madvise_free_single_vma()`` in mm/madvise.c (row 16 of the table).

The page stays mapped, but counts as neither used nor written; reclaim throws it away unless it is
written again (`vmscan`). It needs accessed and dirty bits that walks set (``ad_bits on``).
Left out: swap entries, large folios, and more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present

MADVISE_FREE_SINGLE_VMA = (
    "madvise_free_single_vma",
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


async def run_madvise_free_single_vma(cpu: Cpu) -> None:
    """Let what the page holds be lost, until somebody writes to it again."""
    await cpu.mmap_read_lock()
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte):
        await cpu.clear_young_dirty_ptes()
        await cpu.folio_mark_lazyfree(pte_pfn(pte))
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.note_lazyfree()
    await cpu.op_return()
