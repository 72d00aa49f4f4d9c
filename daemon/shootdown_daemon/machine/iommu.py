"""Steps of the host's IOMMU: who may hold a PASID's translations, ITags, invalidations under way.

An ITag's cell is None (free) or an `Outstanding`. The last of its completions makes a waited one
done (the waiter gives the ITag back) and frees a posted one. How many there are, the first one
says (PCIe ATS: completion count). One that nobody expects, or that counts otherwise than the first
of its ITag, is reported and changes nothing.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

import msgspec

from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.channels import Completion, InvalidateRequest, request_of
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.ats_range import covering_block
from shootdown_protocol.history import Invalidation
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.messages import InvalidateFlag

COUNT_MAX = 8
"""Completions of one invalidation, at most: what a count field of 0 means."""
_IOTLB_FIRST = int(InvalidateFlag.IOTLB_FIRST)
_IOTLB_ONLY = int(InvalidateFlag.IOTLB_ONLY)
_FLAGS = (_IOTLB_FIRST, _IOTLB_FIRST | int(InvalidateFlag.LEAF_ONLY))
"""Flags of a request that goes to IOTLB and device TLB both, by whether it is for leaves only."""


class State(IntEnum):
    """How far an invalidation has come, and whether somebody waits for it.

    Those past `DONE` are there only when a completion was missed: see `resending`.
    """

    QUEUED = 1
    """A fence of a command queue waits, and a time-out is for software to make good."""
    WAITED = 2
    POSTED = 3
    DONE = 4
    RESENT = 5
    """Somebody waits, and the request has been sent again under another ITag."""
    RESENT_POSTED = 6
    SECOND = 7
    """A request sent again; its completion is that of the first, too."""
    OVERTAKEN = 8
    """The second request was completed; this ITag's own completion may still come."""
    RETIRED = 9
    """As `OVERTAKEN`, and nobody waits: not to be used again before its own completion."""
    TIMED_OUT = 10
    """As `QUEUED`, and given up by the IOMMU: the fence behind it is to fail."""
    REPEATED = 11
    """As `QUEUED`, of a command that software has written again after such a failure."""


FIRST = (State.QUEUED, State.WAITED, State.POSTED)
"""States of a request that was sent once."""
SECONDS = (State.SECOND, State.REPEATED)
"""States of one whose time-out is the second: its device is lost."""
AWAITED = frozenset({*FIRST, *SECONDS, State.RESENT, State.RESENT_POSTED})
"""States of a request whose completion would still be of use."""
COMPLETED = (State.DONE, State.OVERTAKEN)
"""States of a waited request that need not be waited for any more."""
_DONE: Final = State.DONE
_BECOME_DONE: Final = (
    State.QUEUED,
    State.WAITED,
    State.RESENT,
    State.OVERTAKEN,
    State.TIMED_OUT,
    State.REPEATED,
)
"""States that the last completion of an ITag makes `State.DONE`; others make it free."""


class Outstanding(msgspec.Struct, frozen=True, gc=False):
    """What an ITag in use stands for; ``left`` completions are missing, 0 before the first."""

    state: State
    request: InvalidateRequest
    left: int = 0
    due: int = 0

    def but(self, state: State) -> Outstanding:
        """The same in another state."""
        return Outstanding(state, self.request, self.left, self.due)


class Ticket(NamedTuple):
    """An invalidation whose completion somebody waits for."""

    device: int
    itag: int


def members(store: Store, pasid: int) -> tuple[int, ...]:
    """Devices that may hold translations of a PASID, read anew for each invalidation."""
    devices: tuple[int, ...] | None = store.get(("members", pasid))
    return devices or ()


def join(store: Store, pasid: int, device: int, name: str) -> None:
    """Publish that a device may hold translations of a PASID, before its first walk."""
    store.put(("device_name", device), name)
    present = members(store, pasid)
    if device not in present:
        store.put(("members", pasid), (*present, device))


def leave(store: Store, pasid: int, device: int) -> None:
    """Take a device out, once it holds nothing of the PASID any more."""
    rest = tuple(member for member in members(store, pasid) if member != device)
    store.put(("members", pasid), rest or None)


def send_invalidate(
    store: Store, span: InvalidateRange, instance: int, state: State
) -> tuple[Ticket, ...] | Blocked:
    """Send one request to every member; blocked while a member has no free ITag."""
    devices = members(store, span.pasid)
    block = covering_block(span.start, span.end)
    return send_block(
        store, devices, span.pasid, block, instance, state, flags=_FLAGS[span.leaf_only]
    )


def send_to(
    store: Store,
    devices: tuple[int, ...],
    span: InvalidateRange,
    instance: int,
    state: State,
    *,
    flags: int = 0,
    depth: int = ITAGS,
) -> tuple[Ticket, ...] | Blocked:
    """Send one request to each of some devices, its range the block that covers the span.

    ``flags`` are added to what the span itself says.
    """
    block = covering_block(span.start, span.end)
    said = _FLAGS[span.leaf_only] | flags
    return send_block(store, devices, span.pasid, block, instance, state, flags=said, depth=depth)


def send_block(
    store: Store,
    devices: tuple[int, ...],
    pasid: int,
    block: tuple[int, int],
    instance: int,
    state: State,
    *,
    flags: int = _IOTLB_FIRST,
    depth: int = ITAGS,
) -> tuple[Ticket, ...] | Blocked:
    """Send one request for an address and a size; blocked while a device has no free ITag.

    ``depth`` is how many requests a device takes in (PCIe ATS: invalidate queue depth): so many
    ITags are used at most, and a device that is slow holds its senders up.
    """
    tickets = _free_itags(store, devices, depth)
    if tickets is None:
        return BLOCKED
    address, size = block
    for device, itag in tickets:
        request = request_of((itag, pasid, address, size, instance, flags))
        store.put(("itag", device, itag), Outstanding(state, request))
        store.send(("invalidate", device), request)
        report(store, device, "sent", request)
    return tuple(tickets)


def send_request(store: Store, device: int, request: InvalidateRequest, state: State) -> None:
    """Put an ITag to use and send a request with it."""
    store.put(("itag", device, request.itag), Outstanding(state, request))
    store.send(("invalidate", device), request)
    report(store, device, "sent", request)


def free_itag(store: Store, device: int, depth: int) -> int | None:
    """The lowest ITag of a device that is free; None while so many are in use."""
    free = _free_itags(store, (device,), depth)
    return None if free is None else free[0].itag


def _free_itags(store: Store, devices: tuple[int, ...], depth: int) -> list[Ticket] | None:
    """The lowest free ITag of each of some devices; None while one of them has none."""
    get = store.get
    free = []
    for device in devices:
        for cell, ticket in _itags(device, depth):
            if get(cell) is None:
                free.append(ticket)
                break
        else:
            return None
    return free


@cache
def _itags(device: int, depth: int) -> tuple[tuple[tuple[str, int, int], Ticket], ...]:
    """The first ITags of a device, each with its cell."""
    return tuple((("itag", device, itag), Ticket(device, itag)) for itag in range(depth))


def report(store: Store, device: int, state: str, request: InvalidateRequest) -> None:
    """Report a state of a request."""
    itag, pasid, address, size, _, flags = request
    if flags & _IOTLB_ONLY:
        state = f"iotlb_{state}"
    name: str = store.get(("device_name", device))
    store.emit(Invalidation(state, name, itag, pasid, address, size))


def outstanding(store: Store, device: int, itag: int) -> Outstanding | None:
    """What an ITag stands for; None when it is free."""
    held: Outstanding | None = store.get(("itag", device, itag))
    return held


def wait_completion(store: Store, tickets: tuple[Ticket, ...]) -> Blocked | None:
    """Guard: every device has completed; then give the ITags back."""
    rest = []
    for device, itag in tickets:
        cell = ("itag", device, itag)
        held: Outstanding | None = store.get(cell)
        if held is None or held.state not in COMPLETED:
            return BLOCKED
        rest.append((cell, None if held.state is _DONE else held.but(State.RETIRED)))
    for cell, after in rest:
        store.put(cell, after)
    return None


def send_waited(
    store: Store, span: InvalidateRange, instance: int, waiter: tuple[int, str]
) -> bool | Blocked:
    """Send requests that ``waiter`` (slot and task) will wait for; False when nobody is told."""
    tickets = send_invalidate(store, span, instance, State.WAITED)
    if isinstance(tickets, Blocked):
        return tickets
    keep_tickets(store, waiter, tickets)
    return bool(tickets)


def keep_tickets(store: Store, waiter: tuple[int, str], tickets: tuple[Ticket, ...]) -> None:
    """Note what a waiter will wait for.

    The tickets are a cell, not a result: once the wait is over, nothing remembers which they were.
    """
    store.put(("tickets", *waiter), tickets or None)


def kept_tickets(store: Store, waiter: tuple[int, str]) -> tuple[Ticket, ...]:
    """What a waiter will wait for."""
    tickets = store.get(("tickets", *waiter)) or ()
    assert isinstance(tickets, tuple)
    return tickets


def wait_sent(store: Store, waiter: tuple[int, str]) -> Blocked | None:
    """Guard: all that the waiter has sent is completed; then give its ITags back."""
    cell = ("tickets", *waiter)
    tickets = store.get(cell)
    assert isinstance(tickets, tuple)
    if wait_completion(store, tickets) is BLOCKED:
        return BLOCKED
    store.put(cell, None)
    return None


def take(store: Store, device: int, completion: Completion) -> bool:
    """Take a completion message in; False when it was not expected, for one of its ITags."""
    expected = True
    for itag in completion.numbers:
        expected &= complete(store, device, itag, completion.due)
    return expected


def complete(store: Store, device: int, itag: int, count: int = 1) -> bool:
    """Take one ITag's completion in, ``count`` as the message says it (0 means 8).

    False when no request with this ITag is under way (unexpected), or when an earlier completion
    of the same ITag said another count.
    """
    cell = ("itag", device, itag)
    held: Outstanding | None = store.get(cell)
    if held is None:
        report(store, device, "unexpected", InvalidateRequest(itag, 0, 0, 0, -1))
        return False
    state, request = held.state, held.request
    if state is _DONE:
        unknown = InvalidateRequest(itag, request.pasid, 0, 0, -1)
        report(store, device, "unexpected", unknown)
        return False
    if held.left and held.due != count:
        report(store, device, "miscounted", request)
        return False
    left = (held.left or count or COUNT_MAX) - 1
    if left:
        store.put(cell, Outstanding(state, request, left, count))
        return True
    store.put(cell, Outstanding(_DONE, request) if state in _BECOME_DONE else None)
    if state > _DONE:
        return _complete_resent(store, device, itag, held)
    report(store, device, "completed", request)
    return True


def _complete_resent(store: Store, device: int, itag: int, held: Outstanding) -> bool:
    """The last completion of one of two requests for the same thing has come."""
    if held.state is State.SECOND:
        report(store, device, "completed", held.request)
        first = store.get(("first", device, itag))
        store.put(("first", device, itag), None)
        if first is None:  # It has completed by itself meanwhile.
            return True
        assert isinstance(first, int)
        store.put(("second", device, first), None)
        waiting = outstanding(store, device, first)
        assert waiting is not None
        waited = waiting.state is State.RESENT
        state = State.OVERTAKEN if waited else State.RETIRED
        store.put(("itag", device, first), waiting.but(state))
        report(store, device, "completed", waiting.request)
    elif held.state in {State.RESENT, State.RESENT_POSTED}:
        second = store.get(("second", device, itag))
        store.put(("second", device, itag), None)
        store.put(("first", device, second), None)
        report(store, device, "completed", held.request)
    else:
        late = held.state is not State.REPEATED
        report(store, device, "late" if late else "completed", held.request)
    return True
