"""Subscribers that come and go: ``mmu_notifier_register()`` and ``mmu_interval_notifier_remove()``.

No row of the table: this is the side of who is notified (mm/mmu_notifier.c). Registering is of a
subscriber to a whole address space, as KVM's; removing is of one object's interval, by a driver
that takes the object out of use. Left out: ``mmu_notifier_unregister()``, the locks of files and
of anonymous memory that ``mm_take_all_locks()`` takes, inserts and removals that are deferred.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import REGISTER, REMOVE

MMU_NOTIFIER_REGISTER = (REGISTER, ())
MMU_INTERVAL_NOTIFIER_REMOVE = (REMOVE, ())
"""They change no entry: no phase is announced."""


async def run_mmu_notifier_register(cpu: Cpu) -> None:
    """Subscribe while nobody who holds ``mmap_lock`` is between range_start and range_end."""
    mirror = cpu.kslot.kernel.mirror
    await cpu.mmap_write_lock()
    if mirror is not None:
        await cpu.step("mmu_notifier_subscribe", mirror.step_subscribe, cpu)
    await cpu.mmap_write_unlock()
    await cpu.op_return()


async def run_mmu_interval_notifier_remove(cpu: Cpu) -> None:
    """Take an object out of use: it is found no more, its entry is dropped, then it is not told."""
    mirror = cpu.kslot.kernel.mirror
    if mirror is not None:
        await mirror.remove(cpu)
    await cpu.op_return()
