"""Batched unmapping: CPU TLB flushes that reclaim owes (``tlb_ubc``, ``mm->tlb_flush_batched``).

Whoever unmaps with ``TTU_BATCH_FLUSH`` clears entries now and flushes the CPUs once for all of
them, before the I/O. Until then an entry is gone and a TLB may still hold it, so whoever changes
entries of the address space under the page table lock asks first (`flush_tlb_batched_pending`).
Only what keeps that account may live here. Its cell, ``("tlb_flush_batched", slot, mm)``, counts
batches added and those that somebody who asked has flushed; as in the kernel the reclaimer's own
flush leaves it as it is, so that the next to ask flushes once more.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from shootdown_daemon.machine.region import PUD_SIZE
from shootdown_protocol.program import Op, Program

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_engine.store import Store

BATCHING: Final = frozenset(("try_to_unmap",))
"""Operations that owe flushes."""


def batches(program: Program) -> bool:
    """Whether an operation of the program unmaps with ``TTU_BATCH_FLUSH``."""
    return any(
        line.op is Op.RUN and line.operation in BATCHING
        for column in program.columns
        for line in column.instructions
    )


def set_tlb_ubc_flush_pending(cpu: Cpu) -> Awaitable[None]:
    """``set_tlb_ubc_flush_pending()``, after ``arch_tlbbatch_add_pending()`` told devices."""
    return cpu.step("set_tlb_ubc_flush_pending", owe, cpu.kslot.index, cpu.site.mm)


async def flush_tlb_batched_pending(cpu: Cpu) -> None:
    """``flush_tlb_batched_pending()``: flush what reclaim owes; with the page table lock held.

    ``flush_tlb_mm()`` tells secondary TLBs too, though they were told when the entry was cleared.
    """
    if not cpu.kslot.kernel.batches_flushes:
        return
    owed = await cpu.step("mm_tlb_flush_batched", owing, cpu.kslot.index, cpu.site.mm)
    if owed:
        await cpu.reaching(PUD_SIZE).flush_tlb()
        await cpu.step("tlb_flush_batched", settled, cpu.kslot.index, cpu.site.mm, owed)


def owe(store: Store, slot: int, mm: int) -> None:
    """One more batch is owed."""
    owed, flushed = _account(store, slot, mm)
    store.put(("tlb_flush_batched", slot, mm), (owed + 1, flushed))


def owing(store: Store, slot: int, mm: int) -> int:
    """How many batches there have been, if one of them is still owed; else 0."""
    owed, flushed = _account(store, slot, mm)
    return owed if owed != flushed else 0


def settled(store: Store, slot: int, mm: int, owed: int) -> None:
    """``atomic_try_cmpxchg()``: so many are flushed, unless one was added meanwhile."""
    now, _ = _account(store, slot, mm)
    if now == owed:
        store.put(("tlb_flush_batched", slot, mm), (owed, owed))


def forget(store: Store, slot: int, mms: int) -> None:
    """Begin an instance with nothing owed."""
    for mm in range(mms):
        store.put(("tlb_flush_batched", slot, mm), None)


def _account(store: Store, slot: int, mm: int) -> tuple[int, int]:
    account = store.get(("tlb_flush_batched", slot, mm)) or (0, 0)
    assert isinstance(account, tuple)
    owed, flushed = account
    return owed, flushed
