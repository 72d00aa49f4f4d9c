"""Taking write permission: ``change_pte_range()`` of mprotect(PROT_READ) (row 10 of the table).

Left out: NUMA hinting, userfaultfd, soft-dirty; more than one entry.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.tlb_batch import flush_tlb_batched_pending
from shootdown_protocol.board import READ
from shootdown_protocol.memory import pte_present, pte_wrprotect

CHANGE_PTE_RANGE = (
    "change_pte_range",
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


async def run_change_pte_range(cpu: Cpu) -> None:
    """mprotect(PROT_READ) of one page: no page is freed, so the flush may come last.

    Where faults are let in it is ``uffd_wp_range()``: the mapping stays writable and only the
    entry is write-protected, so a write fault resolves it.
    """
    await cpu.mmap_change_lock()
    if not cpu.lets_faults_in:
        await cpu.vm_flags_reset(READ)
    await cpu.invalidate_range_start()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_change_unlock()
    await cpu.op_return(permissions=None if cpu.lets_faults_in else READ)


async def wrprotect_pte(cpu: Cpu) -> None:
    """Take write permission from a present entry, under the page table lock."""
    pte = await cpu.pte_offset_map_lock()
    await flush_tlb_batched_pending(cpu)
    if pte_present(pte):
        old = await cpu.ptep_modify_prot_start()
        await cpu.ptep_modify_prot_commit(pte_wrprotect(old))
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
