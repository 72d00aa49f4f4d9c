"""The lockless walker: ``gup_fast_pte_range()`` in mm/gup.c.

It walks with interrupts off, which holds up IPIs and grace periods and nothing else, takes a
reference to the page, and looks again whether the entries are as they were. Left out: 2 MiB
leaves, special entries, the fall-back to the slow walk, ``write_protect_seq``.
"""

from __future__ import annotations

from shootdown_daemon.machine import page_alloc
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.deferred_free import local_irq_restore, local_irq_save
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import pmdp_get_lockless, region_entry
from shootdown_daemon.machine.region import RegionEntry, is_table
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_engine.walker import TableAt, Translation, Walked, walk_level
from shootdown_protocol.memory import Pte, pte_generation, pte_pfn, pte_same

GUP_FAST_PTE_RANGE = ("gup_fast_pte_range", (Phase.OP_RETURN,))
"""It changes no entry: nobody needs to be told."""


async def run_gup_fast_pte_range(cpu: Cpu) -> None:
    """Pin a page for a moment without any lock, as I/O through user memory does."""
    slot, number = cpu.kslot.index, cpu.cpu
    await cpu.step("local_irq_save", local_irq_save, slot, number)
    pmd = await pmdp_get_lockless(cpu)
    page = await _grab(cpu, pmd) if is_table(pmd) else None
    await cpu.step("local_irq_restore", local_irq_restore, slot, number)
    if page is not None:
        await cpu.put_page(page)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def _grab(cpu: Cpu, pmd: Pte) -> int | None:
    """Read the entry in the table that was found, take the page, and check both again."""
    at = TableAt(pte_pfn(pmd), 1, writable=True, generation=pte_generation(pmd))
    step = "ptep_get_lockless", read_leaf, cpu.memory, region_entry(cpu), at, cpu.site.va
    found = await cpu.step(*step)
    if not isinstance(found, Translation):
        return None
    if not await cpu.step("try_grab_folio_fast", try_get_page, found.pfn):
        return None
    again = await cpu.step(*step)
    if again == found and pte_same(await pmdp_get_lockless(cpu), pmd):
        return found.pfn
    await cpu.put_page(found.pfn)
    return None


def read_leaf(
    store: Store, memory: PhysicalMemory, entry: RegionEntry, at: TableAt, va: int
) -> Walked:
    """Make the last load of a walk, in a table that was found before."""
    return walk_level(store, memory, at._replace(word=entry.pmd_at(store) or 0), va)


def try_get_page(store: Store, pfn: int) -> bool:
    """``folio_try_get()``: a reference, unless the page is free."""
    if store.get(("refs", pfn)) is None:
        return False
    page_alloc.get_page(store, pfn)
    return True
