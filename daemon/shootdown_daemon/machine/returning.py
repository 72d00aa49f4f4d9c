"""Steps on mappings, and on what accesses must obey once an operation has returned."""

from __future__ import annotations

from shootdown_daemon.machine.page_table import Entry, resident, set_pte_at
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_protocol.board import READ, WRITE, limit_order, limit_permissions, pack_limit
from shootdown_protocol.history import Returned
from shootdown_protocol.memory import Pte
from shootdown_protocol.swapops import SwapType, swp_type
from shootdown_protocol.words import make_order


def vma_lookup(store: Store, slot: int, location: int) -> int:
    """``vma_lookup()``: permissions of a location's mapping; 0 when there is none."""
    permissions = store.get(("vma", slot, location))
    return permissions if isinstance(permissions, int) else 0


def vm_flags_reset(store: Store, slot: int, location: int, permissions: int) -> None:
    """``vm_flags_reset()``: change a mapping's permissions; 0 removes the mapping."""
    store.put(("vma", slot, location), permissions or None)


def op_return(
    store: Store, site: Site, operation: str, new_epoch: bool, permissions: int | None
) -> None:
    """Raise the limit as an operation returns, count it, and report it."""
    limit = store.load(site.limit)
    if new_epoch or permissions is not None:
        limit = pack_limit(
            make_order(store.load(site.epoch), 0) if new_epoch else limit_order(limit),
            limit_permissions(limit) if permissions is None else permissions,
        )
        store.store(site.limit, limit)
    store.store(site.returned, store.load(site.returned) + 1)
    store.emit(Returned(operation, site.index, limit))


def set_pte_permitted(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    entry: Entry,
    owner: str,
    pte: Pte,
) -> None:
    """``set_pte_at()`` where nobody had access: from this step on, everybody has again."""
    limit = store.load(site.limit)
    store.store(site.limit, pack_limit(limit_order(limit), READ | WRITE))
    set_pte_at(store, memory, slot, site, entry, owner, pte)


def exclusive_return(store: Store, site: Site, entry: Entry, operation: str) -> None:
    """Return from giving a page to a device alone: no access at all, while its entry stands."""
    exclusive = swp_type(entry.read(store)) is SwapType.DEVICE_EXCLUSIVE
    op_return(store, site, operation, new_epoch=False, permissions=0 if exclusive else None)


def fork_return(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    child: Site,
    child_entry: Entry,
    operation: str,
) -> None:
    """A fork returns: its child may meet the parent's version resident now, and none newer."""
    pte = child_entry.read(store)
    order = resident(store, memory, slot, child, pte, final=False).order
    permissions = limit_permissions(store.load(child.limit))
    store.store(child.limit, pack_limit(0, permissions, ceiling=order))
    store.store(site.returned, store.load(site.returned) + 1)
    store.store(child.returned, store.load(child.returned) + 1)
    store.emit(Returned(operation, site.index, store.load(site.limit)))
    store.emit(Returned(operation, child.index, store.load(child.limit)))
