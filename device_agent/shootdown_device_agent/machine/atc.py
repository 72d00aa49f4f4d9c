"""Cells of a device: what its caches hold, which accesses and translations are under way.

A step that takes a translation from a cache notes the access as *issued* in that same step, so
that an invalidation knows what to wait for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_engine.translation_cache import Cached as Cached  # noqa: PLC0414 - exported
from shootdown_engine.translation_cache import TranslationCache, cell_of, first_page
from shootdown_engine.walker import Translation, WalkFault, leads_to, walk
from shootdown_protocol.ats_translation import READ, USER_REQUEST, TranslationRequest, permissions
from shootdown_protocol.memory import ACCESSED, DIRTY, PAGE_SHIFT, hardware_bits

_MARKS = ACCESSED | DIRTY
"""Bits that a walk may add to an entry: having more of them makes no translation stale."""
INDEX_BITS = 9
"""Bits of an address that one level of tables translates."""
VALID = "valid"
CANCELLED = "cancelled"

Thread = tuple[int, str]
"""A device thread: slot number and name."""


class Issued(NamedTuple):
    """An access under way; ``drains`` are the ITags that wait for it."""

    pasid: int
    vpn: int
    drains: tuple[int, ...]


class Walking(NamedTuple):
    """A translation under way; ``state`` is `VALID` until an invalidation cancels it."""

    pasid: int
    vpn: int
    state: str


def atc_cell(device: int, pasid: int, vpn: int, shift: int = PAGE_SHIFT) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the device's ATC."""
    return cell_of("atc", device, pasid, vpn, shift)


def iotlb_cell(device: int, pasid: int, vpn: int, shift: int = PAGE_SHIFT) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the IOTLB that serves the device."""
    return cell_of("iotlb", device, pasid, vpn, shift)


def issued_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the access that a thread has issued and not finished."""
    return ("issued", device, *thread)


def walking_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the translation that a thread waits for."""
    return ("walking", device, *thread)


def value_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of what a thread that a class declares has met with its last access."""
    return ("value", device, *thread)


def cached(store: Store, cell: tuple[Hashable, ...]) -> Cached | None:
    """What a cache cell holds."""
    entry = store.get(cell)
    assert entry is None or isinstance(entry, Cached)
    return entry


def pfn_of(entry: Cached, vpn: int) -> int:
    """Where a page lies, by a translation that covers it."""
    return entry.pfn + vpn - first_page(vpn, entry.shift)


def went_stale(store: Store, entry: Cached) -> bool:
    """Whether the page table entry has changed since the translation was made, or its table."""
    if entry.table and not leads_to(store.load(entry.above), entry.table):
        return True
    now = hardware_bits(store.load(entry.word))
    return now != entry.entry and bool((now ^ entry.entry) & ~_MARKS or entry.entry & ~now)


def answer(
    walked: Translation, va: int, request: TranslationRequest = USER_REQUEST
) -> Cached | WalkFault:
    """The translation completion of a leaf: where its page begins, its size, its permissions.

    A page that only the supervisor may reach is no translation for a user's request.
    """
    if not permissions(walked.entry, request, writable=walked.writable) & READ:
        return WalkFault("privileged", 1 + (walked.shift - PAGE_SHIFT) // INDEX_BITS)
    if walked.shift == PAGE_SHIFT:
        return Cached(*walked)
    vpn = va >> PAGE_SHIFT
    return Cached(*walked)._replace(pfn=walked.pfn - vpn + first_page(vpn, walked.shift))


def mark(store: Store, found: Translation, *, write: bool) -> Translation | None:
    """Set the accessed bit of a leaf, and the dirty bit for a write that it allows.

    By compare-and-swap, as hardware does; None when the entry has changed since it was read. What
    is not dirty is answered without permission to write, so that the first store asks again.
    """
    bits = ACCESSED | (DIRTY if write and found.writable else 0)
    old = store.load(found.word)
    if hardware_bits(old) != found.entry:
        return None
    if bits & ~old and store.compare_exchange(found.word, old, old | bits) != old:
        return None
    entry = hardware_bits(old | bits)
    return found._replace(entry=entry, writable=found.writable and bool(entry & DIRTY))


def translate(
    store: Store,
    memory: PhysicalMemory,
    directory: int,
    pasid: int,
    va: int,
    marks: bool | None = None,
) -> Cached | WalkFault:
    """Answer a translation request by a walk within one step.

    ``marks``: accessed and dirty bits are set, for a write or not; None for not at all.
    """
    walked = walk(store, memory, directory, pasid, va)
    while isinstance(walked, Translation):
        found = walked if marks is None else mark(store, walked, write=marks)
        if found is not None:
            return answer(found, va)
        walked = walk(store, memory, directory, pasid, va)
    assert isinstance(walked, WalkFault)
    return walked


def translate_through_iotlb(
    store: Store,
    memory: PhysicalMemory,
    directory: int,
    iotlb: TranslationCache,
    pasid: int,
    va: int,
    *,
    write: bool,
    marks: bool = False,
) -> Cached | WalkFault:
    """Answer a translation request from the IOTLB, filled by a walk when it misses.

    What is held without the permission asked for is a miss: the kernel lets permissions grow
    (``wp_page_reuse()``) without an invalidation.
    """
    vpn = va >> PAGE_SHIFT
    held = iotlb.look_up(store, pasid, vpn)
    if held is not None and (held.writable or not write):
        return held
    found = translate(store, memory, directory, pasid, va, write if marks else None)
    if isinstance(found, Cached):
        iotlb.insert(store, pasid, vpn, found)
    return found
