"""Translations and warm reads a second, against the loads that they are made of.

The floor is a loop in the same language over the same words of a real shared segment: as many
loads by ``memoryview`` as the step makes, and nothing else.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from benchmarks.measure import Effort, Row, seconds
from benchmarks.scenarios import one_page

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.kernel import prepare
from shootdown_daemon.shell.physical import RunMemory
from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.columns import device_threads, warm
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_engine.access import Intent
from shootdown_engine.live_store import LiveStore
from shootdown_engine.runner import Runner
from shootdown_engine.task import Task
from shootdown_engine.walker import Translation, walk
from shootdown_protocol.history import Entry, Kind
from shootdown_protocol.layout import Layout
from shootdown_protocol.segment import Segment

REPEATS = 20_000
LAYOUT = Layout(1024, 4096, 513)
NS = 1e9


class Bench(NamedTuple):
    """A device in front of memory in which its page is mapped and cached."""

    store: LiveStore
    device: Device
    thread: DeviceThread


def rows(effort: Effort) -> Iterator[Row]:
    """A walk, and a warm read by the bare steps and as an agent makes it."""
    count = effort.of(REPEATS)
    works: dict[str, tuple[Callable[[Bench, int], None], Callable[[Bench], None]]] = {
        "a walk": (_walks, _walk),
        "a warm read, bare steps": (_bare_reads, _bare_read),
        "a warm read, as a task": (_task_reads, _bare_read),
    }
    with _bench() as bench:
        for name, (work, once) in works.items():
            loaded = _words_of(bench, once)
            ours, floor = [], []
            for _ in range(effort.rounds):
                ours.append(seconds(partial(work, bench, count)) / count * NS)
                floor.append(seconds(partial(_loads, bench, loaded, count)) / count * NS)
            rate = f"{NS / statistics.median(ours):,.0f} a second"
            title = f"{name} / its {len(loaded)} loads"
            yield Row("translations", title, ours, floor, "ns", note=rate)


def _loads(bench: Bench, loaded: list[int], count: int) -> None:
    words = bench.store.words
    for _ in range(count):
        for word in loaded:
            words[word]


def _walk(bench: Bench) -> None:
    site = bench.thread.slot.sites[0]
    device = bench.device
    answer = walk(bench.store, device.memory, device.config.directory, site.pasid, site.va)
    assert isinstance(answer, Translation)


def _walks(bench: Bench, count: int) -> None:
    for _ in range(count):
        _walk(bench)


READ = Intent(Kind.LOAD, 0, 0, "r0")


def _bare_read(bench: Bench) -> None:
    store, device, thread = bench
    found = device.step_lookup(store, thread, READ)
    assert found.entry is not None
    device.step_access(store, thread, READ, found.begun, found.entry, True)
    store.records.clear()
    store.changed.clear()


def _bare_reads(bench: Bench, count: int) -> None:
    for _ in range(count):
        _bare_read(bench)


def _task_reads(bench: Bench, count: int) -> None:
    """Reads as an agent makes them: by a coroutine's steps, stamped and handed to a log."""

    async def read() -> None:
        for _ in range(count):
            await bench.device.access(bench.thread, READ)

    runner = Runner(bench.store, time.monotonic_ns, _nothing, _no_log, lambda _: 0)
    task = Task("DEV0", read, owner=bench.thread.slot)
    while not task.ended:
        runner.step(task)


def _nothing() -> None:
    """Order nothing: loads need no fence."""


def _no_log(_entry: Entry) -> None:
    """Keep nothing."""


def _words_of(bench: Bench, work: Callable[[Bench], None]) -> list[int]:
    """The words that a piece of work loads, in their order."""
    loaded: list[int] = []
    words = bench.store.words

    def note(word: int) -> int:
        loaded.append(word)
        return words[word]

    bench.store.__dict__["load"] = note
    try:
        work(bench)
    finally:
        bench.store.__dict__["load"] = words.__getitem__
    return loaded


@contextmanager
def _bench() -> Iterator[Bench]:
    program = one_page(1)
    with Segment.create(f"shootdown-benchmark-{os.getpid()}", LAYOUT, 1) as segment:
        segment.unlink()
        store = LiveStore(segment.words)
        laid_out = RunMemory(segment, store, program, DISCIPLINES["none"], 1)
        kslot = laid_out.slots[0]
        prepare(store, kslot, 0)
        device = Device(DeviceConfig(0, "d0", laid_out.directory), laid_out.memory)
        columns, prefetchers = device_threads(program, kslot.slot, 0)
        device.bind(kslot.slot, columns + prefetchers)
        warm(store, device, program, kslot.slot, 0)
        site = kslot.slot.sites[0]
        assert atc.cached(store, atc.atc_cell(0, site.pasid, site.vpn)) is not None
        yield Bench(store, device, columns[0])
