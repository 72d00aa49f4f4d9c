"""The ATS device: look up, translate, access; and what it does with an invalidation.

`Device` is the right one. A device of one's own subclasses it and overrides what differs: each
method named ``step_...`` is one atomic step over the store, each ``async`` method a sequence of
steps. An access is a look-up; on a miss a translation (walk, then insert); then the access itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Final, NamedTuple, TypeVar

from shootdown_device_agent.machine import atc, function
from shootdown_device_agent.machine.atc import CANCELLED, VALID, Cached, Issued, Thread, Walking
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_engine.access import Begun, Intent, Target, begin, take_effect
from shootdown_engine.channels import STOP_MARKER, Completion, InvalidateRequest, PageRequest
from shootdown_engine.column import deny
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot, leaf_shifts, stopping_together
from shootdown_engine.store import Store, receive
from shootdown_engine.translation_agent import (
    TranslationAgent,
    around,
    pages_of,
)
from shootdown_engine.translation_cache import TranslationCache, pfn_of
from shootdown_engine.trap import BLOCKED, Blocked, Request, ask, trap
from shootdown_engine.walker import TableAt, WalkFault
from shootdown_protocol.board import ATS_ENABLE
from shootdown_protocol.history import Fault, Invalidation, Kind, Step
from shootdown_protocol.messages import InvalidateFlag

R = TypeVar("R")
Cell = tuple[Hashable, ...]

FAULTS_MAX = 16
"""Attempts at one access before the device gives it up (S5)."""
SUCCESS = "success"
FAILURE = "failure"
_LAST_PAGE = (1 << 52) - 1
_GLOBAL = int(InvalidateFlag.GLOBAL)
_IOTLB_ONLY = int(InvalidateFlag.IOTLB_ONLY)
_FOR_IOTLB = int(InvalidateFlag.IOTLB_FIRST | InvalidateFlag.IOTLB_ONLY)


class Found(NamedTuple):
    """A look-up's answer: what the access must obey, and the translation on a hit."""

    begun: Begun
    entry: Cached | None
    disabled: bool = False


_DISABLED = Found(Begun(0, 0), None, disabled=True)


@dataclass(frozen=True)
class DeviceThread:
    """A thread at work in a slot; ``number`` names its requests, ``own``: its class declares it."""

    slot: Slot
    name: str
    number: int
    own: bool = False

    @cached_property
    def key(self) -> Thread:
        """What cells call it."""
        return self.slot.index, self.name


class Device:
    """The right device. All state is cells of the store; the object holds facts only.

    ``SETTINGS`` overrides fields of the `DeviceConfig` that a device is given: what the class has
    by nature, whatever a testbed or a scenario says.
    """

    SETTINGS: ClassVar[Mapping[str, bool | int | str]] = {}

    def __init__(self, config: DeviceConfig, memory: PhysicalMemory) -> None:
        """Stand in front of a memory with no PASID bound."""
        config = replace(config, **self.SETTINGS) if self.SETTINGS else config  # type: ignore[arg-type]
        self.config = config
        self.memory = memory
        self.number = config.device
        self._arrived: Final = ("channel", "invalidate", self.number)
        """The receiving end of the channel that invalidation requests come by."""
        self.threads: dict[int, tuple[Thread, ...]] = {}
        self.pages: dict[int, tuple[int, ...]] = {}
        self._cells: dict[int, tuple[tuple[Thread, Cell, Cell], ...]] = {}
        """Each thread with the cells of its translation and its access, by PASID."""
        self.atc = TranslationCache(
            "atc", self.number, entries=config.atc_entries, replacement=config.replacement
        )
        self.iommu = TranslationAgent(config, memory)
        self.iotlb = self.iommu.iotlb

    def bind(self, slot: Slot, threads: tuple[DeviceThread, ...]) -> None:
        """Take a slot's PASIDs: their pages may be cached, by these threads."""
        self.atc.shifts = self.iotlb.shifts = leaf_shifts(slot.program)
        keys = tuple(thread.key for thread in threads)
        number = self.number
        cells = tuple(
            (key, atc.walking_cell(number, key), atc.issued_cell(number, key)) for key in keys
        )
        for pasid, vpns in slot.vpns.items():
            self.threads[pasid] = keys
            self.pages[pasid] = vpns
            self._cells[pasid] = cells

    def reset(self, store: Store, slot: Slot) -> None:
        """Drop all that is cached for a slot, as between two batches; nothing may be under way."""
        for pasid, vpns in slot.vpns.items():
            self.atc.drop(store, pasid, vpns, 0, _LAST_PAGE)
            self.iommu.forget(store, pasid, vpns)
        store.put(self._off_cell(slot), None)
        if self.config.stop_markers:
            store.put(self._ended_cell(slot), None)
        if slot.functions:
            store.put(function.function_cell(self.number, slot.index), None)

    def function_reset(self, store: Store, slot: Slot) -> None:
        """Function-level reset: what is cached for the slot is gone, and so are waiting requests.

        The IOTLB is not the device's: what those were to drop there is dropped.
        """
        for request in function.lose_requests(store, self, slot):
            if self._is_for_iotlb(request):
                self.step_iotlb_invalidate(store, request)
        for pasid, vpns in slot.vpns.items():
            self.atc.drop(store, pasid, vpns, 0, _LAST_PAGE)
            for thread in self.threads.get(pasid, ()):
                self._cancel(store, thread, pasid, vpns)

    def ats_enabled(self, store: Store, slot: Slot) -> bool:
        """Whether translations may be asked for and used in a slot."""
        return bool(function.obeyed(store, self.number, slot) & ATS_ENABLE)

    def forget(self, store: Store, slot: Slot) -> None:
        """Drop all that is cached for a slot while its columns go on: how far they are stays."""
        cells = (self._off_cell(slot), self._ended_cell(slot))
        kept = [(cell, store.get(cell)) for cell in cells]
        self.reset(store, slot)
        for cell, value in kept:
            store.put(cell, value)

    # Accesses

    async def access(self, thread: DeviceThread, intent: Intent) -> bool:
        """Attempt a load or store: look up, translate on a miss, access.

        False: a translation was cancelled or its fault resolved, and the access is to be attempted
        again.
        """
        found = await self._at(intent, "atc_lookup", self.step_lookup, thread, intent)
        if found.disabled:
            await self._at(intent, "", function.step_refuse, thread.slot, intent, function.DISABLED)
            return True
        entry = found.entry
        if entry is None:
            answer = await self.translate(thread, intent)
            if answer is None:
                return False
            if isinstance(answer, WalkFault):
                return not await self.fault(thread, intent, answer)
            entry = answer
        hit = found.entry is not None
        await self._at(intent, "access", self.step_access, thread, intent, found.begun, entry, hit)
        return True

    async def fault(self, thread: DeviceThread, intent: Intent, answer: WalkFault) -> bool:
        """No translation: ask for the page. True: it may help to attempt the access again."""
        slot = thread.slot
        if function.is_unsupported(slot, answer):
            await self._at(intent, "", function.step_refuse, slot, intent, function.UNSUPPORTED)
            return False
        if await self.page_request(thread, intent):
            return True
        await self._at(intent, "", deny, slot, intent, "invalid request")
        return False

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
        """Walk, then insert and ``issue``; None when an invalidation cancelled the translation."""
        answer = await self.walk(thread, intent)
        return await self._at(intent, "atc_insert", self.step_insert, thread, intent, answer, issue)

    async def walk(self, thread: DeviceThread, intent: Intent) -> Cached | WalkFault:
        """Ask the IOMMU: one step, or one for each table when walking by level."""
        site = thread.slot.sites[intent.location]
        write = intent.kind is Kind.STORE
        if not self.config.walk_by_level:
            return await self._at(intent, "walk", self.step_walk, site, write)
        found: Cached | WalkFault | TableAt = await self._at(
            intent, "walk", self.step_begin_walk, site, write
        )
        while isinstance(found, TableAt):
            name = f"walk_level{found.level}"
            found = await self._at(intent, name, self.step_walk_level, thread, site, found, write)
        return found

    async def page_request(self, thread: DeviceThread, intent: Intent) -> bool:
        """Ask for the page and wait for the one response; False: it can never succeed."""
        asked = 1
        for location in self._neighbours(thread, intent):
            name = "page_request_more"
            if not await self._at(intent, name, self.step_request_more, thread, intent, location):
                break
            asked += 1
        name = "page_request"
        if await self._at(intent, name, self.step_page_request, thread, intent) is False:
            return False
        answer = await self._at(intent, "page_response", self.step_response, thread, intent, asked)
        return answer == SUCCESS

    def _neighbours(self, thread: DeviceThread, intent: Intent) -> tuple[int, ...]:
        """Other locations of the same page-table page: what a group of requests takes along."""
        if not self.config.page_groups:
            return ()
        places = thread.slot.program.locations
        table = places[intent.location].table
        return tuple(
            index
            for index, place in enumerate(places)
            if place.table == table and index != intent.location
        )

    async def stop(self, thread: DeviceThread) -> None:
        """A column has come to its end; after a slot's last one no page request follows."""
        if self.config.stop_markers:
            await trap("stop_marker", self.step_stop, thread)

    def step_function(self, store: Store, slot: Slot) -> bool | Blocked:
        """Obey the slot's control register: see `function.step_obey`."""
        return function.step_obey(store, self, slot)

    # Steps of an access

    def step_lookup(self, store: Store, thread: DeviceThread, intent: Intent) -> Found:
        """Begin an access: a hit issues it, a miss begins a translation."""
        if thread.slot.functions and not self.ats_enabled(store, thread.slot):
            return _DISABLED
        site = thread.slot.sites[intent.location]
        begun = begin(store, site)
        entry = self.atc.look_up(store, site.pasid, site.vpn)
        if entry is not None and (entry.writable or intent.kind is Kind.LOAD):
            self._issue(store, thread, site)
            return Found(begun, entry)
        self._begin_walk(store, thread, site)
        store.emit(Step("device", "atc_miss", site.index, ""))
        return Found(begun, None)

    def step_prefetch(self, store: Store, thread: DeviceThread, intent: Intent) -> bool:
        """Begin a prefetch; True when nothing is to be, or may be, asked for."""
        if thread.slot.functions and not self.ats_enabled(store, thread.slot):
            return True
        site = thread.slot.sites[intent.location]
        entry = self.atc.look_up(store, site.pasid, site.vpn)
        if entry is not None and (entry.writable or intent.kind is Kind.LOAD):
            return True
        self._begin_walk(store, thread, site)
        return False

    def step_walk(self, store: Store, site: Site, write: bool = False) -> Cached | WalkFault:
        """Translate at the IOMMU, for an access that writes or not."""
        return self.iommu.translate(store, site.pasid, site.va, write=write)

    def step_begin_walk(
        self, store: Store, site: Site, write: bool
    ) -> Cached | WalkFault | TableAt:
        """Ask the IOTLB, then the walk cache, then the PASID table: where the walk goes on."""
        return self.iommu.begin_walk(store, site.pasid, site.va, write=write)

    def step_walk_level(
        self, store: Store, thread: DeviceThread, site: Site, at: TableAt, write: bool = False
    ) -> Cached | WalkFault | TableAt:
        """Make one load of a walk; what it finds is kept unless an invalidation came between."""
        is_cancelled = partial(self._is_cancelled, store, thread.key)
        return self.iommu.load_table(
            store, site.pasid, site.va, at, write=write, is_cancelled=is_cancelled
        )

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
        stale = hit and self.config.watch_stale and self._is_stale(store, thread, intent, entry)
        pfn = pfn_of(entry, thread.slot.sites[intent.location].vpn)
        target = Target(pfn, entry.generation, hit, stale)
        value = take_effect(store, self.memory, thread.slot, intent, begun, target)
        store.put(atc.issued_cell(self.number, thread.key), None)
        if thread.own:
            store.put(atc.value_cell(self.number, thread.key), value)
        return value

    def _is_stale(self, store: Store, thread: DeviceThread, intent: Intent, entry: Cached) -> bool:
        """Whether an entry on the way has changed since; the PASID's too, where it may go."""
        pasid = thread.slot.sites[intent.location].pasid
        return self.iommu.is_stale(store, thread.slot.program, pasid, entry)

    def step_request_more(
        self, store: Store, thread: DeviceThread, intent: Intent, location: int
    ) -> bool:
        """Send a request of a group that goes on; False when the allocation allows no more.

        Room is left for the request that closes the group.
        """
        limit = self.config.page_requests
        if limit and self._requests(store) + 2 > limit:
            return False
        self._send_request(store, thread, intent, location, last=False)
        return True

    def step_page_request(
        self, store: Store, thread: DeviceThread, intent: Intent
    ) -> bool | Blocked | None:
        """Send the request that closes the group. Guard: the allocation allows one more.

        False: page requests are off, and nothing was sent.
        """
        if store.get(self._off_cell(thread.slot)) is not None:
            return False
        limit = self.config.page_requests
        if limit and self._requests(store) >= limit:
            return BLOCKED
        self._send_request(store, thread, intent, intent.location, last=True)
        return None

    def step_response(
        self, store: Store, thread: DeviceThread, intent: Intent, asked: int = 1
    ) -> str | Blocked:
        """Guard: the response of the group, of so many requests, has arrived."""
        channel = ("page_response", self.number, thread.slot.index, thread.number)
        answer = receive(store, channel)
        if answer is None:
            return BLOCKED
        if self.config.page_requests:
            store.put(("page_requests", self.number), self._requests(store) - asked or None)
        if answer == FAILURE:
            store.put(self._off_cell(thread.slot), True)
        write = intent.kind is Kind.STORE
        store.emit(Fault(intent.location, write, str(answer), exhausted=False))
        return str(answer)

    def step_stop(self, store: Store, thread: DeviceThread) -> None:
        """Note that a column has ended; behind the last, send a stop marker a PASID."""
        cell = self._ended_cell(thread.slot)
        ended = store.get(cell) or ()
        assert isinstance(ended, tuple)
        ended = tuple(sorted((*ended, thread.number)))
        store.put(cell, ended)
        if stopping_together(thread.slot.program, thread.number).issubset(ended):
            self.send_stop_markers(store, thread.slot)

    def send_stop_markers(self, store: Store, slot: Slot) -> None:
        """Say that every page request of the slot's PASIDs has been sent."""
        for pasid in slot.vpns:
            marker = PageRequest(self.number, pasid, STOP_MARKER, False, 0)
            store.send(("page_request", slot.index), marker)

    def _off_cell(self, slot: Slot) -> tuple[Hashable, ...]:
        """Set when a response was a failure: no page is asked for until the next reset."""
        return ("page_requests_off", self.number, slot.index)

    def _ended_cell(self, slot: Slot) -> tuple[Hashable, ...]:
        return ("columns_ended", self.number, slot.index)

    def step_give_up(self, store: Store, _thread: DeviceThread, intent: Intent) -> None:
        """Report an access whose faults were answered and never resolved."""
        write = intent.kind is Kind.STORE
        store.emit(Fault(intent.location, write, "retried", exhausted=True))

    def insert(self, store: Store, pasid: int, vpn: int, entry: Cached) -> None:
        """Put a translation into the ATC; a full set of it gives one up."""
        self.atc.insert(store, pasid, vpn, entry)

    def _requests(self, store: Store) -> int:
        """Page requests outstanding; counted only where there is a limit."""
        count = store.get(("page_requests", self.number)) or 0
        assert isinstance(count, int)
        return count

    def _send_request(
        self, store: Store, thread: DeviceThread, intent: Intent, location: int, *, last: bool
    ) -> None:
        site = thread.slot.sites[location]
        write = intent.kind is Kind.STORE and location == intent.location
        request = PageRequest(self.number, site.pasid, location, write, thread.number, last)
        if self.config.page_requests:
            store.put(("page_requests", self.number), self._requests(store) + 1)
        store.send(("page_request", thread.slot.index), request)

    def _issue(self, store: Store, thread: DeviceThread, site: Site) -> None:
        cell = atc.issued_cell(self.number, thread.key)
        store.put(cell, Issued(site.pasid, site.vpn, ()))

    def _begin_walk(self, store: Store, thread: DeviceThread, site: Site) -> None:
        cell = atc.walking_cell(self.number, thread.key)
        store.put(cell, Walking(site.pasid, site.vpn, VALID))

    # Invalidations

    async def serve_invalidate(self) -> None:
        """Take what has arrived, one request or all: drop, drain, complete."""
        take = self.step_take_all if self.config.vector else self.step_take_invalidate
        requests = await trap("", take)
        for request in requests:
            await self.invalidate(request)
        for request in requests:
            await trap("drain", self.step_drain, request)
        await self.complete(requests)

    async def invalidate(self, request: InvalidateRequest) -> None:
        """Drop what a request names: from the IOTLB, then from the ATC."""
        if self._is_for_iotlb(request):
            await trap("iotlb_invalidate", self.step_iotlb_invalidate, request)
        if not request.flags & _IOTLB_ONLY:
            await trap("atc_invalidate", self.step_apply, request)

    async def complete(self, requests: tuple[InvalidateRequest, ...]) -> None:
        """Send the completions: as many messages as the device has traffic classes."""
        for _ in range(self.config.completions):
            await trap("invalidate_completion", self.step_complete, requests)

    def step_take_invalidate(self, store: Store) -> tuple[InvalidateRequest, ...] | Blocked:
        """Guard: an invalidation request has arrived."""
        queue = store.get(self._arrived)
        if not queue:
            return BLOCKED
        assert isinstance(queue, tuple)
        store.put(self._arrived, queue[1:] or None)
        return queue[:1]

    def step_take_all(self, store: Store) -> tuple[InvalidateRequest, ...] | Blocked:
        """Guard: an invalidation request has arrived; take all that have."""
        taken = []
        while (message := receive(store, ("invalidate", self.number))) is not None:
            assert isinstance(message, InvalidateRequest)
            taken.append(message)
        return tuple(taken) or BLOCKED

    def step_iotlb_invalidate(self, store: Store, request: InvalidateRequest) -> None:
        """Drop the IOTLB's matching entries, and the tables that its walker remembers.

        A walk under way, made in several steps, is not to fill the IOTLB any more.
        """
        config = self.config
        if not (config.walk_cache or config.walk_by_level):
            first, last = pages_of(request)
            for pasid in self.pasids(request):
                self.iotlb.drop(store, pasid, self.pages.get(pasid, ()), first, last)
            return
        near = {pasid: self.around(request, pasid) for pasid in self.pasids(request)}
        pages = {pasid: self.pages.get(pasid, ()) for pasid in near}
        self.iommu.drop(store, request, pages, near)
        if config.walk_by_level:
            for pasid, vpns in near.items():
                for thread in self.threads.get(pasid, ()):
                    self._cancel(store, thread, pasid, vpns)

    def step_apply(self, store: Store, request: InvalidateRequest) -> None:
        """Obey a request within one step, and say so."""
        self.obey(store, request)
        self._report(store, "applied", request)

    def step_drain(self, store: Store, request: InvalidateRequest) -> Blocked | None:
        """Guard: every access issued through a dropped entry has finished.

        So have the table loads of cancelled walks; a walk parked on a page request has none.
        """
        by_level = self.config.walk_by_level
        for pasid in self.pasids(request):
            for thread, _, cell in self._cells.get(pasid, ()):
                if by_level and self._is_cancelled(store, thread):
                    return BLOCKED
                issued = store.get(cell)
                if isinstance(issued, Issued) and request.itag in issued.drains:
                    return BLOCKED
        self._report(store, "drained", request)
        return None

    def step_complete(self, store: Store, requests: tuple[InvalidateRequest, ...]) -> None:
        """Send one completion message, a bit of its vector for each request."""
        self.send_completion(store, sum([1 << request.itag for request in requests]))

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Drop matching entries, cancel translations under way, mark what must drain."""
        first, last = pages_of(request)
        for pasid in self.pasids(request):
            self.atc.drop(store, pasid, self.pages.get(pasid, ()), first, last)
            pages = self.around(request, pasid)
            for thread, walking, issued in self._cells.get(pasid, ()):
                if store.get(walking) is not None:
                    self._cancel(store, thread, pasid, pages)
                if store.get(issued) is not None:
                    self._mark(store, thread, pasid, pages, request)

    def send_completion(self, store: Store, itags: int, count: int | None = None) -> None:
        """Send a completion; ``count`` is what it says that each ITag gets in all."""
        said = self.config.completions if count is None else count
        store.send(("completion", self.number), Completion(itags, said % 8))

    def pasids(self, request: InvalidateRequest) -> tuple[int, ...]:
        """PASIDs that a request is about: its own, or with the global bit all that are bound."""
        return tuple(self.pages) if request.flags & _GLOBAL else (request.pasid,)

    def matching(self, request: InvalidateRequest) -> tuple[int, ...]:
        """Pages of the request's PASID that it covers."""
        first, last = pages_of(request)
        return tuple(vpn for vpn in self.pages.get(request.pasid, ()) if first <= vpn <= last)

    def around(self, request: InvalidateRequest, pasid: int) -> tuple[int, ...]:
        """Pages of a PASID that a request covers, or that a larger page joins to one of them."""
        return around(request, self.pages.get(pasid, ()), self.atc.shifts[-1])

    def _is_for_iotlb(self, request: InvalidateRequest) -> bool:
        config = self.config
        return bool((config.iotlb or config.walk_cache) and request.flags & _FOR_IOTLB)

    def _cancel(self, store: Store, thread: Thread, pasid: int, pages: tuple[int, ...]) -> None:
        cell = atc.walking_cell(self.number, thread)
        walking = store.get(cell)
        if isinstance(walking, Walking) and walking.pasid == pasid and walking.vpn in pages:
            store.put(cell, walking._replace(state=CANCELLED))

    def _is_cancelled(self, store: Store, thread: Thread) -> bool:
        walking = store.get(atc.walking_cell(self.number, thread))
        return isinstance(walking, Walking) and walking.state == CANCELLED

    def _mark(
        self,
        store: Store,
        thread: Thread,
        pasid: int,
        pages: tuple[int, ...],
        request: InvalidateRequest,
    ) -> None:
        cell = atc.issued_cell(self.number, thread)
        issued = store.get(cell)
        if isinstance(issued, Issued) and issued.pasid == pasid and issued.vpn in pages:
            store.put(cell, issued._replace(drains=(*issued.drains, request.itag)))

    def _report(self, store: Store, state: str, request: InvalidateRequest) -> None:
        said = f"iotlb_{state}" if request.flags & _IOTLB_ONLY else state
        itag, pasid, address, size, _, _ = request
        store.emit(Invalidation(said, self.config.name, itag, pasid, address, size))

    def _at(
        self, intent: Intent, name: str, step: Callable[..., R | Blocked], *arguments: object
    ) -> Awaitable[R]:
        return ask(Request(name, step, arguments, "device", intent.location))
