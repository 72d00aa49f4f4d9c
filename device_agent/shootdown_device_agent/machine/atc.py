"""Cells of the device's translation caches, and what is kept in them.

The ATC (device TLB) and the IOTLB of the IOMMU in front of it are keyed by device, PASID and page;
a cell holds a `Cached` or nothing. A step that takes a translation from a cache notes the access
as *issued* in that same step, so that an invalidation knows what to wait for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_engine.walker import Translation, WalkFault, walk
from shootdown_protocol.memory import PAGE_SHIFT, hardware_bits

VALID = "valid"
CANCELLED = "cancelled"

Thread = tuple[int, str]
"""A device thread: slot number and name."""


class Cached(NamedTuple):
    """A translation as a cache keeps it; ``entry`` and ``word`` tell whether it went stale."""

    pfn: int
    writable: bool
    generation: int
    word: int
    entry: int
    shift: int = PAGE_SHIFT


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


def atc_cell(device: int, pasid: int, vpn: int) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the device's ATC."""
    return ("atc", device, pasid, vpn)


def iotlb_cell(device: int, pasid: int, vpn: int) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the IOTLB that serves the device."""
    return ("iotlb", device, pasid, vpn)


def issued_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the access that a thread has issued and not finished."""
    return ("issued", device, *thread)


def walking_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the translation that a thread waits for."""
    return ("walking", device, *thread)


def cached(store: Store, cell: tuple[Hashable, ...]) -> Cached | None:
    """What a cache cell holds."""
    entry = store.get(cell)
    assert entry is None or isinstance(entry, Cached)
    return entry


def went_stale(store: Store, entry: Cached) -> bool:
    """Whether the page table entry has changed since the translation was made."""
    return hardware_bits(store.load(entry.word)) != entry.entry


def translate(
    store: Store, memory: PhysicalMemory, directory: int, pasid: int, va: int
) -> Cached | WalkFault:
    """Answer a translation request by a walk within one step."""
    walked = walk(store, memory, directory, pasid, va)
    if isinstance(walked, Translation):
        return Cached(*walked)
    assert isinstance(walked, WalkFault)
    return walked


def translate_through_iotlb(
    store: Store,
    memory: PhysicalMemory,
    directory: int,
    device: int,
    pasid: int,
    va: int,
    *,
    write: bool,
) -> Cached | WalkFault:
    """Answer a translation request from the IOTLB, filled by a walk when it misses.

    What is held without the permission asked for is a miss: the kernel lets permissions grow
    (``wp_page_reuse()``) without an invalidation.
    """
    cell = iotlb_cell(device, pasid, va >> PAGE_SHIFT)
    held = cached(store, cell)
    if held is not None and (held.writable or not write):
        return held
    answer = translate(store, memory, directory, pasid, va)
    if isinstance(answer, Cached):
        store.put(cell, answer)
    return answer
