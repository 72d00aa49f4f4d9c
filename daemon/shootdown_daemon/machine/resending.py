"""Steps of the host's IOMMU when something has gone wrong: a waiter that died, a lost completion.

Nothing here runs while all goes well; `iommu` has what does.
"""

from __future__ import annotations

from shootdown_daemon.machine.iommu import State, outstanding
from shootdown_engine.store import Store


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
