"""Aging: whether a page was used since the last time, in mm/rmap.c, page_idle.c, damon (row 42).

The accessed bit is read, and cleared where the question is to be asked again; no translation,
permission or page changes. Secondary MMUs with accessed bits of their own answer for themselves
under the page table lock (``clear_flush_young``, ``clear_young``, ``test_young``): KVM does, an
interval notifier has no such callback, and an IOMMU's TLBs are not asked: a device that goes on
through what it has cached leaves no mark until it walks again. That costs a wrong guess and never
a value, so x86 does not flush at all. Left out: what the answer is used for (the lists that pages
age on), large folios, and ``VM_LOCKED``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Young
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import ACCESSED, pte_present

FOLIO_REFERENCED_ONE = (
    "folio_referenced_one",
    (Phase.BEFORE_CLEAR, Phase.CLEAR_FLUSH, Phase.AFTER_UNLOCK, Phase.OP_RETURN),
)
PAGE_IDLE_CLEAR_PTE_REFS_ONE = ("page_idle_clear_pte_refs_one", FOLIO_REFERENCED_ONE[1])
DAMON_FOLIO_YOUNG_ONE = ("damon_folio_young_one", (Phase.OP_RETURN,))
"""Nothing is changed, so nobody needs to be told: no earlier phase can be bound."""


async def run_folio_referenced_one(cpu: Cpu) -> None:
    """Reclaim asks whether the page was used since it last asked (``folio_referenced()``)."""
    await _walk(cpu, folio_referenced_one)


async def run_page_idle_clear_pte_refs_one(cpu: Cpu) -> None:
    """Idle page tracking asks the same, and needs no flush (``ptep_clear_young_notify()``)."""
    await _walk(cpu, page_idle_clear_pte_refs_one)


async def run_damon_folio_young_one(cpu: Cpu) -> None:
    """DAMON looks whether the page was used, and clears nothing."""
    await _walk(cpu, damon_folio_young_one)


async def _walk(cpu: Cpu, one: Callable[[Cpu], Awaitable[bool]]) -> None:
    """``rmap_walk()``: ask wherever the page is mapped."""
    for place in cpu.rmap():
        await one(place)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def folio_referenced_one(cpu: Cpu) -> bool:
    """``ptep_clear_flush_young_notify()``, under the page table lock."""
    pte = await cpu.pte_offset_map_lock()
    if not pte_present(pte):
        await cpu.spin_unlock()
        return False
    young = await cpu.ptep_test_and_clear_young()
    young |= await cpu.mmu_notifier_young(Young.CLEAR_FLUSH)
    await cpu.pte_unmap_unlock()
    return young


async def page_idle_clear_pte_refs_one(cpu: Cpu) -> bool:
    """``ptep_clear_young_notify()``, under the page table lock."""
    pte = await cpu.pte_offset_map_lock()
    if not pte_present(pte):
        await cpu.spin_unlock()
        return False
    young = await cpu.ptep_test_and_clear_young()
    young |= await cpu.mmu_notifier_young(Young.CLEAR)
    await cpu.pte_unmap_unlock()
    return young


async def damon_folio_young_one(cpu: Cpu) -> bool:
    """``pte_young()`` or ``mmu_notifier_test_young()``, under the page table lock."""
    pte = await cpu.pte_offset_map_lock()
    young = pte_present(pte) and bool(pte & ACCESSED)
    if pte_present(pte) and not young:
        young = await cpu.mmu_notifier_young(Young.TEST)
    await cpu.spin_unlock()
    return young
