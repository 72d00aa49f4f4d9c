"""What an agent's process leaves to the next one, and how that takes it up.

Which columns go on from which instruction, and what the device's caches hold. Accesses and
translations under way are lost and made anew; so are invalidations that wait, which the host sends
again. A step is whole or was not made, so nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final

from shootdown_device_agent.machine.columns import column_task, device_threads
from shootdown_engine.translation_cache import Cached
from shootdown_engine.walker import TableAt
from shootdown_protocol.board import F_STATUS
from shootdown_protocol.limits import KEPT_CELLS_MAX
from shootdown_protocol.restart_messages import KeptCell, Legacy, OpenRequest, Resumed

if TYPE_CHECKING:
    from shootdown_device_agent.shell.batches import AgentRun, Batch

CACHES: Final = ("atc", "iotlb", "walk_cache")
ORDERS: Final = ("atc_order", "iotlb_order")
COUNTS: Final = ("columns_ended",)
REGISTERS: Final = ("function",)
"""Cells that say how far a slot has come: they are the device's work, and no cache of it."""
KEY_NUMBERS: Final = 3
"""Numbers of one entry of a set's order: PASID, page, size."""

Cell = tuple[Hashable, ...]


def legacy_of(
    run: AgentRun,
    requests: tuple[OpenRequest, ...],
    counters: dict[str, int],
    *,
    keeps_caches: bool,
) -> Legacy:
    """What a run leaves; ``requests`` are those for pages that have not been answered."""
    batch = run.running or (run.announced[0] if run.announced else None)
    kinds: tuple[str, ...] = REGISTERS
    pasids = set[int]()
    if batch is not None:
        kinds = (*COUNTS, *REGISTERS, *(*CACHES, *ORDERS) * keeps_caches)
        pasids = {pasid for slot, _ in batch.slots for pasid in slot.pasids}
    cells = [
        kept for cell in run.store.cells if cell[0] in kinds for kept in _kept(run, cell, pasids)
    ]
    return Legacy(
        sequence=0,
        program_number=run.number,
        batch=0 if batch is None else batch.number,
        started=0 if batch is None else batch.next_slot,
        resumed=() if batch is None else tuple(_resumed(batch)),
        cells=tuple(cells[:KEPT_CELLS_MAX]),
        requests=requests,
        counters=counters,
    )


def take_up(run: AgentRun, batch: Batch, legacy: Legacy) -> None:
    """Go on with a batch where the last process was killed; its slots are bound, caches empty."""
    for kept in legacy.cells:
        if kept.kind not in REGISTERS:
            run.store.put((kept.kind, *kept.key), _value(kept))
    run.store.changed.clear()
    batch.next_slot = legacy.started
    left = {(each.slot, each.task): each.stage for each in legacy.resumed}
    for slot, devices in batch.slots[: batch.next_slot]:
        for number in devices:
            columns, _ = device_threads(run.program, slot, number)
            stages = {thread.name: left.get((slot.index, thread.name)) for thread in columns}
            batch.tasks += [
                column_task(run.devices[number], thread, stages[thread.name] or 0)
                for thread in columns
                if stages[thread.name] is not None
            ]
            batch.tasks += [
                task
                for task in run.tasks_of(slot, number)
                if task.name not in stages and (slot.index, task.name) in left
            ]


def take_up_registers(run: AgentRun, batch: Batch, legacy: Legacy) -> None:
    """Know what the registers of a batch's slots said, as far as that was obeyed."""
    slots = {slot.index for slot, _ in batch.slots}
    for kept in legacy.cells:
        if kept.kind in REGISTERS and kept.key[-1] in slots:
            run.store.put((kept.kind, *kept.key), _value(kept))
    run.store.changed.clear()


def _resumed(batch: Batch) -> Iterator[Resumed]:
    for task in batch.tasks:
        if not task.ended:
            assert task.owner is not None
            yield Resumed(task.owner.index, task.name, task.stage)


def _kept(run: AgentRun, cell: Cell, pasids: set[int]) -> Iterator[KeptCell]:
    kind, value = str(cell[0]), run.store.cells[cell]
    numbers = [number for number in cell[1:] if isinstance(number, int)]
    if kind in COUNTS:
        assert isinstance(value, tuple)
        yield KeptCell(kind, tuple(numbers), value)
    elif kind in REGISTERS:
        assert isinstance(value, int)
        device, slot = numbers
        status = run.slots[slot].functions[device] + F_STATUS
        if run.store.load(status) == value:  # Else the device has not come to the end of it.
            yield KeptCell(kind, tuple(numbers), (value,))
    elif kind in ORDERS:
        assert isinstance(value, tuple)
        held = tuple(number for key in value if key[0] in pasids for number in key)
        if held:
            yield KeptCell(kind, tuple(numbers), held)
    elif numbers[1] in pasids:
        assert isinstance(value, tuple)
        yield KeptCell(kind, tuple(numbers), tuple(map(int, value)))


def _value(kept: KeptCell) -> Hashable:
    numbers = kept.value
    if kept.kind in COUNTS:
        return numbers
    if kept.kind in REGISTERS:
        return numbers[0]
    if kept.kind in ORDERS:
        starts = range(0, len(numbers), KEY_NUMBERS)
        return tuple(numbers[start : start + KEY_NUMBERS] for start in starts)
    if kept.kind == "walk_cache":
        pfn, level, writable, *rest = numbers
        return TableAt(pfn, level, bool(writable), *rest)
    pfn, writable, *rest = numbers
    return Cached(pfn, bool(writable), *rest)
