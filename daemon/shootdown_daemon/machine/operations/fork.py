"""fork's write protection: ``copy_pte_range()`` of the parent (row 7 of the table).

Left out: the child's own locks (nobody else knows the child yet), write_protect_seq.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_wrprotect
from shootdown_protocol.program import State
from shootdown_protocol.swapops import SwapType, make_swap_pte, swp_offset, swp_type

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
    if pte_present(pte) and cpu.state is State.PINNED:
        await _copy_present_page(cpu, child, pte)
    elif pte_present(pte):
        await child.pte_offset_map_lock()
        await cpu.get_page(pte_pfn(pte))
        old = await cpu.ptep_set_wrprotect()
        await child.set_pte_at(pte_wrprotect(old), operating=cpu)
        await child.spin_unlock()
        await cpu.pte_unmap_unlock()
    elif swp_type(pte) is SwapType.SWAP:
        await _copy_nonpresent_pte(cpu, child, pte)
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_change_unlock()
    await cpu.fork_return(children[0])


async def _copy_present_page(cpu: Cpu, child: Cpu, pte: Pte) -> None:
    """``copy_present_page()``: the child of a pinned page gets a copy, the parent keeps the page.

    The parent's entry stays as it is, so that whoever pinned the page goes on writing what the
    parent sees (row 9).
    """
    new = await child.alloc_page()
    await child.copy_user_page(new, pte_pfn(pte))
    entry = await child.mk_pte(new, writable=True)
    await child.pte_offset_map_lock()
    await child.set_pte_at(entry, operating=cpu)
    await child.spin_unlock()
    await cpu.pte_unmap_unlock()


async def _copy_nonpresent_pte(cpu: Cpu, child: Cpu, pte: Pte) -> None:
    """``copy_nonpresent_pte()``: parent and child name the same swap slot, neither exclusively."""
    slot = swp_offset(pte)
    shared = make_swap_pte(SwapType.SWAP, slot, writable=False)
    await child.pte_offset_map_lock()
    await cpu.swap_duplicate(slot)
    await cpu.replace_nonpresent(shared)
    await child.set_pte_nonpresent(shared)
    await child.spin_unlock()
    await cpu.spin_unlock()
