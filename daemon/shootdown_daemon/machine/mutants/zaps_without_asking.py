"""A zap that does not ask whether reclaim owes a flush of what it finds gone already."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.zap import ZAP_PTE_RANGE
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present
from shootdown_protocol.swapops import SwapType, swp_offset, swp_type


async def run_zap_pte_range(cpu: Cpu) -> None:
    """Flush what it clears itself, and take a swap entry for proof that nobody has the page."""
    await cpu.mmap_read_lock()
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte):
        await cpu.ptep_get_and_clear()
        await cpu.pte_unmap_unlock()
        await cpu.phase(Phase.BEFORE_FREE)
        await cpu.put_page(pte_pfn(pte))
    else:
        await cpu.zap_nonpresent()
        if swp_type(pte) is SwapType.SWAP:
            await cpu.swap_free(swp_offset(pte))
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return(new_epoch=True)


MUTANT = Mutant(
    "zaps_without_asking",
    "A zap does not ask whether reclaim has unmapped pages whose TLB flush is still to come.",
    operations=(Operation(*ZAP_PTE_RANGE, run_zap_pte_range),),
)
