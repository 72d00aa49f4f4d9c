"""PAGEMAP_SCAN that notifies of its range outside of the lock that keeps subscribers out."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.mprotect import wrprotect_pte
from shootdown_daemon.machine.operations.task_mmu import PAGEMAP_SCAN_PMD_ENTRY
from shootdown_daemon.machine.phases import Phase


async def run_pagemap_scan_pmd_entry(cpu: Cpu) -> None:
    """Start, lock, scan, unlock, end."""
    await cpu.invalidate_range_start()
    await cpu.mmap_read_lock()
    await wrprotect_pte(cpu)
    await cpu.mmap_read_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


MUTANT = Mutant(
    "scans_between_unlocked_ends",
    "PAGEMAP_SCAN calls invalidate_range_start() and end outside of mmap_lock.",
    operations=(Operation(*PAGEMAP_SCAN_PMD_ENTRY, run_pagemap_scan_pmd_entry),),
)
