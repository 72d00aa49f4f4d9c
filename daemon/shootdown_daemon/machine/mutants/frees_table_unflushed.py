"""munmap whose gather could not be enlarged, and which then frees the table without a flush."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.pgtable import FREE_PGTABLES, free_pte_range
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import pte_free, sites_of, whole_region

PHASES = (Phase.RANGE_START, Phase.RANGE_END, Phase.BEFORE_FREE, Phase.OP_RETURN)


async def run_free_pgtables(cpu: Cpu) -> None:
    """Free the page-table page at once, and flush for the pages later."""
    whole = whole_region(cpu)
    mappings = [cpu.at(site.index) for site in sites_of(cpu)]
    await whole.mmap_write_lock()
    for vma in mappings:
        await vma.vm_flags_reset(0)
    await whole.invalidate_range_start()
    gathered = [page for vma in mappings if (page := await clear_entry(vma)) is not None]
    table = await free_pte_range(whole)
    if table is not None:
        await pte_free(whole, table)
    await whole.invalidate_range_end()
    await whole.phase(Phase.BEFORE_FREE)
    for page in gathered:
        await cpu.put_page(page)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    for vma in mappings:
        await vma.op_return(new_epoch=True, permissions=0)


MUTANT = Mutant(
    "frees_table_unflushed",
    "A page-table page for which the gather has no room is freed before any flush.",
    operations=(Operation(FREE_PGTABLES[0], PHASES, run_free_pgtables),),
)
