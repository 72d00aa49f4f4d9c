"""The driver of an IOMMU with a command queue: what it writes, in each of three dialects.

One queue a slot; `command_queue` executes it. Commands lie in it as their dialect writes them. A
fence at the end of a notification writes a status word that the waiter waits for. Between IOTLB
and device TLB, SMMUv3 and RISC-V need a fence of their own; VT-d's IOMMU keeps that order itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final
from zlib import crc32

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.ats_range import Block, covering_block
from shootdown_protocol.commands import (
    Command,
    DeviceTlbInvalidate,
    Fence,
    IotlbInvalidate,
    PageGroupResponse,
    Words,
    riscv,
    smmuv3,
    vtd,
)
from shootdown_protocol.device_options import DEFAULTS, option_of
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.messages import PageResponseCode

if TYPE_CHECKING:
    from shootdown_daemon.machine.phases import InvalidateRange
    from shootdown_engine.channels import PageRequest
    from shootdown_engine.store import Store

DIALECTS: Final[dict[str, ModuleType]] = {"vtd": vtd, "smmuv3": smmuv3, "riscv": riscv}
FENCED_BETWEEN: Final = ("smmuv3", "riscv")
"""Dialects whose IOMMU may send a device TLB invalidation before the IOTLB's is done."""
COMMANDS_MAX: Final = 256
"""Commands of a queue; who has more to write waits."""
DONE: Final = 1
"""Status that a fence writes."""
NOBODY: Final = 0
"""Address of a fence that nobody waits for."""


def tag_of(dialect: str, pasid: int) -> int:
    """Tag of a PASID's IOTLB entries: SMMUv3's ASID has 16 bits, the others are PASIDs."""
    return pasid & smmuv3.ASID_MAX if dialect == "smmuv3" else pasid


def status_address(waiter: str) -> int:
    """Where a fence writes for a task: each has a word of its own."""
    return crc32(waiter.encode()) + 1 << 2


def queue_cell(slot: int) -> tuple[Hashable, ...]:
    """Cell of a slot's queue."""
    return ("commands", slot)


def status_cell(slot: int, address: int) -> tuple[Hashable, ...]:
    """Cell of the status word at an address."""
    return ("fence", slot, address)


class QueueDriver(IommuDriver):
    """Writes a notification into the command queue, as Linux's driver of the dialect does."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Read off a program's options."""
        super().__init__(options)
        self.dialect = option_of(options, "dialect")
        self.language = DIALECTS[self.dialect]

    def commands(self, store: Store, span: InvalidateRange) -> list[Command]:
        """What a notification consists of, the last fence apart."""
        block = covering_block(span.start, span.end)
        tag = tag_of(self.dialect, span.pasid)
        named: Block | None = self.language.iotlb_block(block)
        commands: list[Command] = [
            IotlbInvalidate(tag, named, span.leaf_only and named is not None)
        ]
        if self.dialect in FENCED_BETWEEN:
            commands.append(Fence(NOBODY, DONE))
        for_all = self.unit == "global"
        commands += (
            DeviceTlbInvalidate(device, span.pasid, block, for_all)
            for device in iommu.members(store, span.pasid)
        )
        return commands

    def step_send(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Write the commands and a fence that the waiter will wait for."""
        del instance
        slot, task = waiter
        return self.write(store, slot, span, status_address(task))

    def step_post(
        self, store: Store, span: InvalidateRange, instance: int, slot: int
    ) -> bool | Blocked:
        """Write the commands and a fence that nobody waits for."""
        del instance
        return self.write(store, slot, span, NOBODY)

    def step_send_iotlb(
        self, store: Store, pasid: int, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Write an invalidation of a whole address space and its fence."""
        del instance
        slot, task = waiter
        commands = [IotlbInvalidate(tag_of(self.dialect, pasid), None)]
        return self.append(store, slot, [*commands, Fence(status_address(task), DONE)])

    def write(self, store: Store, slot: int, span: InvalidateRange, address: int) -> bool | Blocked:
        """Write a notification with its last fence; False when there is nobody to tell."""
        if not iommu.members(store, span.pasid):
            return False
        commands = self.commands(store, self.widen(span))
        return self.append(store, slot, [*commands, Fence(address, DONE)])

    def append(self, store: Store, slot: int, commands: Sequence[Command]) -> bool | Blocked:
        """Write commands behind those that the queue holds. Guard: there is room for them."""
        held = commands_in(store, slot)
        if len(held) + len(commands) > COMMANDS_MAX:
            return BLOCKED
        store.put(queue_cell(slot), (*held, *map(self.language.encode, commands)))
        return True

    def step_handle_error(self, store: Store, slot: int) -> Blocked | None:
        """Guard: the queue has stopped at a fence, for a device did not complete. Let it go on.

        Whatever lies before the fence is written again, behind all the rest, and another fence for
        its waiter: ``qi_check_fault()`` and the restart of ``qi_submit_sync()``. SMMUv3's and
        RISC-V's heads still point at the fence that failed; it is made one that nobody waits for.
        """
        registers = store.get(registers_cell(slot))
        failed = store.get(failed_cell(slot))
        if registers is None or not self.language.is_stopped(registers):
            return BLOCKED
        assert isinstance(failed, tuple)
        store.put(registers_cell(slot), self.language.acknowledge(registers))
        store.put(failed_cell(slot), None)
        self.repeat(store, slot, failed)
        return None

    def repeat(self, store: Store, slot: int, failed: tuple[Words, ...]) -> None:
        """Write again what has failed; that it is the second time is noted with it."""
        store.put(repeated_cell(slot), failed)
        held = self.without_failed(store, slot)
        store.put(queue_cell(slot), (*held, *failed))

    def without_failed(self, store: Store, slot: int) -> tuple[Words, ...]:
        """The queue's commands, its head a fence for nobody where the failed one still is there."""
        held = commands_in(store, slot)
        if self.dialect in FENCED_BETWEEN:
            held = (self.language.encode(Fence(NOBODY, DONE)), *held[1:])
        return held

    def step_wait(self, store: Store, waiter: Waiter) -> Blocked | None:
        """Guard: the waiter's fence has written its status."""
        slot, task = waiter
        cell = status_cell(slot, status_address(task))
        if store.get(cell) is None:
            return BLOCKED
        store.put(cell, None)
        return None

    def respond(self, store: Store, slot: int, request: PageRequest, answer: str) -> None:
        """Write the response of a page request group."""
        code = int(PageResponseCode[answer.upper()])
        command = PageGroupResponse(request.device, request.pasid, request.prgi, code)
        store.put(queue_cell(slot), (*commands_in(store, slot), self.language.encode(command)))


def registers_cell(slot: int) -> tuple[Hashable, ...]:
    """Cell of what the IOMMU says of an error of a slot's queue; None: there was none."""
    return ("queue_error", slot)


def failed_cell(slot: int) -> tuple[Hashable, ...]:
    """Cell of the invalidations that lie in the ring before the fence that failed, and of that."""
    return ("queue_failed", slot)


def repeated_cell(slot: int) -> tuple[Hashable, ...]:
    """Cell of the commands that the driver has written a second time."""
    return ("queue_repeated", slot)


def commands_in(store: Store, slot: int) -> tuple[Words, ...]:
    """The commands that a slot's queue holds."""
    held = store.get(queue_cell(slot)) or ()
    assert isinstance(held, tuple)
    return held


def driver_for(kind: type[IommuDriver], options: Mapping[str, str]) -> IommuDriver:
    """The driver of a kernel: with a command queue where a program asks for a dialect."""
    direct = option_of(options, "dialect") == DEFAULTS["dialect"]
    if kind is IommuDriver and not direct:
        return QueueDriver(options)
    if issubclass(kind, QueueDriver) and direct:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"{kind.__name__} without a command queue",
            expected=f"a dialect: {', '.join(DIALECTS)}",
            where="option dialect",
        )
    return kind(options)
