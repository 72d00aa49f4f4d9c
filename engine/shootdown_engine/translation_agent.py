"""The IOMMU in front of a device: it answers translation requests (PCIe ATS: translation agent).

An agent with shared memory hosts its own; for any other the daemon does. Facts only: what is cached
are cells of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from shootdown_engine import walk_cache
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.iommu_config import IommuConfig
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import roots_may_go
from shootdown_engine.store import Store
from shootdown_engine.translation_cache import Cached, TranslationCache, first_page
from shootdown_engine.walker import (
    INDEX_BITS,
    TableAt,
    Translation,
    Walked,
    WalkFault,
    leads_to,
    read_pasid_entry,
    walk,
    walk_level,
)
from shootdown_protocol.ats_translation import READ, USER_REQUEST, TranslationRequest, permissions
from shootdown_protocol.memory import ACCESSED, DIRTY, PAGE_SHIFT, hardware_bits
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.program import Program

_MARKS = ACCESSED | DIRTY
"""Bits that a walk may add to an entry: having more of them makes no translation stale."""
_LEAF_ONLY = int(InvalidateFlag.LEAF_ONLY)
_LAST_PAGE = (1 << 52) - 1


class TranslationAgent:
    """An IOTLB, a walker, and the tables that it remembers, for one device."""

    def __init__(self, config: IommuConfig, memory: PhysicalMemory) -> None:
        """Stand in front of a memory, with nothing cached."""
        self.config = config
        self.memory = memory
        self.iotlb = TranslationCache(
            "iotlb",
            config.device,
            entries=config.iotlb_entries,
            replacement=config.replacement,
        )

    def translate(self, store: Store, pasid: int, va: int, *, write: bool) -> Cached | WalkFault:
        """Answer a request within one step: from the IOTLB, filled by a walk when it misses.

        What is held without the permission asked for is a miss: the kernel lets permissions grow
        (``wp_page_reuse()``) without an invalidation.
        """
        if not self.config.iotlb:
            return self._walk(store, pasid, va, write=write)
        vpn = va >> PAGE_SHIFT
        held = self.iotlb.look_up(store, pasid, vpn)
        if held is not None and (held.writable or not write):
            return held
        found = self._walk(store, pasid, va, write=write)
        if isinstance(found, Cached):
            self.iotlb.insert(store, pasid, vpn, found)
        return found

    def _walk(self, store: Store, pasid: int, va: int, *, write: bool) -> Cached | WalkFault:
        config = self.config
        while True:
            walked = walk(store, self.memory, config.directory, pasid, va, write=write)
            if not isinstance(walked, Translation):
                assert isinstance(walked, WalkFault)
                return walked
            found = mark(store, walked, write=write) if config.ad_bits else walked
            if found is not None:
                return answer(found, va)

    # A table at a time

    def begin_walk(
        self, store: Store, pasid: int, va: int, *, write: bool
    ) -> Cached | WalkFault | TableAt:
        """Ask the IOTLB, then the walk cache, then the PASID table: where the walk goes on."""
        config = self.config
        if config.iotlb:
            held = self.iotlb.look_up(store, pasid, va >> PAGE_SHIFT)
            if held is not None and (held.writable or not write):
                return held
        at: Walked | None = None
        if config.walk_cache:
            at = walk_cache.deepest(store, config.device, pasid, va)
        if at is None:
            at = read_pasid_entry(store, self.memory, config.directory, pasid)
            while isinstance(at, TableAt) and at.level >= config.walk_at_once:
                at = walk_level(store, self.memory, at, va)
            if config.walk_cache and isinstance(at, TableAt):
                walk_cache.remember(store, config.device, pasid, va, at)
        return answer(at, va) if isinstance(at, Translation) else at

    def load_table(
        self,
        store: Store,
        pasid: int,
        va: int,
        at: TableAt,
        *,
        write: bool,
        is_cancelled: Callable[[], bool],
    ) -> Cached | WalkFault | TableAt:
        """Make one load of a walk; what it finds is cached unless the walk ``is_cancelled``."""
        config = self.config
        found = walk_level(store, self.memory, at, va)
        if isinstance(found, WalkFault):
            return found
        keeps = (config.iotlb or config.walk_cache) and not is_cancelled()
        if isinstance(found, TableAt):
            if keeps and config.walk_cache:
                walk_cache.remember(store, config.device, pasid, va, found)
            return found
        if config.ad_bits:
            marked = mark(store, found, write=write)
            if marked is None:
                return at
            found = marked
        said = answer(found, va)
        if keeps and config.iotlb and isinstance(said, Cached):
            self.iotlb.insert(store, pasid, va >> PAGE_SHIFT, said)
        return said

    def is_stale(self, store: Store, program: Program, pasid: int, entry: Cached) -> bool:
        """Whether an entry on the way has changed since; the PASID's too, where it may go."""
        if went_stale(store, entry):
            return True
        if not roots_may_go(program):
            return False
        root = read_pasid_entry(store, self.memory, self.config.directory, pasid)
        return isinstance(root, WalkFault)

    # Invalidations

    def drop(
        self,
        store: Store,
        request: InvalidateRequest,
        pages: Mapping[int, tuple[int, ...]],
        around: Mapping[int, Iterable[int]],
    ) -> None:
        """Drop what a request names from the IOTLB, and the tables on the way there.

        ``pages`` has, for each PASID that the request is about, what may be cached of it, and
        ``around`` those of them whose tables are to be forgotten.
        """
        config = self.config
        first, last = pages_of(request)
        for pasid, vpns in pages.items():
            if config.iotlb:
                self.iotlb.drop(store, pasid, vpns, first, last)
            if config.walk_cache and not request.flags & _LEAF_ONLY:
                walk_cache.drop_tables(store, config.device, pasid, around[pasid])

    def forget(self, store: Store, pasid: int, vpns: tuple[int, ...]) -> None:
        """Drop everything of a PASID."""
        self.iotlb.drop(store, pasid, vpns, 0, _LAST_PAGE)
        if self.config.walk_cache:
            walk_cache.drop_tables(store, self.config.device, pasid, vpns)


def pages_of(request: InvalidateRequest) -> tuple[int, int]:
    """First and last page number that a request covers; one of no bytes: none, in this order."""
    return request.address >> PAGE_SHIFT, request.address + request.size - 1 >> PAGE_SHIFT


def around(request: InvalidateRequest, vpns: tuple[int, ...], largest: int) -> tuple[int, ...]:
    """Pages that a request covers, or that a page of the ``largest`` shift joins to one of them."""
    return _around(request.address, request.size, vpns, largest)


@lru_cache(4096)
def _around(address: int, size: int, vpns: tuple[int, ...], largest: int) -> tuple[int, ...]:
    if not size:
        return ()
    last = first_page(address + size - 1 >> PAGE_SHIFT, largest) + (1 << largest - PAGE_SHIFT) - 1
    first = first_page(address >> PAGE_SHIFT, largest)
    return tuple(vpn for vpn in vpns if first <= vpn <= last)


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
