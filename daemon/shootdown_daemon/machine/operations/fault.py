"""The page fault: ``handle_mm_fault()`` and the ways it goes.

Left out: swap, file pages, NUMA hinting, userfaultfd, retry with the lock dropped.
"""

from __future__ import annotations

from enum import StrEnum

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.anonymous import DO_ANONYMOUS_PAGE, do_anonymous_page
from shootdown_daemon.machine.operations.cow import WP_PAGE_COPY, do_wp_page
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.board import READ, WRITE
from shootdown_protocol.memory import pte_present, pte_write


class FaultAnswer(StrEnum):
    """What a fault comes to; ``INVALID`` can succeed only if the mapping changes."""

    SUCCESS = "success"
    INVALID = "invalid"


async def handle_mm_fault(cpu: Cpu, *, write: bool) -> FaultAnswer:
    """Resolve a fault, as ``handle_mm_fault()`` in mm/memory.c, under ``mmap_lock`` for reading."""
    fault = cpu.within("handle_mm_fault", (Phase.OP_RETURN,))
    await fault.mmap_read_lock()
    permissions = await fault.vma_lookup()
    if not permissions & (WRITE if write else READ):
        await fault.mmap_read_unlock()
        return FaultAnswer.INVALID
    pte = await fault.ptep_get_lockless()
    if not pte_present(pte):
        await do_anonymous_page(cpu.within(*DO_ANONYMOUS_PAGE), write=write)
    elif write and not pte_write(pte):
        await do_wp_page(cpu.within(*WP_PAGE_COPY), pte)
    await fault.mmap_read_unlock()
    return FaultAnswer.SUCCESS
