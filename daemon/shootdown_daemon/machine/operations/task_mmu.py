"""Who wrote since: soft-dirty and PAGEMAP_SCAN, fs/proc/task_mmu.c (rows 32 and 33 of the table).

Both write-protect entries, so that the next store takes a fault that says so; what says it here is
that the entry lets stores through again. Left out: the soft-dirty and uffd-wp bits themselves, and
more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.mprotect import wrprotect_pte
from shootdown_daemon.machine.phases import Phase

_PHASES = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_SET,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.OP_RETURN,
)
CLEAR_REFS_WRITE = ("clear_refs_write", _PHASES)
PAGEMAP_SCAN_PMD_ENTRY = ("pagemap_scan_pmd_entry", _PHASES)


async def run_clear_refs_write(cpu: Cpu) -> None:
    """``echo 4 > /proc/PID/clear_refs``: one flush of the whole mm after range_end."""
    await cpu.mmap_write_lock()
    await cpu.invalidate_range_start()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return()


async def run_pagemap_scan_pmd_entry(cpu: Cpu) -> None:
    """PAGEMAP_SCAN with PM_SCAN_WP_MATCHING: faults may run beside it.

    So it flushes under the page table lock.
    """
    await cpu.mmap_read_lock()
    await cpu.invalidate_range_start()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return()
