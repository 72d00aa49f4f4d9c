"""The OOM reaper: ``__oom_reap_task_mm()`` in mm/oom_kill.c (row 17 of the table).

Its ranges are non-blockable: a subscriber that would have to sleep refuses, and the mapping is
skipped with no entry touched. Left out: shared mappings and ``VM_LOCKED`` (skipped by the kernel),
``MMF_UNSTABLE`` under the page table lock: here a fault that begins later finds no permission.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase

OOM_REAP_TASK_MM = (
    "__oom_reap_task_mm",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)


async def run_oom_reap_task_mm(cpu: Cpu) -> None:
    """Reap the mapping of a victim that is about to die; it is flushed and freed by itself."""
    await cpu.mmap_read_lock()
    await cpu.vm_flags_reset(0)
    if await cpu.invalidate_range_start_nonblock():
        gathered = await clear_entry(cpu)
        await cpu.invalidate_range_end()
        await cpu.phase(Phase.BEFORE_FREE)
        if gathered is not None:
            await cpu.put_page(gathered)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return(new_epoch=True)
