"""Table pages that wait for lockless walkers before they are freed.

A lockless walker (GUP-fast) runs with interrupts off. An IPI that must be taken on every CPU, and
the end of an RCU grace period, both come only when no walker is inside; here they are guards. An
operation waits where the kernel would let ``call_rcu()`` call back later. In a program without a
lockless walker there is nobody to wait for, and no step is made of it.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.pmd import pte_free
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


async def tlb_remove_table_sync_one(cpu: Cpu) -> None:
    """``tlb_remove_table_sync_one()``: an IPI to every CPU, which walkers do not take."""
    walkers = cpu.kslot.kernel.lockless_walkers
    if walkers:
        await cpu.step("tlb_remove_table_sync_one", nobody_inside, cpu.kslot.index, walkers)


async def pte_free_defer(cpu: Cpu, table: int) -> None:
    """``pte_free_defer()``: free a page-table page after a grace period."""
    walkers = cpu.kslot.kernel.lockless_walkers
    if walkers:
        await cpu.step("rcu_grace_period", nobody_inside, cpu.kslot.index, walkers)
    await pte_free(cpu, table)


def nobody_inside(store: Store, slot: int, walkers: tuple[int, ...]) -> Blocked | None:
    """Guard: no CPU walks without locks."""
    inside = any(store.get(("irqs_off", slot, cpu)) is not None for cpu in walkers)
    return BLOCKED if inside else None


def local_irq_save(store: Store, slot: int, cpu: int) -> None:
    """``local_irq_save()``: the CPU takes no IPI, and holds up grace periods."""
    store.put(("irqs_off", slot, cpu), True)


def local_irq_restore(store: Store, slot: int, cpu: int) -> None:
    """``local_irq_restore()``."""
    store.put(("irqs_off", slot, cpu), None)
