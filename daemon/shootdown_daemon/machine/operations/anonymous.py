"""First touch of anonymous memory: ``do_anonymous_page()`` in mm/memory.c (row 6 of the table).

Left out: memory control groups, large folios, userfaultfd.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.swapops import pte_none

DO_ANONYMOUS_PAGE = ("do_anonymous_page", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told: no earlier phase can be bound."""


async def do_anonymous_page(cpu: Cpu, *, write: bool = True) -> None:
    """Map a zeroed page where nothing was mapped, or the zero page for a read."""
    new = await _zeroed_page(cpu) if write else cpu.zero_pfn
    filled = await cpu.mk_pte(new, writable=write)
    pte = await cpu.pte_offset_map_lock()
    if not pte_none(pte):
        await cpu.spin_unlock()
        await cpu.put_page(new)
        return
    await cpu.set_pte_zeroed(filled)
    await cpu.pte_unmap_unlock()


async def _zeroed_page(cpu: Cpu) -> int:
    new = await cpu.alloc_page()
    await cpu.clear_user_page(new)
    return new


async def run_do_anonymous_page(cpu: Cpu) -> None:
    """The write fault of a first touch, from the fault's entry to its return."""
    await cpu.lock_vma_under_rcu()
    pte = await cpu.ptep_get_lockless()
    if pte_none(pte) and await cpu.vma_lookup():
        await do_anonymous_page(cpu)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.vma_end_read()
    await cpu.op_return()
