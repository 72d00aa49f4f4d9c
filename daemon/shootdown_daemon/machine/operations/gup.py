"""Pages held by reference and used outside the page tables: mm/gup.c (row 37 of the table).

``pin_user_pages()`` makes the page private to the mapping first, which may copy it (row 1), and
holds it then. ``process_vm_readv()`` is the reader of a checkpoint: it copies a page that it holds,
and takes the copy for the page's content as long as the entry stays write-protected. Left out:
pins counted apart from references, and migration out of movable zones.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.fault import FaultAnswer, handle_mm_fault
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present

PIN_USER_PAGES = ("pin_user_pages", (Phase.OP_RETURN,))
"""It takes a reference; what its faults change is notified by what they call."""
PROCESS_VM_READV = ("process_vm_readv", (Phase.OP_RETURN,))
"""It changes no entry, so nobody needs to be told: no earlier phase can be bound."""


async def run_pin_user_pages(cpu: Cpu) -> None:
    """Fault until the entry lets stores through, pin the page, and unpin it again."""
    pte = await cpu.gup_fast()
    while not pte_present(pte):
        if await handle_mm_fault(cpu, write=True) is FaultAnswer.INVALID:
            break
        pte = await cpu.gup_fast()
    else:
        await cpu.put_page(pte_pfn(pte))
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def run_process_vm_readv(cpu: Cpu) -> None:
    """Take the page by reference, copy it, give it back."""
    pte = await cpu.folio_isolate_lru()
    if pte_present(pte):
        folio = pte_pfn(pte)
        await cpu.copy_page_to_iter(folio)
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()
