"""The ATS device: look up, translate, access.

`Device` is the right one. A device of one's own subclasses it and overrides what differs: each
method named ``step_...`` is one atomic step over the store, each ``async`` method a sequence of
steps. An access is a look-up; on a miss a translation (walk, then insert); then the access itself.
What it does with an invalidation is in `invalidated`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import NamedTuple, TypeVar

from shootdown_device_agent.machine import atc, function
from shootdown_device_agent.machine.atc import CANCELLED, VALID, Cached, Issued, Walking
from shootdown_device_agent.machine.invalidated import DeviceThread as DeviceThread  # noqa: PLC0414 - exported
from shootdown_device_agent.machine.invalidated import Invalidated
from shootdown_engine.access import Begun, Intent, Target, begin, take_effect
from shootdown_engine.channels import STOP_MARKER, PageRequest
from shootdown_engine.column import deny
from shootdown_engine.slot import Site, Slot, stopping_together
from shootdown_engine.store import Store, receive
from shootdown_engine.translation_cache import pfn_of
from shootdown_engine.trap import BLOCKED, Blocked, Request, ask, trap
from shootdown_engine.walker import TableAt, WalkFault
from shootdown_protocol.board import ATS_ENABLE
from shootdown_protocol.history import Fault, Kind, Step

R = TypeVar("R")

FAULTS_MAX = 16
"""Attempts at one access before the device gives it up (S5)."""
SUCCESS = "success"
FAILURE = "failure"
_LAST_PAGE = (1 << 52) - 1


class Found(NamedTuple):
    """A look-up's answer: what the access must obey, and the translation on a hit."""

    begun: Begun
    entry: Cached | None
    disabled: bool = False


_DISABLED = Found(Begun(0, 0), None, disabled=True)


class Device(Invalidated):
    """The right device. All state is cells of the store; the object holds facts only."""

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
        """Drop all that is cached for a slot while its columns go on: how far they are stays.

        So does what its register said, for that is nothing cached.
        """
        obeyed = function.function_cell(self.number, slot.index)
        cells = (self._off_cell(slot), self._ended_cell(slot), obeyed)
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

    def _at(
        self, intent: Intent, name: str, step: Callable[..., R | Blocked], *arguments: object
    ) -> Awaitable[R]:
        return ask(Request(name, step, arguments, "device", intent.location))
