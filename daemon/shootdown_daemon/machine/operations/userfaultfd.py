"""userfaultfd: ``uffd_wp_range()`` in mm/userfaultfd.c (row 10 of the table).

Left out: the message to a monitor (it is UFFD_FEATURE_WP_ASYNC, where a write fault resolves the
protection by itself), and more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.mprotect import wrprotect_pte
from shootdown_daemon.machine.phases import Phase

UFFD_WP_RANGE = (
    "uffd_wp_range",
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


async def run_uffd_wp_range(cpu: Cpu) -> None:
    """UFFDIO_WRITEPROTECT: faults may run beside it, and copy only after flushing themselves.

    ``tlb_gather_mmu()`` says that a flush is pending; a write fault that sees it flushes before it
    copies (``do_wp_page()``).
    """
    await cpu.mmap_read_lock()
    await cpu.inc_tlb_flush_pending()
    await cpu.invalidate_range_start()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.dec_tlb_flush_pending()
    await cpu.mmap_read_unlock()
    await cpu.op_return()
