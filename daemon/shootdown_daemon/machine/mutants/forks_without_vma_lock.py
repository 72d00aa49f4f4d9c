"""A fork that holds ``mmap_lock`` and does not write-lock the mapping that it copies."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.fork import COPY_PTE_RANGE
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_wrprotect


async def run_copy_pte_range(cpu: Cpu) -> None:
    """Copy the entry while faults under the mapping's own lock go on."""
    places = cpu.kslot.kernel.program.locations
    child = cpu.at(next(i for i, p in enumerate(places) if p.parent == cpu.site.index))
    await cpu.mmap_write_lock(vma=False)
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    await child.pte_offset_map_lock()
    await cpu.get_page(pte_pfn(pte))
    old = await cpu.ptep_set_wrprotect()
    await child.set_pte_at(pte_wrprotect(old), operating=cpu)
    await child.spin_unlock()
    await cpu.pte_unmap_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.fork_return(child.site.index)


MUTANT = Mutant(
    "forks_without_vma_lock",
    "fork leaves the per-VMA lock of what it copies to faults, and flushes after range_end.",
    operations=(Operation(*COPY_PTE_RANGE, run_copy_pte_range),),
)
