"""The page fault: ``handle_mm_fault()`` and the ways it goes.

Left out: private file mappings, retry with the lock dropped.
"""

from __future__ import annotations

from enum import StrEnum

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.anonymous import DO_ANONYMOUS_PAGE, do_anonymous_page
from shootdown_daemon.machine.operations.cow import WP_PAGE_COPY, do_wp_page
from shootdown_daemon.machine.operations.filemap import (
    DO_FAULT,
    WP_PAGE_SHARED,
    do_fault,
    do_read_fault,
    wp_page_shared,
)
from shootdown_daemon.machine.operations.numa import DO_NUMA_PAGE, do_numa_page
from shootdown_daemon.machine.operations.pmd_fault import handle_pmd_fault
from shootdown_daemon.machine.operations.swap import DO_SWAP_PAGE, do_swap_page
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.board import READ, WRITE
from shootdown_protocol.memory import Pte, pte_present, pte_write
from shootdown_protocol.program import State
from shootdown_protocol.swapops import pte_none, pte_protnone


class FaultAnswer(StrEnum):
    """What a fault comes to; ``INVALID`` can succeed only if the mapping changes."""

    SUCCESS = "success"
    INVALID = "invalid"


async def handle_mm_fault(cpu: Cpu, *, write: bool) -> FaultAnswer:
    """Resolve a fault, as ``handle_mm_fault()`` in mm/memory.c, under its mapping's lock."""
    fault = cpu.within("handle_mm_fault", (Phase.OP_RETURN,))
    await fault.lock_vma_under_rcu()
    permissions = await fault.vma_lookup()
    if not permissions & (WRITE if write else READ):
        await fault.vma_end_read()
        return FaultAnswer.INVALID
    if cpu.entry.moves and await handle_pmd_fault(cpu, write=write):
        await fault.vma_end_read()
        return FaultAnswer.SUCCESS
    pte = await fault.ptep_get_lockless()
    if pte_none(pte) and cpu.refuses_holes:
        await fault.mmap_read_unlock()
        return FaultAnswer.INVALID
    if not pte_present(pte):
        await _fill(cpu, pte, permissions, write=write)
    elif write and not pte_write(pte):
        await _make_writable(cpu, pte)
    await fault.vma_end_read()
    return FaultAnswer.SUCCESS


async def _fill(cpu: Cpu, pte: Pte, permissions: int, *, write: bool) -> None:
    """``do_pte_missing()``, or what a non-present entry stands for."""
    if pte_protnone(pte):
        await do_numa_page(cpu.within(*DO_NUMA_PAGE), pte)
    elif not pte_none(pte):
        await do_swap_page(cpu.within(*DO_SWAP_PAGE), pte, permissions)
    elif cpu.state is State.UPROBED:
        await do_read_fault(cpu.within(*DO_FAULT))
    elif cpu.state is State.FILE:
        await do_fault(cpu.within(*DO_FAULT), write=write)
    else:
        await do_anonymous_page(cpu.within(*DO_ANONYMOUS_PAGE), write=write)


async def _make_writable(cpu: Cpu, pte: Pte) -> None:
    """``do_wp_page()`` of a shared or of a private mapping."""
    if cpu.state is State.FILE:
        await wp_page_shared(cpu.within(*WP_PAGE_SHARED), pte)
    else:
        await do_wp_page(cpu.within(*WP_PAGE_COPY), pte)
