"""IOMMUs that the daemon hosts, one for each device whose agent has no shared memory.

A translation is one step, as in an agent that has the memory; where walks go table by table it is a
server's, whose steps come between the kernel's. An invalidation of the IOTLB is over when no walk
that it has cancelled has a table load to make any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.iommu_config import IommuConfig
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import leaf_shifts
from shootdown_engine.store import Store, receive
from shootdown_engine.task import Task
from shootdown_engine.translation_agent import TranslationAgent, around
from shootdown_engine.translation_cache import Cached
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_engine.walker import TableAt, WalkFault
from shootdown_protocol.history import Step
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.program import Program

TRANSLATED: Final = "translated"
"""Channel of the answers that servers have found; its other end is the agent's link."""
Found = Cached | WalkFault
_GLOBAL = int(InvalidateFlag.GLOBAL)
_FOR_IOTLB = int(InvalidateFlag.IOTLB_FIRST | InvalidateFlag.IOTLB_ONLY)


class Wanted(NamedTuple):
    """A translation that a device has asked for; ``location`` -1 is no location's page."""

    device: int
    tag: int
    pasid: int
    va: int
    write: bool
    location: int


class Walking(NamedTuple):
    """A walk under way, table by table."""

    wanted: Wanted
    is_cancelled: bool


Cell = tuple[Hashable, ...]


class HostedIommus:
    """The IOMMUs of one run; ``config`` is what each of them is like, whatever its device."""

    def __init__(self, program: Program, memory: PhysicalMemory, config: IommuConfig) -> None:
        """Host none yet."""
        self.config = config.with_options(program.options)
        self._memory = memory
        self._shifts = leaf_shifts(program)
        self._iommus: dict[int, TranslationAgent] = {}
        devices = [column.device for column in program.columns]
        devices += [unasked.device for unasked in program.speculation]
        self._threads = [devices.count(device) for device in range(len(program.devices))]

    def of(self, device: int) -> TranslationAgent:
        """The IOMMU in front of a device."""
        iommu = self._iommus.get(device)
        if iommu is None:
            config = replace(self.config, device=device)
            iommu = self._iommus[device] = TranslationAgent(config, self._memory)
            iommu.iotlb.shifts = self._shifts
        return iommu

    def translate(self, store: Store, wanted: Wanted) -> Found:
        """Answer a request within one step."""
        iommu = self.of(wanted.device)
        return iommu.translate(store, wanted.pasid, wanted.va, write=wanted.write)

    def forget(self, store: Store, kslot: KernelSlot) -> None:
        """Drop all that is cached of a slot, as between two batches."""
        if self.config.iotlb or self.config.walk_cache:
            for iommu in self._iommus.values():
                for pasid, vpns in kslot.slot.vpns.items():
                    iommu.forget(store, pasid, vpns)

    # Walks table by table

    def servers(self, kslot: KernelSlot, device: int, name: str) -> list[Task]:
        """Servers of a device's walks in a slot; none where a walk is one step."""
        if not self.config.walk_by_level:
            return []
        return [
            Task(
                f"{name}.walk{number}",
                partial(self._serve, kslot.index, device, number),
                server=True,
                owner=kslot.slot,
            )
            for number in range(self._walks(device))
        ]

    def _walks(self, device: int) -> int:
        """How many walks of a device may be under way in a slot: as many as it has threads."""
        return max(1, self._threads[device % len(self._threads)])

    async def _serve(self, slot: int, device: int, number: int) -> None:
        """Take a request, load one entry after the other, answer."""
        cell = _walk_cell(slot, device, number)
        channel = ("translate", slot, device)
        wanted = await trap("take_translation_request", _take, channel, cell)
        iommu = self.of(wanted.device)
        ask = partial(iommu.begin_walk, write=wanted.write)
        found: Found | TableAt = await _at(wanted, "walk", ask, wanted.pasid, wanted.va)
        while isinstance(found, TableAt):
            step = partial(_load_table, iommu, wanted, cell)
            found = await _at(wanted, f"walk_level{found.level}", step, found)
        await trap("translation_completion", _answer, cell, wanted, found)

    # Invalidations

    def invalidate(
        self, store: Store, device: int, request: InvalidateRequest, slots: list[KernelSlot]
    ) -> tuple[Cell, ...]:
        """Drop what a request names, of these slots; gives the walks that are to end first."""
        config = self.config
        if not request.flags & _FOR_IOTLB or not (
            config.iotlb or config.walk_cache or config.walk_by_level
        ):
            return ()
        pages = {
            pasid: vpns
            for kslot in slots
            for pasid, vpns in kslot.slot.vpns.items()
            if pasid == request.pasid or request.flags & _GLOBAL
        }
        near = {pasid: around(request, vpns, self._shifts[-1]) for pasid, vpns in pages.items()}
        self.of(device).drop(store, request, pages, near)
        cancelled: list[Cell] = []
        if config.walk_by_level:
            for kslot in slots:
                cancelled += self._cancel(store, device, kslot.index, near)
        return tuple(cancelled)

    def _cancel(
        self, store: Store, device: int, slot: int, near: dict[int, tuple[int, ...]]
    ) -> list[Cell]:
        cells = []
        for number in range(self._walks(device)):
            cell = _walk_cell(slot, device, number)
            walking = store.get(cell)
            if not isinstance(walking, Walking):
                continue
            if walking.wanted.va >> PAGE_SHIFT in near.get(walking.wanted.pasid, ()):
                store.put(cell, walking._replace(is_cancelled=True))
                cells.append(cell)
        return cells


def is_walking(store: Store, cell: Cell) -> bool:
    """Whether a walk that was cancelled has not ended."""
    walking = store.get(cell)
    return isinstance(walking, Walking) and walking.is_cancelled


def _walk_cell(slot: int, device: int, number: int) -> Cell:
    return ("hosted_walk", slot, device, number)


def _take(store: Store, channel: Cell, cell: Cell) -> Wanted | Blocked:
    """Guard: a request has arrived."""
    wanted = receive(store, channel)
    if wanted is None:
        return BLOCKED
    assert isinstance(wanted, Wanted)
    store.put(cell, Walking(wanted, is_cancelled=False))
    store.emit(Step("device", "atc_miss", wanted.location, ""))
    return wanted


def _load_table(
    iommu: TranslationAgent, wanted: Wanted, cell: Cell, store: Store, at: TableAt
) -> Found | TableAt:
    is_cancelled = partial(is_walking, store, cell)
    return iommu.load_table(
        store, wanted.pasid, wanted.va, at, write=wanted.write, is_cancelled=is_cancelled
    )


def _answer(store: Store, cell: Cell, wanted: Wanted, found: Found) -> None:
    store.put(cell, None)
    store.send((TRANSLATED, wanted.device), (wanted, found))


def _at(wanted: Wanted, name: str, step: Callable[..., Any], *arguments: object) -> Awaitable[Any]:
    return trap(name, step, *arguments, operation="device", location=wanted.location)
