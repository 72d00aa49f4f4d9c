"""A page that a device has to itself for a while: ``make_device_exclusive()`` in mm/rmap.c.

Rows 40 and 41 of the table. Once it has returned, nobody else reaches the page until a fault ends
the exclusive access (``remove_device_exclusive_entry()``). Left out: the owner itself and the
notification that it watches, and that it checks that again before it uses the page.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_same, pte_write
from shootdown_protocol.swapops import SwapType, make_swap_pte, swp_offset, swp_write

MAKE_DEVICE_EXCLUSIVE = (
    "make_device_exclusive",
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


async def run_make_device_exclusive(cpu: Cpu) -> None:
    """Put an exclusive entry in the place of the page, which stays where it is.

    From the return on, until a fault removes the entry, an access without one is wrong.
    """
    await cpu.mmap_read_lock()
    isolated = await cpu.folio_isolate_lru()
    made = False
    if pte_present(isolated):
        folio = pte_pfn(isolated)
        await cpu.invalidate_range_start()
        pte = await cpu.pte_offset_map_lock()
        made = pte_present(pte) and pte_pfn(pte) == folio
        if made:
            await cpu.ptep_clear_flush()
            entry = make_swap_pte(SwapType.DEVICE_EXCLUSIVE, folio, writable=pte_write(pte))
            await cpu.set_pte_nonpresent(entry)
            await cpu.pte_unmap_unlock()
        else:
            await cpu.spin_unlock()
        await cpu.invalidate_range_end()
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.exclusive_return()


async def remove_device_exclusive_entry(cpu: Cpu, orig_pte: Pte) -> None:
    """End the exclusive access: the page, which was never unmapped, is mapped again."""
    folio = swp_offset(orig_pte)
    entry = await cpu.mk_pte(folio, writable=swp_write(orig_pte))
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.set_pte_permitted(entry)
    await cpu.spin_unlock()
    await cpu.invalidate_range_end()
