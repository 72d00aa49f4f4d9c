"""Steps of the host's IOMMU when completions do not come: lost ones, a waiter that died, a reset.

Nothing here runs while all goes well; `iommu` has what does.
"""

from __future__ import annotations

from typing import Final

from shootdown_daemon.machine.iommu import (
    COMPLETED,
    FIRST,
    State,
    free_itag,
    outstanding,
    report,
    send_request,
)
from shootdown_engine.store import Store
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.messages import InvalidateFlag


def expire(store: Store, device: int, itag: int) -> bool:
    """A completion is overdue: send the request again, or let the fence behind it fail.

    False when that is of no use, or cannot be done now.
    """
    held = outstanding(store, device, itag)
    if held is None or held.state is not State.QUEUED:
        return resend(store, device, itag) is not None
    store.put(("itag", device, itag), held.but(State.TIMED_OUT))
    return True


def resend(store: Store, device: int, itag: int) -> int | None:
    """A completion is overdue: send the request once more under a new ITag, and give that.

    None when it cannot be done: it was a second request itself, or no ITag is free. The first ITag
    is not used again before its own completion has come, however late.
    """
    held = outstanding(store, device, itag)
    second = free_itag(store, device, ITAGS)
    if held is None or held.state not in {State.WAITED, State.POSTED} or second is None:
        return None
    state = State.RESENT if held.state is State.WAITED else State.RESENT_POSTED
    store.put(("itag", device, itag), held.but(state))
    send_request(store, device, held.request._replace(itag=second), State.SECOND)
    store.put(("second", device, itag), second)
    store.put(("first", device, second), itag)
    return second


def is_first(store: Store, device: int, itag: int) -> bool:
    """Whether a request has been sent once only."""
    held = outstanding(store, device, itag)
    return held is not None and held.state in FIRST


def reclaim(store: Store, device: int, itag: int) -> bool:
    """Use an ITag again: its own completion will not come any more, and nobody waits; or False."""
    held = outstanding(store, device, itag)
    if held is None or held.state is not State.RETIRED:
        return False
    store.put(("itag", device, itag), None)
    return True


def is_moot(store: Store, device: int, itag: int) -> bool:
    """Whether nobody needs this completion any more.

    That of the first request has come, or the device was reset.
    """
    held = outstanding(store, device, itag)
    if held is None or held.state in {State.OVERTAKEN, State.RETIRED}:
        return True
    return held.state is State.SECOND and store.get(("first", device, itag)) is None


def release(store: Store, device: int, pasids: tuple[int, ...]) -> None:
    """A device was reset and holds nothing: what is outstanding of some PASIDs counts as complete.

    Not what goes to the IOTLB alone, which is no part of the device. Completions that are on their
    way come late; no ITag is used again before its own has come.
    """
    for itag in range(ITAGS):
        held = outstanding(store, device, itag)
        if held is None or held.request.pasid not in pasids or held.state in COMPLETED:
            continue
        if held.request.flags & InvalidateFlag.IOTLB_ONLY:
            continue
        waited = held.state not in {State.POSTED, State.RESENT_POSTED, State.SECOND, State.RETIRED}
        state = State.OVERTAKEN if waited else State.RETIRED
        store.put(("itag", device, itag), held.but(state))
        for link in ("first", "second"):
            if store.get((link, device, itag)) is not None:
                store.put((link, device, itag), None)
        if held.state is not State.RETIRED:
            report(store, device, "released", held.request)


_UNAWAITED: Final = {
    State.WAITED: State.POSTED,
    State.RESENT: State.RESENT_POSTED,
    State.OVERTAKEN: State.RETIRED,
}
"""What becomes of a request that somebody waited for when nobody does any more."""


def abandon(store: Store, waiter: tuple[int, str]) -> None:
    """Wait for nothing any more: what the waiter has sent is posted from now on."""
    cell = ("tickets", *waiter)
    tickets = store.get(cell)
    if tickets is None:
        return
    assert isinstance(tickets, tuple)
    for device, itag in tickets:
        held = outstanding(store, device, itag)
        if held is not None:
            state = _UNAWAITED.get(held.state, held.state)
            unused = held.state is State.DONE
            store.put(("itag", device, itag), None if unused else held.but(state))
    store.put(cell, None)
