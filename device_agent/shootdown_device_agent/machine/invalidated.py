"""What a device holds of the page tables, and how it obeys an invalidation: drop, drain, say so.

Each method named ``step_...`` is one atomic step over the store, each ``async`` method a sequence
of steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Final

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import CANCELLED, Issued, Thread, Walking
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_engine.channels import InvalidateRequest, completion_of
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Slot, leaf_shifts
from shootdown_engine.store import Store, receive
from shootdown_engine.translation_agent import TranslationAgent, around, pages_of
from shootdown_engine.translation_cache import TranslationCache
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.history import Invalidation
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.messages import InvalidateFlag

Cell = tuple[Hashable, ...]

_GLOBAL = int(InvalidateFlag.GLOBAL)
_IOTLB_ONLY = int(InvalidateFlag.IOTLB_ONLY)
_FOR_IOTLB = int(InvalidateFlag.IOTLB_FIRST | InvalidateFlag.IOTLB_ONLY)
_SERVING = ("serve_invalidate", "step_take_invalidate", "invalidate", "complete")
"""Methods that say which steps an invalidation has, and in which order."""


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


class Invalidated:
    """A device's caches, and how it obeys. All state is cells of the store.

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
        self._completion: Final = ("completion", self.number)
        self.is_straight: Final = not config.vector and not any(
            getattr(type(self), name) is not getattr(Invalidated, name) for name in _SERVING
        )
        """Whether `serve_at_once` does what `serve_invalidate` does."""
        self.threads: dict[int, tuple[Thread, ...]] = {}
        self.pages: dict[int, tuple[int, ...]] = {}
        self._cells: dict[int, tuple[tuple[Thread, Cell, Cell], ...]] = {}
        """Each thread with the cells of its translation and its access, by PASID."""
        self.atc = TranslationCache(
            "atc", self.number, entries=config.atc_entries, replacement=config.replacement
        )
        self.iommu = TranslationAgent(config, memory)
        self.iotlb = self.iommu.iotlb
        self._iotlb_flags = _FOR_IOTLB if config.iotlb or config.walk_cache else 0
        """Flags of requests that the IOTLB must obey, if there is any."""

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

    async def serve_invalidate(self) -> None:
        """Take what has arrived, one request or all: drop, drain, complete."""
        take = self.step_take_all if self.config.vector else self.step_take_invalidate
        requests = await trap("", take)
        for request in requests:
            await self.invalidate(request)
        for request in requests:
            await trap("drain", self.step_drain, request)
        await self.complete(requests)

    def serve_at_once(self, store: Store, request: InvalidateRequest) -> bool:
        """`serve_invalidate` of one request where nobody else can go: its steps, without a task.

        False when an access must drain first: nothing was completed, and its server is to do it.
        """
        flags = request.flags
        if flags & self._iotlb_flags:
            self.step_iotlb_invalidate(store, request)
        if not flags & _IOTLB_ONLY:
            self.step_apply(store, request)
        if self.step_drain(store, request) is BLOCKED:
            return False
        for _ in range(self.config.completions):
            self.step_complete(store, (request,))
        return True

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
            address, pages = request.address, self.pages
            first, last = address >> PAGE_SHIFT, address + request.size - 1 >> PAGE_SHIFT
            for pasid in self.pasids(request):
                self.iotlb.drop(store, pasid, pages.get(pasid, ()), first, last)
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
                if issued is not None and self._drains(issued, request):
                    return BLOCKED
        self._report(store, "drained", request)
        return None

    def step_complete(self, store: Store, requests: tuple[InvalidateRequest, ...]) -> None:
        """Send one completion message, a bit of its vector for each request."""
        itags = 0
        for request in requests:
            itags |= 1 << request.itag
        self.send_completion(store, itags)

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Drop matching entries, cancel translations under way, mark what must drain."""
        address, pages = request.address, self.pages
        first, last = address >> PAGE_SHIFT, address + request.size - 1 >> PAGE_SHIFT
        for pasid in self.pasids(request):
            self.atc.drop(store, pasid, pages.get(pasid, ()), first, last)
            for thread, walking, issued in self._cells.get(pasid, ()):
                if store.get(walking) is not None:
                    self._cancel(store, thread, pasid, self.around(request, pasid))
                if store.get(issued) is not None:
                    self._mark(store, thread, pasid, self.around(request, pasid), request)

    def send_completion(self, store: Store, itags: int, count: int | None = None) -> None:
        """Send a completion; ``count`` is what it says that each ITag gets in all."""
        said = self.config.completions if count is None else count
        store.send(self._completion, completion_of((itags, said % 8)))

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
        return bool(request.flags & self._iotlb_flags)

    def _drains(self, issued: object, request: InvalidateRequest) -> bool:
        assert isinstance(issued, Issued)
        return request.itag in issued.drains

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
