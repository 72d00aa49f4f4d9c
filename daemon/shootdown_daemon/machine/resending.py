"""Steps of the host's IOMMU when something has gone wrong: a waiter that died, a lost completion.

Nothing here runs while all goes well; `iommu` has what does.
"""

from __future__ import annotations

from shootdown_daemon.machine.iommu import State, free_itag, outstanding, send_request
from shootdown_engine.store import Store
from shootdown_protocol.limits import ITAGS


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
    store.put(("itag", device, itag), held._replace(state=state))
    send_request(store, device, held.request._replace(itag=second), State.SECOND)
    store.put(("second", device, itag), second)
    store.put(("first", device, second), itag)
    return second


def is_first(store: Store, device: int, itag: int) -> bool:
    """Whether a request has been sent once only."""
    held = outstanding(store, device, itag)
    return held is not None and held.state in {State.WAITED, State.POSTED}


def reclaim(store: Store, device: int, itag: int) -> None:
    """Use an ITag again: its own completion has not come in all that time, and nobody waits."""
    held = outstanding(store, device, itag)
    if held is not None and held.state is State.RETIRED:
        store.put(("itag", device, itag), None)


def is_moot(store: Store, device: int, itag: int) -> bool:
    """Whether nobody needs this completion any more: that of the first request has come."""
    held = outstanding(store, device, itag)
    return held is None or (
        held.state is State.SECOND and store.get(("first", device, itag)) is None
    )


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
            waits = held.state is State.WAITED
            posted = held._replace(state=State.POSTED) if waits else None
            store.put(("itag", device, itag), posted)
    store.put(cell, None)
