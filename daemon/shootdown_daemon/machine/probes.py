"""Steps of the kernel's own stores: a breakpoint that is written into a page of text.

A store makes a version like any other; it has ended when it can be seen.
"""

from __future__ import annotations

from shootdown_daemon.machine.page_table import Entry, set_pte_at
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_protocol.memory import Pte
from shootdown_protocol.words import data_word, make_order, order_of, split_order

BREAKPOINT = 0xCC
"""What ``int3`` is on x86, as the value of the word that the instruction lies in."""


def copy_to_page(store: Store, memory: PhysicalMemory, slot: Slot, site: Site, pfn: int) -> int:
    """``copy_to_page()``: store a breakpoint into a page; gives epoch and version."""
    where = memory.first_word(pfn) + site.word_offset
    epoch, _ = split_order(order_of(store.load(where)))
    version = store.load(site.version) + 1
    store.store(site.version, version)
    store.store(where, data_word(slot.instance, site.word, epoch, version, BREAKPOINT))
    return make_order(epoch, version)


def copy_to_mapped_page(
    store: Store, memory: PhysicalMemory, slot: Slot, site: Site, pfn: int
) -> None:
    """The same in a page that somebody may reach: the store has ended with this step."""
    _end_store(store, site, copy_to_page(store, memory, slot, site, pfn))


def set_pte_published(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    entry: Entry,
    owner: str,
    pte: Pte,
    order: int,
) -> None:
    """``set_pte_at()`` of a page that holds a store nobody could see before: it has ended now."""
    _end_store(store, site, order)
    set_pte_at(store, memory, slot, site, entry, owner, pte)


def _end_store(store: Store, site: Site, order: int) -> None:
    if store.load(site.floor) <= order:
        store.store(site.floor, order + 1)
