"""Pages held by reference and used outside the page tables: mm/gup.c (row 37 of the table).

``process_vm_readv()`` is the reader of a checkpoint: it copies a page that it holds, and takes the
copy for the page's content as long as the entry stays write-protected.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present

PROCESS_VM_READV = ("process_vm_readv", (Phase.OP_RETURN,))
"""It changes no entry, so nobody needs to be told: no earlier phase can be bound."""


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
