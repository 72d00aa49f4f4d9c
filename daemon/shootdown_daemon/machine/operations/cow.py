"""Write faults on present entries: ``do_wp_page()``, ``wp_page_copy()``, ``wp_page_reuse()``.

Rows 1, 2 and 5 of the table. Left out: rmap, memory control groups, file mappings' page_mkwrite.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_same, pte_write

WP_PAGE_COPY = (
    "wp_page_copy",
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
WP_PAGE_REUSE = ("wp_page_reuse", (Phase.OP_RETURN,))
"""A permission only grows, so nobody needs to be told: no earlier phase can be bound."""


async def do_wp_page(cpu: Cpu, orig_pte: Pte) -> None:
    """Decide under the lock between copy and reuse, as ``do_wp_page()``."""
    pte = await cpu.pte_offset_map_lock()
    if not pte_same(pte, orig_pte):  # Another CPU was here first.
        await cpu.spin_unlock()
        return
    if cpu.defers_flushes and await cpu.mm_tlb_flush_pending():
        await cpu.flush_tlb()
    old = pte_pfn(pte)
    if old == cpu.zero_pfn:
        await cpu.spin_unlock()
        await wp_page_copy(cpu, pte)
    elif await cpu.wp_can_reuse_anon_folio(old):
        await cpu.call(WP_PAGE_REUSE, wp_page_reuse)
    else:
        await cpu.get_page(old)
        await cpu.spin_unlock()
        await wp_page_copy(cpu, pte)


async def wp_page_copy(cpu: Cpu, orig_pte: Pte) -> None:
    """Break copy-on-write, as ``wp_page_copy()``; the caller holds a reference to the old page."""
    old = pte_pfn(orig_pte)
    new = await cpu.alloc_page()
    if old == cpu.zero_pfn:
        await cpu.clear_user_page(new)
    else:
        await cpu.copy_user_page(new, old)
    entry = await cpu.mk_pte(new, writable=True)
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.ptep_clear_flush()
        await cpu.set_pte_at(entry)
        await cpu.pte_unmap_unlock()
        await cpu.invalidate_range_end()
        await cpu.put_page(old, references=2)
    else:
        await cpu.spin_unlock()
        await cpu.invalidate_range_end()
        await cpu.put_page(new)
        await cpu.put_page(old)


async def wp_page_reuse(cpu: Cpu) -> None:
    """Make the entry writable in place, as ``wp_page_reuse()``; called with the lock held."""
    await cpu.ptep_set_access_flags()
    await cpu.pte_unmap_unlock()


async def run_wp_page_reuse(cpu: Cpu) -> None:
    """A write fault on a page that nobody else holds, from the fault's entry to its return."""
    await run_wp_page_copy(cpu)


async def run_wp_page_copy(cpu: Cpu) -> None:
    """A write fault on a write-protected page, from the fault's entry to its return."""
    await cpu.lock_vma_under_rcu()
    pte = await cpu.ptep_get_lockless()
    if pte_present(pte) and not pte_write(pte):
        await do_wp_page(cpu, pte)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.vma_end_read()
    await cpu.op_return()
