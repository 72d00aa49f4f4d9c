"""mremap that moves a page-table page while somebody who came by the file is at work in it."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.mremap import (
    MOVE_NORMAL_PMD,
    destination,
    move_normal_pmd,
)
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import whole_region


async def run_move_normal_pmd(cpu: Cpu) -> None:
    """Trust the order in which the old and the new place are visited, and take no rmap lock."""
    whole, new = whole_region(cpu), whole_region(cpu.at(destination(cpu)))
    await whole.mmap_write_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    await whole.invalidate_range_start()
    await move_normal_pmd(whole, new)
    await whole.invalidate_range_end()
    await cpu.vm_flags_reset(0)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


MUTANT = Mutant(
    "moves_pmd_without_rmap_lock",
    "mremap moves a page-table page without the rmap locks.",
    operations=(Operation(*MOVE_NORMAL_PMD, run_move_normal_pmd),),
)
