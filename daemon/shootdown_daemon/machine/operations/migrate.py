"""Migration of a page: ``migrate_pages()`` in mm/migrate.c (rows 23 and 24 of the table).

``try_to_migrate_one()`` puts a migration entry in the place of each mapping, the page is copied,
and ``remove_migration_pte()`` maps the copy. Whoever faults in between waits for the entry to go.
Left out: large folios, file pages, the choice of a node, and retries; a page that somebody holds
a reference to is put back where it was.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_write
from shootdown_protocol.swapops import (
    SwapType,
    make_swap_pte,
    pte_protnone,
    swp_offset,
    swp_type,
    swp_write,
)

TRY_TO_MIGRATE_ONE = (
    "try_to_migrate_one",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_SET,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
"""The copy lies between range_end and the free, so `Phase.BEFORE_FREE` is too late."""
REMOVE_MIGRATION_PTE = ("remove_migration_pte", (Phase.OP_RETURN,))
"""An entry is filled in, so nobody needs to be told: no earlier phase can be bound."""
ISOLATED = 1
"""References to an unmapped page that is being migrated: the one that isolated it."""


async def run_try_to_migrate_one(cpu: Cpu) -> None:
    """Move the page, wherever it is mapped, to another frame."""
    pte = await cpu.folio_isolate_lru()
    if pte_present(pte):
        await migrate_folio(cpu, pte_pfn(pte))
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def migrate_folio(cpu: Cpu, old: int) -> None:
    """Unmap, copy and map again a page that is isolated, as ``migrate_folios_move()``."""
    for place in cpu.rmap():
        await try_to_migrate_one(place, old)
    new = old
    if await cpu.folio_ref_freeze(old, ISOLATED):
        new = await cpu.alloc_page()
        await cpu.folio_copy("folio_mc_copy", new, old)
    for place in cpu.rmap():
        await remove_migration_pte(place.within(*REMOVE_MIGRATION_PTE), old, new)
    await cpu.folio_unlock(old)
    if new != old:
        for place in cpu.rmap():
            await place.phase(Phase.BEFORE_FREE)
        await cpu.put_page(new)
    await cpu.put_page(old)


async def try_to_migrate_one(cpu: Cpu, folio: int) -> None:
    """Replace one mapping of a page by a migration entry, as ``try_to_migrate_one()``."""
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if (pte_present(pte) or pte_protnone(pte)) and pte_pfn(pte) == folio:
        await _clear_flush(cpu, pte)
        entry = make_swap_pte(SwapType.MIGRATION, folio, writable=pte_write(pte))
        await cpu.set_pte_nonpresent(entry)
        await cpu.put_page(folio)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()


async def _clear_flush(cpu: Cpu, pte: Pte) -> None:
    """``ptep_clear_flush()``: an inaccessible entry is flushed only if a flush is pending."""
    if pte_present(pte):
        await cpu.ptep_clear_flush()
        return
    await cpu.ptep_clear_protnone()
    if await cpu.mm_tlb_flush_pending():
        await cpu.flush_tlb()


async def remove_migration_pte(cpu: Cpu, old: int, new: int) -> None:
    """Map the new page where the migration entry of the old one is, no notification needed."""
    pte = await cpu.pte_offset_map_lock()
    if swp_type(pte) is SwapType.MIGRATION and swp_offset(pte) == old:
        await cpu.get_page(new)
        entry = await cpu.mk_pte(new, writable=swp_write(pte))
        await cpu.set_pte_at(entry)
    await cpu.spin_unlock()
