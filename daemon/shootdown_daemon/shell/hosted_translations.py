"""Translations for agents without shared memory: requests, answers, grants, invalidations.

A page that a device was answered is *granted* to it until its slot gets another instance: what has
been invalidated since may still be used, for that is what is judged. An invalidation goes to the
device when the IOMMU here has obeyed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shootdown_daemon.machine.hosted_iommu import Cell, Found, HostedIommus, Wanted, is_walking
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.live_run import UNDER_WAY, Bank, LiveRun
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.iommu_config import IommuConfig
from shootdown_engine.slot import Site
from shootdown_engine.store import deliver
from shootdown_engine.translation_cache import Cached, first_page, pfn_of
from shootdown_engine.walker import WalkFault
from shootdown_protocol.history import AnyRecord, Invalidation, Step
from shootdown_protocol.memory import LEVELS, PAGE_SHIFT
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.remote_messages import TranslationCompletion, TranslationRequest

NO_PAGE = 0
_GLOBAL = int(InvalidateFlag.GLOBAL)
_IOTLB_ONLY = int(InvalidateFlag.IOTLB_ONLY)
Report = Callable[[KernelSlot, str, int], None]
"""Records what a step has made; is given the slot, the task's name and when it began."""


class Held(NamedTuple):
    """An invalidation that walks hold up, for they may load what it is to take away."""

    request: InvalidateRequest
    walks: tuple[Cell, ...]


class HostedTranslations:
    """The IOMMUs of one run; devices are called by the kernel's numbers.

    ``complete`` is told of an invalidation that was for an IOTLB only, and is over.
    """

    def __init__(
        self,
        live: LiveRun,
        config: DaemonConfig,
        report: Report,
        complete: Callable[[int, int], None],
    ) -> None:
        """Grant nothing yet."""
        kernel = live.slots[0].kernel
        shape = IommuConfig(
            0, "", kernel.directory, iotlb=config.iotlb, walk_by_level=config.walk_by_level
        )
        self.live = live
        self.iommus = HostedIommus(live.program, kernel.memory, shape)
        self._report = report
        self._complete = complete
        self._granted: dict[int, dict[tuple[int, int], list[tuple[int, Cached]]]] = {}
        self._answers: list[tuple[int, TranslationCompletion]] = []
        self._unsupported: list[tuple[int, int]] = []
        self._without_domain: set[tuple[int, int, int]] = set()
        self._held: dict[int, deque[Held]] = {}
        self._has_functions = live.program.has_functions

    def park_servers(self, agents: frozenset[int]) -> None:
        """Let servers wait for the requests of these agents' devices."""
        live = self.live
        if not self.iommus.config.walk_by_level:
            return
        for kslot in live.slots:
            for device, agent in enumerate(live.serving(kslot.index)):
                if agent in agents:
                    number = live.device_number(agent, device)
                    for server in self.iommus.servers(kslot, number, live.program.devices[device]):
                        live.park(kslot, server)

    # Requests

    def request(self, device: int, asked: TranslationRequest, kslot: KernelSlot) -> None:
        """Begin a translation, which may be over at once."""
        live = self.live
        vpn = asked.address >> PAGE_SHIFT
        page = asked.pasid, vpn
        site = next((s for s in kslot.slot.sites if (s.pasid, s.vpn) == page), None)
        location = -1 if site is None else site.index
        wanted = Wanted(device, asked.tag, asked.pasid, asked.address, asked.write, location)
        is_going = live.bank_of(kslot.index).state in UNDER_WAY
        if is_going and self.iommus.config.walk_by_level:
            deliver(live.store, ("translate", kslot.index, device), wanted)
            live.runner.wake()
            live.flight.wake()
            return
        began = live.now()
        if is_going:  # what is warmed is not recorded
            live.store.emit(Step("device", "atc_miss", location, ""))
            live.store.emit(Step("device", "walk", location, ""))
        found = self.iommus.translate(live.store, wanted)
        self._report(kslot, self._name(device), began)
        self.found(wanted, found)

    def found(self, wanted: Wanted, found: Found) -> None:
        """Answer a request; a translation found is one that the device may use from now on."""
        agent, _ = self.live.agent_and_device(wanted.device)
        where = wanted.device, wanted.pasid, wanted.location
        self._without_domain.discard(where)
        if isinstance(found, WalkFault) and found.level > LEVELS and self._has_functions:
            self._without_domain.add(where)
            self._unsupported.append((agent, wanted.tag))
            return
        kslot = self.live.slot_with(wanted.pasid)
        vpn = wanted.va >> PAGE_SHIFT
        page, shift, write = NO_PAGE, PAGE_SHIFT, False
        if isinstance(found, Cached) and kslot is not None:
            page, shift, write = pfn_of(found, vpn), found.shift, found.writable
            granted = self._granted.setdefault(kslot.index, {})
            held = granted.setdefault((wanted.device, wanted.pasid), [])
            if (first_page(vpn, shift), found) not in held:
                held.append((first_page(vpn, shift), found))
        read = isinstance(found, Cached)
        self._answers.append((agent, TranslationCompletion(wanted.tag, page, shift, read, write)))

    def refuse(self, agent: int, tag: int) -> None:
        """Answer a request that the agent had no right to make."""
        completion = TranslationCompletion(tag, NO_PAGE, PAGE_SHIFT, read=False, write=False)
        self._answers.append((agent, completion))

    def take_answers(self) -> list[tuple[int, TranslationCompletion]]:
        """Answers since the last call, each with its agent."""
        answers, self._answers = self._answers, []
        return answers

    def take_unsupported(self) -> list[tuple[int, int]]:
        """Agent and tag of requests without a domain, since the last call."""
        told, self._unsupported = self._unsupported, []
        return told

    def was_unsupported(self, device: int, site: Site) -> bool:
        """Whether a device's last request for a location found no domain."""
        return (device, site.pasid, site.index) in self._without_domain

    def through(self, device: int, slot: int, site: Site, page: int) -> Cached | None:
        """The translation by which a device knows a page as a location's, the newest first."""
        granted = self._granted.get(slot, {}).get((device, site.pasid), [])
        for base, found in reversed(granted):
            if base == first_page(site.vpn, found.shift) and pfn_of(found, site.vpn) == page:
                return found
        return None

    def is_stale(self, site: Site, found: Cached) -> bool:
        """Whether the entry of a translation has changed since."""
        iommu = self.iommus.of(0)
        return iommu.is_stale(self.live.store, self.live.program, site.pasid, found)

    def forget(self, bank: Bank) -> None:
        """A bank's slots get new instances: nothing that was answered before holds."""
        for kslot in bank.slots:
            self._granted.pop(kslot.index, None)
            self.iommus.forget(self.live.store, kslot)

    # Invalidations

    def invalidate(self, device: int, request: InvalidateRequest) -> None:
        """Obey a request here; the device is told of it when that is done."""
        live = self.live
        kslot = live.slot_with(request.pasid)
        some = live.slots if request.flags & _GLOBAL else [kslot] if kslot else []
        walks = self.iommus.invalidate(live.store, device, request, some)
        self._held.setdefault(device, deque()).append(Held(request, walks))

    def holds(self, device: int, itag: int) -> bool:
        """Whether the device was not told of an invalidation yet."""
        return any(held.request.itag == itag for held in self._held.get(device, ()))

    def release(self) -> Iterator[tuple[int, InvalidateRequest]]:
        """Invalidations that devices are to be told of, in their order."""
        for device, held in self._held.items():
            while held and not any(is_walking(self.live.store, walk) for walk in held[0].walks):
                request = held.popleft().request
                if request.flags & _IOTLB_ONLY:
                    self._over(device, request)
                else:
                    yield device, request

    def _over(self, device: int, request: InvalidateRequest) -> None:
        """An IOTLB has obeyed: nobody else is to be told."""
        kslot = self.live.slot_with(request.pasid)
        if kslot is not None:
            began = self.live.now()
            for state in ("iotlb_applied", "iotlb_drained"):
                self.live.store.emit(self._state(state, device, request))
            self._report(kslot, self._name(device), began)
        self._complete(device, request.itag)

    def _state(self, state: str, device: int, request: InvalidateRequest) -> AnyRecord:
        return Invalidation(
            state,
            self._name(device),
            request.itag,
            request.pasid,
            request.address,
            request.size,
        )

    def _name(self, device: int) -> str:
        _, number = self.live.agent_and_device(device)
        return self.live.program.devices[number]
