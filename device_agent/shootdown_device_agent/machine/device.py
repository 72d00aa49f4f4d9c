"""The ATS device: look up, translate, access; and what it does with an invalidation.

`Device` is the right one. A device of one's own subclasses it and overrides what differs: each
method named ``step_...`` is one atomic step over the store, each ``async`` method a sequence of
steps. An access is a look-up; on a miss a translation (walk, then insert); then the access itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import CANCELLED, VALID, Cached, Issued, Thread, Walking
from shootdown_engine.access import Begun, Intent, Target, begin, take_effect
from shootdown_engine.channels import InvalidateRequest, PageRequest
from shootdown_engine.column import deny
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store, receive
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_engine.walker import (
    TableAt,
    Translation,
    Walked,
    WalkFault,
    read_pasid_entry,
    walk_level,
)
from shootdown_protocol.history import Fault, Invalidation, Kind, Step
from shootdown_protocol.memory import PAGE_SHIFT

R = TypeVar("R")

FAULTS_MAX = 16
"""Attempts at one access before the device gives it up (S5)."""
SUCCESS = "success"


@dataclass(frozen=True)
class DeviceConfig:
    """What a testbed says of a device. ``device`` is its number, ``directory`` the PASID table's.

    ``iotlb``: the IOMMU in front caches too; ``atc_entries``: capacity, 0 for no limit;
    ``walk_by_level``: each table load is a step of its own; ``watch_stale``: note hits whose
    entry has changed (reads the entry at each hit).
    """

    device: int
    name: str
    directory: int
    iotlb: bool = False
    atc_entries: int = 0
    walk_by_level: bool = False
    watch_stale: bool = True


class Found(NamedTuple):
    """A look-up's answer: what the access must obey, and the translation on a hit."""

    begun: Begun
    entry: Cached | None


@dataclass(frozen=True)
class DeviceThread:
    """One column (or prefetcher) of a device at work in a slot; ``number`` names its requests."""

    slot: Slot
    name: str
    number: int

    @property
    def key(self) -> Thread:
        """What cells call it."""
        return self.slot.index, self.name


class Device:
    """The right device. All state is cells of the store; the object holds facts only."""

    def __init__(self, config: DeviceConfig, memory: PhysicalMemory) -> None:
        """Stand in front of a memory with no PASID bound."""
        self.config = config
        self.memory = memory
        self.number = config.device
        self.threads: dict[int, tuple[Thread, ...]] = {}
        self.pages: dict[int, tuple[int, ...]] = {}

    def bind(self, slot: Slot, threads: tuple[DeviceThread, ...]) -> None:
        """Take a slot's PASIDs: their pages may be cached, by these threads."""
        keys = tuple(thread.key for thread in threads)
        for pasid, vpns in slot.vpns.items():
            self.threads[pasid] = keys
            self.pages[pasid] = vpns

    def reset(self, store: Store, slot: Slot) -> None:
        """Drop all that is cached for a slot, as between two batches; nothing may be under way."""
        for pasid, vpns in slot.vpns.items():
            for vpn in vpns:
                self._drop(store, pasid, vpn)
                store.put(atc.iotlb_cell(self.number, pasid, vpn), None)

    # Accesses

    async def access(self, thread: DeviceThread, intent: Intent) -> bool:
        """Attempt a load or store: look up, translate on a miss, access.

        False: a translation was cancelled or its fault resolved, and the access is to be attempted
        again.
        """
        found = await self._at(intent, "atc_lookup", self.step_lookup, thread, intent)
        entry = found.entry
        if entry is None:
            answer = await self.translate(thread, intent)
            if answer is None:
                return False
            if isinstance(answer, WalkFault):
                if await self.page_request(thread, intent):
                    return False
                await self._at(intent, "", deny, thread.slot, intent, "invalid request")
                return True
            entry = answer
        hit = found.entry is not None
        await self._at(intent, "access", self.step_access, thread, intent, found.begun, entry, hit)
        return True

    async def give_up(self, thread: DeviceThread, intent: Intent) -> None:
        """Give up an access that was attempted `FAULTS_MAX` times."""
        await self._at(intent, "", self.step_give_up, thread, intent)

    async def prefetch(self, thread: DeviceThread, location: int, *, write: bool) -> None:
        """Translate without accessing and without asking for the page."""
        intent = Intent(Kind.STORE if write else Kind.LOAD, location, 0, "")
        if not await self._at(intent, "atc_lookup", self.step_prefetch, thread, intent):
            await self.translate(thread, intent, issue=False)

    async def translate(
        self, thread: DeviceThread, intent: Intent, *, issue: bool = True
    ) -> Cached | WalkFault | None:
        """Walk, then insert; None when an invalidation cancelled the translation under way.

        With ``issue`` the access counts as issued from the insertion on.
        """
        site = thread.slot.sites[intent.location]
        answer = await self.walk(site, intent)
        return await self._at(intent, "atc_insert", self.step_insert, thread, intent, answer, issue)

    async def walk(self, site: Site, intent: Intent) -> Cached | WalkFault:
        """Ask the IOMMU: one step, or one for each table when walking by level."""
        if not self.config.walk_by_level:
            write = intent.kind is Kind.STORE
            return await self._at(intent, "walk", self.step_walk, site, write)
        at: Walked = await self._at(
            intent, "walk", read_pasid_entry, self.memory, self.config.directory, site.pasid
        )
        while isinstance(at, TableAt):
            at = await self._at(
                intent, f"walk_level{at.level}", walk_level, self.memory, at, site.va
            )
        if isinstance(at, Translation):
            return Cached(*at)
        return at

    async def page_request(self, thread: DeviceThread, intent: Intent) -> bool:
        """Ask for the page and wait for the one response; False: it can never succeed."""
        await self._at(intent, "page_request", self.step_page_request, thread, intent)
        answer = await self._at(intent, "page_response", self.step_response, thread, intent)
        return answer == SUCCESS

    # Steps of an access

    def step_lookup(self, store: Store, thread: DeviceThread, intent: Intent) -> Found:
        """Begin an access: a hit issues it, a miss begins a translation."""
        site = thread.slot.sites[intent.location]
        begun = begin(store, site)
        entry = atc.cached(store, atc.atc_cell(self.number, site.pasid, site.vpn))
        if entry is not None and (entry.writable or intent.kind is Kind.LOAD):
            self._issue(store, thread, site)
            return Found(begun, entry)
        self._begin_walk(store, thread, site)
        store.emit(Step("device", "atc_miss", site.index, ""))
        return Found(begun, None)

    def step_prefetch(self, store: Store, thread: DeviceThread, intent: Intent) -> bool:
        """Begin a prefetch; True when the translation is cached already."""
        site = thread.slot.sites[intent.location]
        entry = atc.cached(store, atc.atc_cell(self.number, site.pasid, site.vpn))
        if entry is not None and (entry.writable or intent.kind is Kind.LOAD):
            return True
        self._begin_walk(store, thread, site)
        return False

    def step_walk(self, store: Store, site: Site, write: bool = False) -> Cached | WalkFault:
        """Translate at the IOMMU, for an access that writes or not."""
        directory = self.config.directory
        if self.config.iotlb:
            return atc.translate_through_iotlb(
                store, self.memory, directory, self.number, site.pasid, site.va, write=write
            )
        return atc.translate(store, self.memory, directory, site.pasid, site.va)

    def step_insert(
        self,
        store: Store,
        thread: DeviceThread,
        intent: Intent,
        answer: Cached | WalkFault,
        issue: bool,
    ) -> Cached | WalkFault | None:
        """Cache a translation unless it was cancelled; a missing permission is a fault."""
        site = thread.slot.sites[intent.location]
        cell = atc.walking_cell(self.number, thread.key)
        walking = store.get(cell)
        assert isinstance(walking, Walking)
        store.put(cell, None)
        if walking.state == CANCELLED:
            return None
        if isinstance(answer, WalkFault):
            return answer
        self.insert(store, site.pasid, site.vpn, answer)
        if intent.kind is Kind.STORE and not answer.writable:
            return WalkFault("read-only", 1)
        if issue:
            self._issue(store, thread, site)
        return answer

    def step_access(
        self,
        store: Store,
        thread: DeviceThread,
        intent: Intent,
        begun: Begun,
        entry: Cached,
        hit: bool,
    ) -> int:
        """Reach memory through a translation; the access is then no longer under way."""
        stale = hit and self.config.watch_stale and atc.went_stale(store, entry)
        target = Target(entry.pfn, entry.generation, hit, stale)
        value = take_effect(store, self.memory, thread.slot, intent, begun, target)
        store.put(atc.issued_cell(self.number, thread.key), None)
        return value

    def step_page_request(self, store: Store, thread: DeviceThread, intent: Intent) -> None:
        """Send a page request: a group of one, its last flag set."""
        site = thread.slot.sites[intent.location]
        write = intent.kind is Kind.STORE
        request = PageRequest(self.number, site.pasid, site.index, write, thread.number)
        store.send(("page_request", thread.slot.index), request)

    def step_response(self, store: Store, thread: DeviceThread, intent: Intent) -> str | Blocked:
        """Guard: the group's response has arrived."""
        channel = ("page_response", self.number, thread.slot.index, thread.number)
        answer = receive(store, channel)
        if answer is None:
            return BLOCKED
        write = intent.kind is Kind.STORE
        store.emit(Fault(intent.location, write, str(answer), exhausted=False))
        return str(answer)

    def step_give_up(self, store: Store, _thread: DeviceThread, intent: Intent) -> None:
        """Report an access whose faults were answered and never resolved."""
        write = intent.kind is Kind.STORE
        store.emit(Fault(intent.location, write, "retried", exhausted=True))

    def insert(self, store: Store, pasid: int, vpn: int, entry: Cached) -> None:
        """Put a translation into the ATC; a full one gives up what was put in longest ago."""
        capacity = self.config.atc_entries
        if capacity:
            head = store.get(("atc_head", self.number)) or 0
            assert isinstance(head, int)
            ring = ("atc_ring", self.number, head % capacity)
            oldest = store.get(ring)
            if isinstance(oldest, tuple):
                self._drop(store, *oldest)
            store.put(ring, (pasid, vpn))
            store.put(("atc_head", self.number), (head + 1) % capacity)
        store.put(atc.atc_cell(self.number, pasid, vpn), entry)

    def _issue(self, store: Store, thread: DeviceThread, site: Site) -> None:
        cell = atc.issued_cell(self.number, thread.key)
        store.put(cell, Issued(site.pasid, site.vpn, ()))

    def _begin_walk(self, store: Store, thread: DeviceThread, site: Site) -> None:
        cell = atc.walking_cell(self.number, thread.key)
        store.put(cell, Walking(site.pasid, site.vpn, VALID))

    # Invalidations

    async def serve_invalidate(self) -> None:
        """Take one invalidation: IOTLB, then ATC; drain; complete."""
        request = await trap("", self.step_take_invalidate)
        if self.config.iotlb:
            await trap("iotlb_invalidate", self.step_iotlb_invalidate, request)
        await trap("atc_invalidate", self.step_apply, request)
        await trap("drain", self.step_drain, request)
        await trap("invalidate_completion", self.step_complete, request)

    def step_take_invalidate(self, store: Store) -> InvalidateRequest | Blocked:
        """Guard: an invalidation request has arrived."""
        message = receive(store, ("invalidate", self.number))
        if message is None:
            return BLOCKED
        assert isinstance(message, InvalidateRequest)
        return message

    def step_iotlb_invalidate(self, store: Store, request: InvalidateRequest) -> None:
        """Drop the IOTLB's matching entries."""
        for vpn in self.matching(request):
            store.put(atc.iotlb_cell(self.number, request.pasid, vpn), None)

    def step_apply(self, store: Store, request: InvalidateRequest) -> None:
        """Drop matching entries, cancel translations under way, mark what must drain."""
        pages = self.matching(request)
        for vpn in pages:
            self._drop(store, request.pasid, vpn)
        for thread in self.threads.get(request.pasid, ()):
            self._cancel(store, thread, pages)
            self._mark(store, thread, pages, request)
        self._report(store, "applied", request)

    def step_drain(self, store: Store, request: InvalidateRequest) -> Blocked | None:
        """Guard: every access issued through a dropped entry has finished.

        So have the table loads of cancelled walks; a walk parked on a page request has none.
        """
        for thread in self.threads.get(request.pasid, ()):
            if self.config.walk_by_level and self._is_cancelled(store, thread):
                return BLOCKED
            issued = store.get(atc.issued_cell(self.number, thread))
            if isinstance(issued, Issued) and request.itag in issued.drains:
                return BLOCKED
        self._report(store, "drained", request)
        return None

    def step_complete(self, store: Store, request: InvalidateRequest) -> None:
        """Send the completion."""
        store.send(("completion", self.number), request.itag)

    def matching(self, request: InvalidateRequest) -> tuple[int, ...]:
        """Pages of the request's PASID that it covers."""
        first = request.address >> PAGE_SHIFT
        last = (request.address + request.size - 1) >> PAGE_SHIFT
        return tuple(vpn for vpn in self.pages.get(request.pasid, ()) if first <= vpn <= last)

    def _drop(self, store: Store, pasid: int, vpn: int) -> None:
        store.put(atc.atc_cell(self.number, pasid, vpn), None)

    def _cancel(self, store: Store, thread: Thread, pages: tuple[int, ...]) -> None:
        cell = atc.walking_cell(self.number, thread)
        walking = store.get(cell)
        if isinstance(walking, Walking) and walking.vpn in pages:
            store.put(cell, walking._replace(state=CANCELLED))

    def _is_cancelled(self, store: Store, thread: Thread) -> bool:
        walking = store.get(atc.walking_cell(self.number, thread))
        return isinstance(walking, Walking) and walking.state == CANCELLED

    def _mark(
        self, store: Store, thread: Thread, pages: tuple[int, ...], request: InvalidateRequest
    ) -> None:
        cell = atc.issued_cell(self.number, thread)
        issued = store.get(cell)
        if isinstance(issued, Issued) and issued.vpn in pages:
            store.put(cell, issued._replace(drains=(*issued.drains, request.itag)))

    def _report(self, store: Store, state: str, request: InvalidateRequest) -> None:
        store.emit(
            Invalidation(
                state,
                self.config.name,
                request.itag,
                request.pasid,
                request.address,
                request.size,
            )
        )

    def _at(
        self, intent: Intent, name: str, step: Callable[..., R | Blocked], *arguments: object
    ) -> Awaitable[R]:
        return trap(name, step, *arguments, operation="device", location=intent.location)
