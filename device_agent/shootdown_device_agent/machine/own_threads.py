"""Threads that a device class declares itself, which run beside the columns of a scenario.

A method marked with `device_thread` is a coroutine over `Io`: one runs in each instance, may begin
at any time, and what it does is recorded, judged and explored as a column's accesses are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import VALID, Cached, Walking
from shootdown_device_agent.machine.device import FAULTS_MAX, Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.column import tick
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import Request, trap
from shootdown_protocol.history import Kind
from shootdown_protocol.limits import VALUE_MAX

_VALUES: Final = range(VALUE_MAX + 1)
_MARK: Final = "_is_device_thread"
_known: Final[dict[type, tuple[str, ...]]] = {}
D = TypeVar("D", bound=Device)
Body = Callable[[D, "Io"], Coroutine[Request, Any, None]]


def device_thread(body: Body[D]) -> Body[D]:
    """Mark a method ``async def name(self, io: Io)`` as a thread of the device."""
    setattr(body, _MARK, True)
    return body


def own_threads(device: Device, slot: Slot) -> tuple[DeviceThread, ...]:
    """The threads that a device's class declares, in a slot."""
    program = slot.program
    first = len(program.columns) + len(program.speculation)
    names = _marked(type(device))
    return tuple(
        DeviceThread(slot, f"{device.config.name}.{name}", first + position, own=True)
        for position, name in enumerate(names)
    )


def _marked(kind: type[Device]) -> tuple[str, ...]:
    """Names of the methods that a class declares as threads; looked for once a class."""
    names = _known.get(kind)
    if names is None:
        marked = (name for name in dir(kind) if hasattr(getattr(kind, name), _MARK))
        names = _known[kind] = tuple(marked)
    return names


def own_task(device: Device, thread: DeviceThread) -> Task:
    """The task of a thread that the device's class declares."""
    body = getattr(device, thread.name.rpartition(".")[2])
    return Task(thread.name, partial(body, Io(device, thread)), owner=thread.slot)


class Io:
    """What a thread may do; locations are called by their names in the scenario.

    Every method is one or more steps between which anything else may happen, an invalidation for
    example. Between two awaits nothing of the shared state is known but what they have returned.
    """

    __slots__ = ("_device", "_names", "_thread")

    def __init__(self, device: Device, thread: DeviceThread) -> None:
        """Act for a thread of a device."""
        self._device = device
        self._thread = thread
        self._names = tuple(location.name for location in thread.slot.program.locations)

    @property
    def locations(self) -> tuple[str, ...]:
        """Names of all the scenario's locations."""
        return self._names

    async def load(self, location: str) -> int | None:
        """Load a word as a column does, page requests included; None when it was refused."""
        return await self._access(Intent(Kind.LOAD, self._index(location), 0, ""))

    async def store(self, location: str, value: int) -> bool:
        """Store a value, 0 to 1023, as a column does; False when it was refused.

        `ValueError`: a value that is not one of these.
        """
        if value not in _VALUES:
            message = f"store({location!r}, {value!r}): a value is 0 to {VALUE_MAX}"
            raise ValueError(message)
        stored = await self._access(Intent(Kind.STORE, self._index(location), value, ""))
        return stored is not None

    async def translate(self, location: str, *, write: bool = False) -> bool:
        """Ask the IOMMU, whatever is cached, and cache the answer; False when there is none."""
        device, thread = self._device, self._thread
        intent = Intent(Kind.STORE if write else Kind.LOAD, self._index(location), 0, "")
        if not await self._step("translation_request", _begin, device, thread, intent):
            return False
        answer = await device.translate(thread, intent, issue=False)
        return isinstance(answer, Cached)

    async def prefetch(self, location: str, *, write: bool = False) -> None:
        """Translate unless it is cached, and access nothing."""
        await self._device.prefetch(self._thread, self._index(location), write=write)

    async def pause(self) -> None:
        """Let others go first."""
        await self._step("pause", tick)

    async def _access(self, intent: Intent) -> int | None:
        device, thread = self._device, self._thread
        for _ in range(FAULTS_MAX):
            if await device.access(thread, intent):
                value: int | None = await self._step("", _take_value, device.number, thread)
                return value
        await device.give_up(thread, intent)
        return None

    def _step(self, name: str, step: Callable[..., Any], *arguments: object) -> Awaitable[Any]:
        return trap(name, step, *arguments, operation="device")

    def _index(self, location: str) -> int:
        if location not in self._names:
            message = f"no location {location!r} in this scenario; it has {', '.join(self._names)}"
            raise ValueError(message)
        return self._names.index(location)


def _begin(store: Store, device: Device, thread: DeviceThread, intent: Intent) -> bool:
    if thread.slot.functions and not device.ats_enabled(store, thread.slot):
        return False
    site = thread.slot.sites[intent.location]
    store.put(atc.walking_cell(device.number, thread.key), Walking(site.pasid, site.vpn, VALID))
    return True


def _take_value(store: Store, device: int, thread: DeviceThread) -> int | None:
    """What the access at hand has met, if it was made; it is then forgotten."""
    cell = atc.value_cell(device, thread.key)
    value = store.get(cell)
    store.put(cell, None)
    assert value is None or isinstance(value, int)
    return value
