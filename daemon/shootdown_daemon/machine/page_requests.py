"""The server of a slot's page requests (PCIe PRI): groups, one response each, overflow.

A group is closed by a request with its last flag; its pages are then resolved one after the other,
and the first error is the group's answer. A queue that is full drops requests: of a group that is
closed so the response is a success, and the device asks again (RISC-V's and VT-d's rule).
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable

from shootdown_daemon.machine import pasid
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.operations.fault import FaultAnswer, handle_mm_fault
from shootdown_engine.channels import STOP_MARKER, PageRequest
from shootdown_engine.store import Store, receive
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, Request, trap
from shootdown_protocol.history import Fault

SUCCESS = "success"
FAILURE = "failure"
"""Page requests are off for the device."""
AFTER_STOP = "after-stop-marker"
"""In place of an answer: the device had said that no request would follow."""
DROPPED = "dropped"
"""Instead of a group's requests: some were dropped, so that the others are worth nothing."""

Group = tuple[PageRequest, ...]


def page_request_server(kslot: KernelSlot) -> Task:
    """The server that answers a slot's page requests, one group a round."""
    return Task("iopf", lambda: serve_page_request(kslot), server=True, owner=kslot.slot)


def serve_page_request(kslot: KernelSlot) -> Coroutine[Request, object, None]:
    """Take one page request; with the last of a group resolve it, and respond once.

    Success carries no translation: the device has to ask for that, and may fault again.
    """

    async def body() -> None:
        group = await trap("take_page_request", take_page_request, kslot)
        if not group:
            return
        answer = FaultAnswer.INVALID
        for request in group:
            cpu = Cpu(kslot, f"iopf{request.prgi}", kslot.kernel.spare_cpu, request.location)
            answer = await handle_mm_fault(cpu, write=request.write)
            if answer is FaultAnswer.INVALID:
                break
        asked = group[-1]
        await trap("page_response", resolved, kslot, asked, answer.value, location=asked.location)

    return body()


def take_page_request(store: Store, kslot: KernelSlot) -> Group | Blocked:
    """Guard: a page request of the slot has arrived. Gives its group if that is whole now.

    What a queue has no room for is dropped first, the newest before all others. A queue that is
    off (of length 0) takes nothing in: whatever closes a group gets a failure.
    """
    limit = kslot.kernel.page_request_queue
    cell = ("channel", "page_request", kslot.index)
    if limit:
        queue = store.get(cell)
        if isinstance(queue, tuple) and len(queue) > limit:
            store.put(cell, queue[:-1])
            drop(store, kslot, queue[-1])
            return ()
    request = receive(store, ("page_request", kslot.index))
    if request is None:
        return BLOCKED
    assert isinstance(request, PageRequest)
    if kslot.kernel.stop_markers and _stops(store, request):
        return ()
    if limit == 0:
        if request.last:
            respond(store, kslot, request, FAILURE)
        return ()
    if kslot.kernel.binds:
        return _if_bound(store, kslot, request)
    return _grouped(store, kslot, request)


def _stops(store: Store, request: PageRequest) -> bool:
    """Take a stop marker in, which gets no response; tell of a request that follows one."""
    cell = pasid.stop_cell(request.device, request.pasid)
    if request.location == STOP_MARKER:
        store.put(cell, True)
        return True
    if store.get(cell) is not None:
        store.emit(Fault(request.location, request.write, AFTER_STOP, exhausted=False))
    return False


def _if_bound(store: Store, kslot: KernelSlot, request: PageRequest) -> Group:
    """Take a request in if its PASID is bound; else the IOMMU refuses it, or it is lost."""
    mm = kslot.slot.sites[request.location].mm
    taken = pasid.takes_requests(store, kslot, mm)
    location = pasid.addressed(store, kslot, request.location) if taken else None
    if location is not None:
        group = _grouped(store, kslot, request._replace(location=location))
        pasid.note_busy(store, kslot.index, busy=bool(group))
        return group
    if taken is not None:
        respond(store, kslot, request, FaultAnswer.INVALID.value)
    return ()


def _grouped(store: Store, kslot: KernelSlot, request: PageRequest) -> Group:
    cell = _group_cell(kslot, request)
    held = store.get(cell)
    if not request.last:
        if held != DROPPED:
            assert held is None or isinstance(held, tuple)
            store.put(cell, (*(held or ()), request))
        return ()
    if held is None:
        return (request,)
    store.put(cell, None)
    if held == DROPPED:
        respond(store, kslot, request, SUCCESS)
        return ()
    assert isinstance(held, tuple)
    return (*held, request)


def drop(store: Store, kslot: KernelSlot, request: PageRequest) -> None:
    """Drop a request for which the queue has no room, and with it what there is of its group."""
    if request.last:
        store.put(_group_cell(kslot, request), None)
        respond(store, kslot, request, SUCCESS)
    else:
        store.put(_group_cell(kslot, request), DROPPED)


def resolved(store: Store, kslot: KernelSlot, request: PageRequest, answer: str) -> None:
    """Send the response of a group that was resolved."""
    if kslot.kernel.binds:
        pasid.note_busy(store, kslot.index, busy=False)
    respond(store, kslot, request, answer)


def respond(store: Store, kslot: KernelSlot, request: PageRequest, answer: str) -> None:
    """Send the group's one response."""
    kslot.kernel.driver.respond(store, kslot.index, request, answer)


def _group_cell(kslot: KernelSlot, request: PageRequest) -> tuple[Hashable, ...]:
    return ("page_group", kslot.index, request.device, request.prgi)
