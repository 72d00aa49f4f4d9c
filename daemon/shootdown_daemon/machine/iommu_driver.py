"""The host's side of an invalidation: whom to tell what, in which order, and what to wait for.

`IommuDriver` is the right one. A faulty one subclasses it and overrides what differs: each method
named ``step_...`` is one atomic step over the store, each ``async`` method a sequence of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State, Ticket
from shootdown_engine.trap import Blocked
from shootdown_protocol.device_options import option_of
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.messages import InvalidateFlag

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_daemon.machine.phases import InvalidateRange
    from shootdown_engine.channels import PageRequest
    from shootdown_engine.store import Store

Waiter = tuple[int, str]
"""Slot and task of who waits for completions."""

ADDRESS_END: Final = 1 << 63
"""End of the half of addresses that a process has: bit 63 is never set."""
_GLOBAL: Final = int(InvalidateFlag.GLOBAL)
_IOTLB_ONLY: Final = int(InvalidateFlag.IOTLB_ONLY)
_SHIFTS: Final = {"page": PAGE_SHIFT, "pair": PAGE_SHIFT + 1, "table": PAGE_SHIFT + 9}
"""Log2 of the smallest block that is invalidated, by the option ``invalidate``."""


class IommuDriver:
    """Reads who may hold the PASID's translations, tells each, waits for all.

    One request to a device empties the IOTLB before it and then the device's own TLB. ``depth`` is
    the devices' invalidate queue depth, ``unit`` how much is invalidated at least.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        """Read off a program's options."""
        self.depth = int(option_of(options, "queue_depth"))
        self.unit = option_of(options, "invalidate")

    async def range_start(self, cpu: Cpu) -> None:
        """``invalidate_range_start()``: drivers that know page tables have nothing to do then."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """``mmu_notifier_arch_invalidate_secondary_tlbs()``: tell every member and wait."""
        waiter = (cpu.kslot.index, cpu.task)
        sent = await cpu.step(
            "arch_invalidate_secondary_tlbs",
            self.step_send,
            span,
            cpu.kslot.slot.instance,
            waiter,
        )
        if sent:
            await self.wait(cpu, waiter)

    async def post(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Tell every member and do not wait."""
        await cpu.step(
            "queue_invalidate", self.step_post, span, cpu.kslot.slot.instance, cpu.kslot.index
        )

    async def invalidate_iotlb(self, cpu: Cpu) -> None:
        """Empty the IOTLBs of the location's address space and wait: no device is asked."""
        waiter = (cpu.kslot.index, cpu.task)
        instance = cpu.kslot.slot.instance
        step = self.step_send_iotlb
        if await cpu.step("flush_iotlb", step, cpu.site.pasid, instance, waiter):
            await self.wait(cpu, waiter)

    async def wait(self, cpu: Cpu, waiter: Waiter) -> None:
        """Wait until all that the waiter has sent is completed."""
        await cpu.step("wait_invalidate_completion", self.step_wait, waiter)

    def step_send(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Send requests that the waiter will wait for; False when nobody is told."""
        tickets = self.send(store, span, instance, State.WAITED)
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, tickets)
        return bool(tickets)

    def step_post(
        self, store: Store, span: InvalidateRange, instance: int, slot: int
    ) -> bool | Blocked:
        """Send requests that nobody will wait for; False when nobody is told."""
        del slot
        tickets = self.send(store, span, instance, State.POSTED)
        return tickets if isinstance(tickets, Blocked) else bool(tickets)

    def step_send_iotlb(
        self, store: Store, pasid: int, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Send requests for all that IOTLBs hold of a PASID; False when there is none."""
        tickets = iommu.send_block(
            store,
            iommu.members(store, pasid),
            pasid,
            (0, ADDRESS_END),
            instance,
            State.WAITED,
            flags=_IOTLB_ONLY,
            depth=self.depth,
        )
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, tickets)
        return bool(tickets)

    def step_wait(self, store: Store, waiter: Waiter) -> Blocked | None:
        """Guard: every device has completed; then give the ITags back."""
        return iommu.wait_sent(store, waiter)

    def respond(self, store: Store, slot: int, request: PageRequest, answer: str) -> None:
        """Send the one response of a page request group."""
        store.send(("page_response", request.device, slot, request.prgi), answer)

    def send(
        self, store: Store, span: InvalidateRange, instance: int, state: State
    ) -> tuple[Ticket, ...] | Blocked:
        """Send a request to every member of the PASID, for what the driver makes of a range."""
        members = iommu.members(store, span.pasid)
        flags = _GLOBAL if self.unit == "global" else 0
        return iommu.send_to(
            store, members, self.widen(span), instance, state, flags=flags, depth=self.depth
        )

    def widen(self, span: InvalidateRange) -> InvalidateRange:
        """The range that is invalidated for a range that has changed; more is never wrong."""
        shift = _SHIFTS.get(self.unit)
        if shift is None:
            return span._replace(start=0, end=ADDRESS_END)
        if shift == PAGE_SHIFT:
            return span
        last = span.end - 1 >> shift
        return span._replace(start=span.start >> shift << shift, end=last + 1 << shift)
