"""The IOMMU that executes a slot's command queue: in order, one command a step.

An invalidation is sent to the devices and awaited by the next fence only, which writes its status
word when everything before it has completed. `command_driver` writes the queue.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.command_driver import (
    FENCED_BETWEEN,
    NOBODY,
    QueueDriver,
    commands_in,
    queue_cell,
    status_cell,
    tag_of,
)
from shootdown_daemon.machine.iommu import State, Ticket, free_itag
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.ats_range import Block
from shootdown_protocol.commands import Command, DeviceTlbInvalidate, Fence, IotlbInvalidate
from shootdown_protocol.device_options import ON, option_of
from shootdown_protocol.messages import InvalidateFlag, PageResponseCode

_GLOBAL: Final = int(InvalidateFlag.GLOBAL)
_LEAF_ONLY: Final = int(InvalidateFlag.LEAF_ONLY)
_IOTLB_ONLY: Final = int(InvalidateFlag.IOTLB_ONLY)


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
        """Guard: there is a command, and it can be executed now; then it is, and is gone."""
        held = commands_in(store, self.slot)
        if not held:
            return BLOCKED
        command: Command = self.driver.language.decode(held[0])
        if not self._execute(store, command):
            return BLOCKED
        store.put(queue_cell(self.slot), held[1:] or None)
        return None

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
        return self._send(store, (command.source,), command.pasid, command.block, flags)

    def _send(
        self, store: Store, devices: tuple[int, ...], pasid: int, block: Block, flags: int
    ) -> bool:
        """Send a request to devices; False without a free ITag.

        Of those that this queue has sent, the ITags that are complete are free for it again: else
        queues could hold each other up, each with an ITag that no fence has given back.
        """
        done = [ticket for ticket in self._tickets(store) if self._is_done(store, ticket)]
        tickets = []
        for device in devices:
            own = next((ticket.itag for ticket in done if ticket.device == device), None)
            itag = free_itag(store, device, self.driver.depth) if own is None else own
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
            iommu.send_request(store, device, request, State.WAITED)
        store.put(_pending(self.slot), (*left, *tickets))
        return True

    def _fence(self, store: Store, command: Fence) -> bool:
        """Write the status once all that was sent before has completed."""
        tickets = self._tickets(store)
        if iommu.wait_completion(store, tickets) is BLOCKED:
            return False
        if tickets:
            store.put(_pending(self.slot), None)
        if command.address != NOBODY:
            store.put(status_cell(self.slot, command.address), command.status)
        return True

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
