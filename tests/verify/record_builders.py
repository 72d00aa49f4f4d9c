"""Builders of programs and records for the judge's tests: short forms with right defaults.

What a test does not say is as a right testbed would have recorded it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shootdown_protocol.board import READ, WRITE, pack_limit
from shootdown_protocol.history import (
    Access,
    AnyRecord,
    Ended,
    Invalidation,
    Kind,
    Place,
    Resident,
    Returned,
    Stamped,
    Step,
)
from shootdown_protocol.layout import PFN_BASE
from shootdown_protocol.program import Column, Instruction, Location, Op, Program, State

ALL = pack_limit(0, READ | WRITE)
FRAME = PFN_BASE + 3


def location(name: str, **changes: object) -> Location:
    """A COW page that holds 0."""
    number = ord(name[0])
    usual = Location(
        name=name,
        mm=0,
        va=number << 21,
        state=State.COW,
        value=0,
        table=number,
    )
    return msgspec.structs.replace(usual, **changes)


def column(name: str, *instructions: Instruction) -> Column:
    """A CPU's or a device's column, by its name."""
    number = int("".join(filter(str.isdigit, name)))
    is_device = name.startswith("DEV")
    return Column(name, 0 if is_device else -1, -1 if is_device else number, instructions)


def load(place: int, register: str = "") -> Instruction:
    """``load A r0``."""
    return Instruction(Op.LOAD, place, register=register)


def store(place: int, value: int) -> Instruction:
    """``store A 1``."""
    return Instruction(Op.STORE, place, value=value)


def run(operation: str, place: int) -> Instruction:
    """``wp_page_copy A``."""
    return Instruction(Op.RUN, place, operation=operation)


def program(*columns: Column, locations: Iterable[Location] = ()) -> Program:
    """A program over A and B, if it does not say otherwise."""
    places = tuple(locations) or (location("A"), location("B"))
    return Program("planted", "", ("mm",), ("d0",), places, columns, (), (), (), {})


def met(where: int = 0, order: int = 0, **changes: object) -> Access:
    """A load that met a version; its value is the version's number."""
    usual = Access(
        kind=Kind.LOAD,
        location=where,
        value=order & 0x3FF,
        order=order,
        met=-1,
        source=where,
        floor=0,
        limit=ALL,
        place=Place.OK,
        pfn=FRAME,
        hit=False,
        stale=False,
        register="",
    )
    return msgspec.structs.replace(usual, **changes)


def made(where: int = 0, order: int = 1, **changes: object) -> Access:
    """A store that made a version; its value is the version's number."""
    return met(where, order, kind=Kind.STORE, met=order - 1, **changes)


def resident(where: int = 0, order: int = 0, **changes: object) -> Resident:
    """What is mapped when all is quiet."""
    usual = Resident(
        location=where,
        pfn=FRAME,
        order=order,
        floor=0,
        final=True,
        source=where,
        value=order & 0x3FF,
    )
    return msgspec.structs.replace(usual, **changes)


class Recorder:
    """Stamps records one after the other, each at a moment of its own."""

    def __init__(self, instance: int = 0) -> None:
        """Begin when the instances before it are long over."""
        self.instance = instance
        self.now = 10_000 * instance
        self.records: list[Stamped] = []

    def add(self, task: str, *records: AnyRecord) -> None:
        """One step of a task with all that it reports."""
        self.now += 10
        for record in records:
            sequence = len(self.records)
            stamped = Stamped(self.now, self.now + 5, sequence, self.instance, task, record)
            self.records.append(stamped)

    def step(self, task: str, operation: str, name: str, place: int = 0, detail: str = "") -> None:
        """A step that reports only itself."""
        self.add(task, Step(operation, name, place, detail))

    def end(self, program: Program) -> list[Stamped]:
        """End every column and give all records."""
        for number, ending in enumerate(program.columns):
            self.add(ending.name, Ended(number))
        return self.records


def copy_on_write(recorder: Recorder, task: str, place: int) -> list[tuple[str, str]]:
    """Steps of ``wp_page_copy`` up to its unlock, without notification; those that are left."""
    for name in ("alloc_page", "copy_user_page", "invalidate_range_start"):
        recorder.step(task, "wp_page_copy", name, place)
    for name in ("pte_offset_map_lock", "ptep_clear_flush"):
        recorder.step(task, "wp_page_copy", name, place)
    entry = resident(place, pfn=FRAME + 8 + place, final=False)
    detail = f"frame {entry.pfn:#x}"
    recorder.add(task, entry, Step("wp_page_copy", "set_pte_at", place, detail))
    recorder.step(task, "wp_page_copy", "pte_unmap_unlock", place)
    return [("wp_page_copy", "invalidate_range_end"), ("wp_page_copy", "put_page")]


def invalidate(recorder: Recorder, task: str, place: int, program: Program, itag: int) -> None:
    """An invalidation of a location's page from its sending to its completion."""
    va = program.locations[place].va
    for who, state in ((task, "sent"), ("d0.invalidate", "applied"), ("d0.invalidate", "drained")):
        recorder.add(who, Invalidation(state, "d0", itag, 7, va, 4096))
    recorder.add("daemon", Invalidation("completed", "d0", itag, -1, 0, 0))


COW_TWO_PAGES = program(
    column("CPU0", run("wp_page_copy", 0)),
    column("CPU1", run("wp_page_copy", 1)),
    column("CPU2", store(0, 1)),
    column("CPU3", store(1, 1)),
    column("DEV0", load(0, "r0")),
    column("DEV2", load(1, "r1")),
)
"""The founding scenario: mm/mmu_notifier.rst, two pages, six actors."""


def deferred_two_pages(instance: int = 0) -> list[Stamped]:
    """The founding bug as it is recorded: CPU0 is preempted before ``invalidate_range_end``."""
    recorder = Recorder(instance)
    for device in ("DEV0", "DEV2"):
        recorder.step(device, "device", "atc_lookup", int(device == "DEV2"))
    left = copy_on_write(recorder, "CPU0", 0)
    left_of_b = copy_on_write(recorder, "CPU1", 1)
    recorder.add("CPU2", made(0, 1, pfn=FRAME + 8), Step("", "store", 0, ""))
    recorder.add("CPU3", made(1, 1, pfn=FRAME + 9), Step("", "store", 1, ""))
    recorder.step("CPU1", *left_of_b[0], 1)
    invalidate(recorder, "CPU1", 1, COW_TWO_PAGES, 0)
    recorder.step("CPU1", *left_of_b[1], 1)
    recorder.add("CPU1", Returned("wp_page_copy", 1, ALL))
    recorder.step("DEV2", "device", "atc_lookup", 1)
    recorder.step("DEV2", "device", "atc_miss", 1)
    recorder.step("DEV2", "device", "walk", 1)
    recorder.add("DEV2", met(1, 1, floor=2, pfn=FRAME + 9, register="r1"))
    recorder.step("DEV0", "device", "atc_lookup", 0)
    recorder.add("DEV0", met(0, 0, floor=2, hit=True, stale=True, register="r0"))
    recorder.step("CPU0", *left[0], 0)
    invalidate(recorder, "CPU0", 0, COW_TWO_PAGES, 0)
    recorder.step("CPU0", *left[1], 0)
    recorder.add("CPU0", Returned("wp_page_copy", 0, ALL))
    for place in (0, 1):
        recorder.add("daemon", resident(place, 1, pfn=FRAME + 8 + place, floor=2))
    return recorder.end(COW_TWO_PAGES)
