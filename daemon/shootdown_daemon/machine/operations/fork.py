"""fork's write protection: ``copy_pte_range()`` of the parent (row 7 of the table).

Left out: pinned pages, the child's own locks (nobody else knows the child yet), write_protect_seq.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present, pte_wrprotect

COPY_PTE_RANGE = (
    "copy_pte_range",
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


async def run_copy_pte_range(cpu: Cpu) -> None:
    """Write-protect the parent's entry and give the child a copy of it."""
    program = cpu.kslot.kernel.program
    children = [i for i, place in enumerate(program.locations) if place.parent == cpu.site.index]
    assert children, f"{cpu.site.name} has no child: say `X@child = child of {cpu.site.name}`"
    child = cpu.at(children[0])
    await cpu.mmap_change_lock()
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte):
        await child.pte_offset_map_lock()
        await cpu.get_page(pte_pfn(pte))
        old = await cpu.ptep_set_wrprotect()
        await child.set_pte_at(pte_wrprotect(old), operating=cpu)
        await child.spin_unlock()
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_change_unlock()
    await cpu.fork_return(children[0])
