"""A munmap that frees its page-table page without waiting for lockless walkers."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.pgtable import FREE_PGTABLES, free_pte_range
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import pte_free, whole_region


async def run_free_pgtables(cpu: Cpu) -> None:
    """Flush every TLB, and take that for the end of every walk."""
    whole = whole_region(cpu)
    await whole.mmap_write_lock()
    await cpu.vm_flags_reset(0)
    await whole.invalidate_range_start()
    page = await clear_entry(cpu)
    await whole.invalidate_range_end()
    table = await free_pte_range(whole)
    await whole.phase(Phase.BEFORE_FREE)
    if table is not None:
        await pte_free(whole, table)
    if page is not None:
        await cpu.put_page(page)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    await cpu.op_return(new_epoch=True, permissions=0)


MUTANT = Mutant(
    "frees_table_at_once",
    "munmap frees a page-table page as soon as all TLBs are flushed, with GUP-fast still inside.",
    operations=(Operation(*FREE_PGTABLES, run_free_pgtables),),
)
