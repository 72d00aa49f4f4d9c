"""Device columns, speculative prefetchers and the invalidation server: a device's tasks."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from functools import partial

from shootdown_device_agent.machine.atc import Cached
from shootdown_device_agent.machine.device import FAULTS_MAX, Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.column import await_column, end_column, sync_column, tick, wait_until
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.task import Stage, Task
from shootdown_engine.trap import Request, trap
from shootdown_protocol.history import Kind
from shootdown_protocol.program import Instruction, Op, Program, Speculation, When

PREFETCHER = "speculation"
"""Beginning of the names of prefetchers; their number follows."""
PAUSE = "pause"
"""Name of the step before which a prefetcher waits for a time of the agent's choosing."""


def device_threads(
    program: Program, slot: Slot, device: int
) -> tuple[tuple[DeviceThread, ...], tuple[DeviceThread, ...]]:
    """Threads of one of the program's devices in a slot: its columns, and its prefetchers."""
    columns = tuple(
        DeviceThread(slot, column.name, number)
        for number, column in enumerate(program.columns)
        if column.device == device
    )
    prefetchers = tuple(
        DeviceThread(slot, f"{PREFETCHER}{number}", len(program.columns) + number)
        for number, speculation in enumerate(program.speculation)
        if speculation.device == device
    )
    return columns, prefetchers


def column_task(device: Device, thread: DeviceThread, stage: int = 0) -> Task:
    """The task of one device column, from its beginning or from a later stage on."""
    ending = partial(end_column_of, device, thread)
    return Task(thread.name, *_stages(device, thread), ending, owner=thread.slot, stage=stage)


def speculation_task(device: Device, thread: DeviceThread, what: Speculation) -> Task:
    """A prefetcher that translates, unasked, once a round."""

    def body() -> Coroutine[Request, object, None]:
        return device.prefetch(thread, what.location, write=what.write_intent)

    return Task(thread.name, body, server=True, owner=thread.slot)


def invalidation_server(device: Device) -> Task:
    """The server that takes a device's invalidations, one a round and in their order."""
    return Task(f"{device.config.name}.invalidate", device.serve_invalidate, server=True)


async def end_column_of(device: Device, thread: DeviceThread) -> None:
    """Say that a column has ended, and let its device know."""
    await trap("end", end_column, thread.slot, thread.number)
    await device.stop(thread)


async def run_prefetches(device: Device, thread: DeviceThread, what: Speculation) -> None:
    """Translate unasked as often as the program says, pausing in between."""
    for _ in range(what.count):
        await trap(PAUSE, tick)
        await device.prefetch(thread, what.location, write=what.write_intent)


def _stages(device: Device, thread: DeviceThread) -> Iterator[Stage]:
    """A stage for each instruction and for what that waits for."""
    for line in thread.slot.program.columns[thread.number].instructions:
        if line.when is not When.NOW:
            yield partial(_wait, device, thread, line)
        yield partial(run_instruction, device, thread, line)


async def _wait(device: Device, thread: DeviceThread, line: Instruction) -> None:
    directory = device.config.directory
    await trap("when", wait_until, device.memory, directory, thread.slot, line)


async def run_instruction(
    device: Device, thread: DeviceThread, line: Instruction, faults: int = 0
) -> int | None:
    """Carry out one instruction; an access that is to be attempted again gives its faults."""
    slot = thread.slot
    if line.op is Op.AWAIT:
        await trap("await", await_column, slot, line.target)
    elif line.op is Op.SYNC:
        await trap("sync", sync_column, slot, line.target)
    elif line.op is Op.DELAY:
        for _ in range(line.amount):
            await trap("delay", tick)
    elif line.op is Op.PREFETCH:
        await device.prefetch(thread, line.location, write=line.write_intent)
    else:
        return await _access(device, thread, line, faults)
    return None


async def _access(
    device: Device, thread: DeviceThread, line: Instruction, faults: int
) -> int | None:
    """Attempt an access; gives the attempts that failed when it is to be attempted again."""
    kind = Kind.LOAD if line.op is Op.LOAD else Kind.STORE
    intent = Intent(kind, line.location, line.value, line.register)
    if await device.access(thread, intent):
        return None
    if faults + 1 < FAULTS_MAX:
        return faults + 1
    await device.give_up(thread, intent)
    return None


def warm(store: Store, device: Device, program: Program, slot: Slot, number: int) -> int:
    """Fill a device's caches as the program's initial state says; gives how many translations."""
    filled = 0
    for declared in program.warm:
        if declared.device == number:
            warm_one(store, device, slot, declared.location, write=declared.write_intent)
            filled += 1
    return filled


def warm_one(
    store: Store, device: Device, slot: Slot, location: int, *, write: bool = False
) -> None:
    """Fill a device's caches with the translation of one location, which must be mapped."""
    site = slot.sites[location]
    answer = device.step_walk(store, site, write)
    assert isinstance(answer, Cached), f"{site.name} cannot be warm: {answer}"
    device.insert(store, site.pasid, site.vpn, answer)
