"""What columns of both sides do alike: wait for each other, end, be refused an access."""

from __future__ import annotations

from shootdown_engine.access import Intent
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_engine.walker import Translation, walk
from shootdown_protocol.board import CUT_OFF
from shootdown_protocol.history import Denied, Ended, Synced
from shootdown_protocol.program import Instruction, Op, When

HOPES = frozenset(("when", "await", "sync"))
"""Steps by which a column waits for what its scenario says: it may never come (decision 0006)."""


def hopes(line: Instruction) -> bool:
    """Whether an instruction makes such a step."""
    return line.op in (Op.AWAIT, Op.SYNC) or line.when is not When.NOW


def await_column(store: Store, slot: Slot, column: int) -> Blocked | None:
    """Guard: another column has ended."""
    return None if store.load(slot.ended[column]) == slot.instance + 1 else BLOCKED


def sync_column(store: Store, slot: Slot, column: int) -> Blocked | None:
    """Guard as `await_column`; what that column did happens before what follows here."""
    if await_column(store, slot, column) is BLOCKED:
        return BLOCKED
    store.emit(Synced(column))
    return None


def wait_until(
    store: Store, memory: PhysicalMemory, directory: int, slot: Slot, line: Instruction
) -> Blocked | None:
    """Guard of a device instruction's ``when``; presence is what a walk says.

    Nothing is waited for in an instance that was cut off.
    """
    site = slot.sites[line.location]
    if line.when is When.RETURNED:
        met = store.load(site.returned) >= site.returns
    else:
        found = walk(store, memory, directory, site.pasid, site.va)
        met = isinstance(found, Translation) and (line.when is When.PRESENT or found.writable)
    return None if met or store.load(slot.started) & CUT_OFF else BLOCKED


def end_column(store: Store, slot: Slot, column: int) -> None:
    """Say that a column has ended."""
    store.store(slot.ended[column], slot.instance + 1)
    store.emit(Ended(column))


def tick(_store: Store) -> None:
    """Pass one tick: a place where another task may run."""


def deny(store: Store, slot: Slot, intent: Intent, reason: str) -> None:
    """Report an access that the kernel refused."""
    limit = store.load(slot.sites[intent.location].limit)
    store.emit(Denied(intent.kind, intent.location, limit, reason, intent.register))
