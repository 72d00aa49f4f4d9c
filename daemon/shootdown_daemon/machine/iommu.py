"""Steps of the host's IOMMU: who may hold a PASID's translations, ITags, invalidations under way.

An ITag's cell is None (free) or an `Outstanding`. Its completion makes a waited one done (the
waiter gives the ITag back) and frees a posted one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.ats_range import covering_block
from shootdown_protocol.history import Invalidation

ITAGS = 32
"""ITags of a device: 0 to 31 (PCIe ATS), none given out again before its completion."""


class State(IntEnum):
    """How far an invalidation has come, and whether somebody waits for it."""

    WAITED = 1
    POSTED = 2
    DONE = 3


class Outstanding(NamedTuple):
    """What an ITag in use stands for."""

    state: State
    request: InvalidateRequest


class Ticket(NamedTuple):
    """An invalidation whose completion somebody waits for."""

    device: int
    itag: int


def members(store: Store, pasid: int) -> tuple[int, ...]:
    """Devices that may hold translations of a PASID, read anew for each invalidation."""
    devices = store.get(("members", pasid))
    if devices is None:
        return ()
    assert isinstance(devices, tuple)
    return devices


def join(store: Store, pasid: int, device: int, name: str) -> None:
    """Publish that a device may hold translations of a PASID, before its first walk."""
    store.put(("device_name", device), name)
    present = members(store, pasid)
    if device not in present:
        store.put(("members", pasid), (*present, device))


def device_name(store: Store, device: int) -> str:
    """What the scenario calls a device."""
    return str(store.get(("device_name", device)))


def leave(store: Store, pasid: int, device: int) -> None:
    """Take a device out, once it holds nothing of the PASID any more."""
    rest = tuple(member for member in members(store, pasid) if member != device)
    store.put(("members", pasid), rest or None)


def send_invalidate(
    store: Store, span: InvalidateRange, instance: int, state: State
) -> tuple[Ticket, ...] | Blocked:
    """Send one request to every member; blocked while a member has no free ITag."""
    return send_to(store, members(store, span.pasid), span, instance, state)


def send_to(
    store: Store, devices: tuple[int, ...], span: InvalidateRange, instance: int, state: State
) -> tuple[Ticket, ...] | Blocked:
    """Send one request to each of some devices, its range the block that covers the span."""
    block = covering_block(span.start, span.end)
    return send_block(store, devices, span.pasid, block, instance, state)


def send_block(
    store: Store,
    devices: tuple[int, ...],
    pasid: int,
    block: tuple[int, int],
    instance: int,
    state: State,
) -> tuple[Ticket, ...] | Blocked:
    """Send one request for an address and a size; blocked while a device has no free ITag."""
    tickets = []
    for device in devices:
        itag = _free_itag(store, device)
        if itag is None:
            return BLOCKED
        tickets.append(Ticket(device, itag))
    address, size = block
    for device, itag in tickets:
        request = InvalidateRequest(itag, pasid, address, size, instance)
        store.put(("itag", device, itag), Outstanding(state, request))
        store.send(("invalidate", device), request)
        store.emit(Invalidation("sent", device_name(store, device), itag, pasid, address, size))
    return tuple(tickets)


def _free_itag(store: Store, device: int) -> int | None:
    for itag in range(ITAGS):
        if store.get(("itag", device, itag)) is None:
            return itag
    return None


def outstanding(store: Store, device: int, itag: int) -> Outstanding | None:
    """What an ITag stands for; None when it is free."""
    held = store.get(("itag", device, itag))
    assert held is None or isinstance(held, Outstanding)
    return held


def wait_completion(store: Store, tickets: tuple[Ticket, ...]) -> Blocked | None:
    """Guard: every device has completed; then give the ITags back."""
    for device, itag in tickets:
        held = outstanding(store, device, itag)
        if held is None or held.state is not State.DONE:
            return BLOCKED
    for device, itag in tickets:
        store.put(("itag", device, itag), None)
    return None


def send_waited(
    store: Store, span: InvalidateRange, instance: int, waiter: tuple[int, str]
) -> bool | Blocked:
    """Send requests that ``waiter`` (slot and task) will wait for; False when nobody is told.

    The tickets are a cell, not a result: once the wait is over, nothing remembers which they were.
    """
    tickets = send_invalidate(store, span, instance, State.WAITED)
    if isinstance(tickets, Blocked):
        return tickets
    keep_tickets(store, waiter, tickets)
    return bool(tickets)


def keep_tickets(store: Store, waiter: tuple[int, str], tickets: tuple[Ticket, ...]) -> None:
    """Note what a waiter will wait for."""
    store.put(("tickets", *waiter), tickets or None)


def wait_sent(store: Store, waiter: tuple[int, str]) -> Blocked | None:
    """Guard: all that the waiter has sent is completed; then give its ITags back."""
    cell = ("tickets", *waiter)
    tickets = store.get(cell)
    assert isinstance(tickets, tuple)
    if wait_completion(store, tickets) is BLOCKED:
        return BLOCKED
    store.put(cell, None)
    return None


def complete(store: Store, device: int, itag: int) -> bool:
    """Take a completion in; False when no request with this ITag is under way (unexpected)."""
    held = outstanding(store, device, itag)
    if held is None or held.state is State.DONE:
        return False
    waited = held.state is State.WAITED
    store.put(("itag", device, itag), held._replace(state=State.DONE) if waited else None)
    request = held.request
    store.emit(
        Invalidation(
            "completed",
            device_name(store, device),
            itag,
            request.pasid,
            request.address,
            request.size,
        )
    )
    return True
