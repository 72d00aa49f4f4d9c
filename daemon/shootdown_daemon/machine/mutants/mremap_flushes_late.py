"""mremap that drops the destination's lock before it flushes the source."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.mremap import destination
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write

PHASES = (Phase.RANGE_START, Phase.AFTER_UNLOCK, Phase.RANGE_END, Phase.OP_RETURN)


async def run_move_ptes(cpu: Cpu) -> None:
    """Clear the source, set the destination, let go of it, and only then flush."""
    new = cpu.at(destination(cpu))
    await cpu.mmap_write_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    await new.pte_offset_map_lock()
    if pte_present(pte):
        old = await cpu.ptep_clear_flush()
        entry = await new.mk_pte(pte_pfn(old), writable=pte_write(old))
        await new.set_pte_at(entry, operating=cpu)
    await new.spin_unlock()
    await cpu.phase(Phase.AFTER_UNLOCK)
    await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.vm_flags_reset(0)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


MUTANT = Mutant(
    "mremap_flushes_late",
    "mremap drops the destination's page table lock before it flushes the source.",
    operations=(Operation("move_ptes", PHASES, run_move_ptes),),
)
