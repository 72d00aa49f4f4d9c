"""An unmap that clears all that a large entry maps, and flushes what it was asked to unmap."""

from __future__ import annotations

from shootdown_daemon.machine import deferred_free
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.pgtable import FREE_PGTABLES, free_pte_range
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import sites_of, whole_region

PHASES = (Phase.RANGE_START, Phase.RANGE_END, Phase.BEFORE_FREE, Phase.OP_RETURN)


async def run_free_pgtables(cpu: Cpu) -> None:
    """Everything goes, and the flush is for one page."""
    whole = whole_region(cpu)
    mappings = [cpu.at(site.index) for site in sites_of(cpu)]
    await cpu.mmap_write_lock()
    for vma in mappings:
        await vma.vm_flags_reset(0)
    await cpu.invalidate_range_start()
    gathered = [page for vma in mappings if (page := await clear_entry(vma)) is not None]
    await cpu.invalidate_range_end()
    table = await free_pte_range(whole)
    await cpu.phase(Phase.BEFORE_FREE)
    if table is not None:
        await deferred_free.pte_free_defer(whole, table)
    for page in gathered:
        await cpu.put_page(page)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    for vma in mappings:
        await vma.op_return(new_epoch=True, permissions=0)


MUTANT = Mutant(
    "flushes_what_was_asked",
    "More is unmapped than was asked for, and the flush is for what was asked for.",
    operations=(Operation(FREE_PGTABLES[0], PHASES, run_free_pgtables),),
)
