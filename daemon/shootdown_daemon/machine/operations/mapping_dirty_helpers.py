"""Write tracking of a shared mapping: mm/mapping_dirty_helpers.c (row 34 of the table).

``wp_shared_mapping_range()`` write-protects a file's pages for a driver that wants to know what is
written next. Left out: the bitmap of dirty pages, and more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.mprotect import wrprotect_pte
from shootdown_daemon.machine.phases import Phase

WP_CLEAN_PRE_VMA = (
    "wp_clean_pre_vma",
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


async def run_wp_clean_pre_vma(cpu: Cpu) -> None:
    """From ``wp_clean_pre_vma()`` to ``wp_clean_post_vma()``, which flushes what was touched."""
    await cpu.invalidate_range_start()
    await cpu.inc_tlb_flush_pending()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.dec_tlb_flush_pending()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()
