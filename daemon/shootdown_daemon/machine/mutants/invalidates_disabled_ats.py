"""A driver that invalidates by a list that it has read before a device on it was detached."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu import Outstanding, State, Ticket
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.attach import (
    IOMMU_DETACH_DEVICE,
    disable_ats,
    wait_for_pending_transaction,
)
from shootdown_daemon.machine.operations.sva import cache_tag_unassign, clear_entry
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked
from shootdown_protocol.ats_range import covering_block
from shootdown_protocol.board import ATS_ENABLE, F_CONTROL


class WalksOldList(IommuDriver):
    """Sends to whom it has found; a device whose ATS is disabled meanwhile lets it pass by."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Walk the list, send, wait: nobody keeps the list, or ATS, as it was."""
        waiter = (cpu.kslot.index, cpu.task)
        devices = await cpu.step("invs_of_domain", iommu.members, span.pasid)
        functions = cpu.kslot.slot.functions
        instance = cpu.kslot.slot.instance
        step = self.step_send_each, span, instance, waiter, devices, functions
        if devices:
            await cpu.step("atc_inv", *step)
            await self.wait(cpu, waiter)

    def step_send_each(
        self,
        store: Store,
        span: InvalidateRange,
        instance: int,
        waiter: Waiter,
        devices: tuple[int, ...],
        functions: tuple[int, ...],
    ) -> Blocked | None:
        """Send to each, and wait for those too that do not take it in."""
        listen = tuple(
            device
            for device in devices
            if store.load(functions[device % len(functions)] + F_CONTROL) & ATS_ENABLE
        )
        tickets = iommu.send_to(store, listen, span, instance, State.WAITED)
        if isinstance(tickets, Blocked):
            return tickets
        lost = tuple(_lose(store, device, span, instance) for device in set(devices) - set(listen))
        iommu.keep_tickets(store, waiter, (*tickets, *lost))
        return None


def _lose(store: Store, device: int, span: InvalidateRange, instance: int) -> Ticket:
    """Use an ITag for a request that nobody will answer."""
    itag = iommu.free_itag(store, device, 1)
    assert itag is not None
    request = InvalidateRequest(itag, span.pasid, *covering_block(span.start, span.end), instance)
    store.put(("itag", device, itag), Outstanding(State.WAITED, request))
    return Ticket(device, itag)


async def run_iommu_detach_device(cpu: Cpu) -> None:
    """Disable ATS and leave the list, whoever may still be at work with the list as it was."""
    await disable_ats(cpu)
    await wait_for_pending_transaction(cpu)
    await clear_entry(cpu)
    await cache_tag_unassign(cpu)
    await cpu.op_return()


MUTANT = Mutant(
    "invalidates_disabled_ats",
    "An invalidation goes to a device whose ATS was disabled since the list was walked.",
    operations=(Operation(*IOMMU_DETACH_DEVICE, run_iommu_detach_device),),
    driver=WalksOldList,
)
