"""The IOMMU that executes a slot's command queue: in order, one command a step.

An invalidation is sent to the devices and awaited by the next fence only, which writes its status
word when everything before it has completed. `command_driver` writes the queue.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Final

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.command_driver import (
    FENCED_BETWEEN,
    NOBODY,
    QueueDriver,
    commands_in,
    failed_cell,
    queue_cell,
    registers_cell,
    repeated_cell,
    status_cell,
    tag_of,
)
from shootdown_daemon.machine.iommu import Outstanding, State, Ticket, free_itag
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.ats_range import Block
from shootdown_protocol.commands import (
    Command,
    DeviceTlbInvalidate,
    ErrorRegisters,
    Fence,
    IotlbInvalidate,
    Words,
)
from shootdown_protocol.device_options import ON, option_of
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.messages import InvalidateFlag, PageResponseCode

_GLOBAL: Final = int(InvalidateFlag.GLOBAL)
_LEAF_ONLY: Final = int(InvalidateFlag.LEAF_ONLY)
_IOTLB_ONLY: Final = int(InvalidateFlag.IOTLB_ONLY)


ERROR_STEPS: Final = {
    "vtd": "qi_check_fault",
    "smmuv3": "arm_smmu_gerror_handler",
    "riscv": "riscv_iommu_cmdq_process",
}
"""Names of the kernel's functions that look after an error of a queue, by dialect."""


def _pending(slot: int) -> tuple[Hashable, ...]:
    return ("commands_pending", slot)


def command_servers(kslot: KernelSlot) -> list[Task]:
    """The IOMMU that executes a slot's queue, if there is one: one command a round."""
    driver = kslot.kernel.driver
    if not isinstance(driver, QueueDriver):
        return []
    iommu_of_slot = CommandQueue(driver, kslot)

    async def body() -> None:
        await trap("execute_command", iommu_of_slot.step_execute)

    return [Task("iommu", body, server=True, owner=kslot.slot)]


def error_servers(kslot: KernelSlot) -> list[Task]:
    """The driver's server that looks after a queue which has stopped, if there is one."""
    driver = kslot.kernel.driver
    if not isinstance(driver, QueueDriver):
        return []
    handles = driver.step_handle_error

    async def body() -> None:
        await trap(ERROR_STEPS[driver.dialect], handles, kslot.index)

    return [Task("iommu_error", body, server=True, owner=kslot.slot)]


class CommandQueue:
    """The IOMMU's side of one slot's queue."""

    def __init__(self, driver: QueueDriver, kslot: KernelSlot) -> None:
        """Read the driver's dialect."""
        self.driver = driver
        self.kslot = kslot
        self.slot = kslot.index
        options = kslot.kernel.program.options
        self.caches = ON in (option_of(options, "iotlb"), option_of(options, "walk_cache"))

    def step_execute(self, store: Store) -> Blocked | None:
        """Guard: there is a command, and it can be executed now; then it is, and is gone.

        A fence that fails stops the queue: VT-d has gone past it, the others point at it still.
        """
        held = commands_in(store, self.slot)
        if not held or self._is_stopped(store):
            return BLOCKED
        command: Command = self.driver.language.decode(held[0])
        if not self._execute(store, command):
            return BLOCKED
        failed = isinstance(command, Fence) and self._is_stopped(store)
        if not failed or self.driver.dialect not in FENCED_BETWEEN:
            store.put(queue_cell(self.slot), held[1:] or None)
        return None

    def _is_stopped(self, store: Store) -> bool:
        registers = store.get(registers_cell(self.slot))
        return registers is not None and self.driver.language.is_stopped(registers)

    def _execute(self, store: Store, command: Command) -> bool:
        if isinstance(command, Fence):
            return self._fence(store, command)
        if isinstance(command, IotlbInvalidate):
            return not self.caches or self._iotlb(store, command)
        if isinstance(command, DeviceTlbInvalidate):
            return self._device_tlb(store, command)
        answer = PageResponseCode(command.code).name.lower()
        store.send(("page_response", command.source, self.slot, command.prgi), answer)
        return True

    def _iotlb(self, store: Store, command: IotlbInvalidate) -> bool:
        """Tell the IOTLB in front of each device of the tag; False without a free ITag."""
        dialect = self.driver.dialect
        pasid = next(p for p in self.kslot.slot.pasids if tag_of(dialect, p) == command.tag)
        block = command.block or Block(0, 1 << 63)
        flags = _IOTLB_ONLY | (_LEAF_ONLY if command.leaf_only else 0)
        return self._send(store, iommu.members(store, pasid), pasid, block, flags)

    def _device_tlb(self, store: Store, command: DeviceTlbInvalidate) -> bool:
        """Send a device an invalidation request; VT-d waits for the IOTLB to be done."""
        if self.driver.dialect not in FENCED_BETWEEN and not self._all_done(store):
            return False
        flags = _GLOBAL if command.for_all_pasids else 0
        state = State.REPEATED if self._is_repeated(store, command) else State.QUEUED
        return self._send(store, (command.source,), command.pasid, command.block, flags, state)

    def _is_repeated(self, store: Store, command: Command) -> bool:
        """Whether the driver has written a command a second time, after a failure."""
        repeated = store.get(repeated_cell(self.slot))
        if repeated is None:
            return False
        assert isinstance(repeated, tuple)
        return self.driver.language.encode(command) in repeated

    def _send(
        self,
        store: Store,
        devices: tuple[int, ...],
        pasid: int,
        block: Block,
        flags: int,
        state: State = State.WAITED,
    ) -> bool:
        """Send a request to devices; False without a free ITag.

        Of those that this queue has sent, the ITags that are complete are free for it again: else
        queues could hold each other up, each with an ITag that no fence has given back.
        """
        done = [ticket for ticket in self._tickets(store) if self._is_done(store, ticket)]
        tickets = []
        for device in devices:
            own = next((ticket.itag for ticket in done if ticket.device == device), None)
            depth = ITAGS if state is State.REPEATED else self.driver.depth
            itag = free_itag(store, device, depth) if own is None else own
            if itag is None:
                return False
            tickets.append(Ticket(device, itag))
        left = [ticket for ticket in self._tickets(store) if ticket not in done]
        for device, itag in done:
            store.put(("itag", device, itag), None)
        for device, itag in tickets:
            request = InvalidateRequest(
                itag, pasid, block.address, block.size, self.kslot.slot.instance, flags
            )
            iommu.send_request(store, device, request, state)
        store.put(_pending(self.slot), (*left, *tickets))
        return True

    def _fence(self, store: Store, command: Fence) -> bool:
        """Write the status once all that was sent before has completed."""
        tickets = self._tickets(store)
        if iommu.wait_completion(store, tickets) is BLOCKED:
            return self._fail(store, command, tickets)
        if tickets:
            store.put(_pending(self.slot), None)
        if self._is_repeated(store, command):
            store.put(repeated_cell(self.slot), None)
        if command.address != NOBODY:
            store.put(status_cell(self.slot, command.address), command.status)
        return True

    def _fail(self, store: Store, fence: Fence, tickets: tuple[Ticket, ...]) -> bool:
        """Report that a device has not completed; False where none has timed out.

        VT-d does so at once, the others when all that is before the fence has come to an end. What
        has timed out is the IOMMU's no more, and its ITag rests until its own completion.
        """
        held = {ticket: iommu.outstanding(store, *ticket) for ticket in tickets}
        lost = [t for t, each in held.items() if each and each.state is State.TIMED_OUT]
        left = [t for t, each in held.items() if t not in lost and not self._is_complete(store, t)]
        if not lost or (left and self.driver.dialect in FENCED_BETWEEN):
            return False
        language = self.driver.language
        before = store.get(registers_cell(self.slot)) or ErrorRegisters()
        store.put(registers_cell(self.slot), language.time_out(before, lost[0].device))
        store.put(failed_cell(self.slot), (*self._in_ring(held), language.encode(fence)))
        for ticket in lost:
            each = held[ticket]
            assert each is not None
            store.put(("itag", *ticket), each.but(State.RETIRED))
        done = tuple(ticket for ticket in tickets if ticket not in lost and ticket not in left)
        iommu.wait_completion(store, done)
        store.put(_pending(self.slot), tuple(left) or None)
        return True

    def _in_ring(self, held: Mapping[Ticket, Outstanding | None]) -> Iterator[Words]:
        """The device TLB invalidations that lie before a fence, as they were written."""
        for ticket, each in held.items():
            if each is None or each.request.flags & _IOTLB_ONLY:
                continue
            asked = each.request
            block = Block(asked.address, asked.size)
            for_all = bool(asked.flags & _GLOBAL)
            command = DeviceTlbInvalidate(ticket.device, asked.pasid, block, for_all)
            yield self.driver.language.encode(command)

    def _all_done(self, store: Store) -> bool:
        """Whether the IOTLB's invalidations that were sent have completed."""
        return all(
            self._is_complete(store, ticket) or not self._is_for_iotlb(store, ticket)
            for ticket in self._tickets(store)
        )

    def _is_complete(self, store: Store, ticket: Ticket) -> bool:
        """Whether the request, or one that was sent again for it, has completed."""
        held = iommu.outstanding(store, *ticket)
        return held is not None and held.state in iommu.COMPLETED

    def _is_done(self, store: Store, ticket: Ticket) -> bool:
        held = iommu.outstanding(store, *ticket)
        return held is not None and held.state is State.DONE

    def _is_for_iotlb(self, store: Store, ticket: Ticket) -> bool:
        held = iommu.outstanding(store, *ticket)
        return held is not None and bool(held.request.flags & _IOTLB_ONLY)

    def _tickets(self, store: Store) -> tuple[Ticket, ...]:
        tickets = store.get(_pending(self.slot)) or ()
        assert isinstance(tickets, tuple)
        return tickets
