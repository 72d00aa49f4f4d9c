"""The host's IOMMU: members, ITags, and completions expected and not."""

from __future__ import annotations

import pytest
from tests.machine.machines import make_store

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.live_store import LiveStore
from shootdown_engine.store import receive
from shootdown_engine.trap import BLOCKED
from shootdown_protocol.history import Invalidation
from shootdown_protocol.layout import Layout
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.memory import PAGE_SIZE

PASID = 0x100
SPAN = InvalidateRange(PASID, 0x5000, 0x6000, 0)


@pytest.fixture
def store() -> LiveStore:
    """A store in which devices 0 and 1 may hold translations of a PASID."""
    made = make_store(Layout(4, 64, 1))
    iommu.join(made, PASID, 0, "d0")
    iommu.join(made, PASID, 1, "d1")
    return made


def send(store: LiveStore, state: State = State.WAITED) -> tuple[iommu.Ticket, ...]:
    """Send an invalidation, which must be possible."""
    tickets = iommu.send_invalidate(store, SPAN, 7, state)
    assert isinstance(tickets, tuple)
    return tickets


def test_every_member_is_sent_a_request(store: LiveStore) -> None:
    """Each device of the PASID gets one request with an ITag of its own, and nobody else."""
    iommu.join(store, PASID + 1, 2, "d2")

    tickets = send(store)

    expected = InvalidateRequest(
        itag=0, pasid=PASID, address=0x5000, size=PAGE_SIZE, instance=7, flags=2
    )
    requests = [receive(store, ("invalidate", device)) for device in (0, 1, 2)]
    assert requests == [expected, expected, None]
    assert [(ticket.device, ticket.itag) for ticket in tickets] == [(0, 0), (1, 0)]


def test_nobody_to_tell_is_nothing_to_wait_for(store: LiveStore) -> None:
    """After the last member has left, an invalidation sends nothing and completes at once."""
    iommu.leave(store, PASID, 0)
    iommu.leave(store, PASID, 1)

    tickets = send(store)

    assert tickets == ()
    assert iommu.wait_completion(store, tickets) is None


def test_joining_twice_is_joining_once(store: LiveStore) -> None:
    """A device is a member or is not."""
    iommu.join(store, PASID, 1, "d1")

    assert iommu.members(store, PASID) == (0, 1)


def test_one_waits_for_every_device(store: LiveStore) -> None:
    """The waiter goes on only when the last completion has come, and gives the ITags back."""
    tickets = send(store)
    assert iommu.wait_completion(store, tickets) is BLOCKED
    assert iommu.complete(store, 0, 0)
    assert iommu.wait_completion(store, tickets) is BLOCKED
    assert iommu.complete(store, 1, 0)

    assert iommu.wait_completion(store, tickets) is None

    assert [iommu.outstanding(store, device, 0) for device in (0, 1)] == [None, None]
    told = [(r.state, r.device) for r in store.records if isinstance(r, Invalidation)]
    assert told == [("sent", "d0"), ("sent", "d1"), ("completed", "d0"), ("completed", "d1")]


@pytest.mark.parametrize("again", [False, True])
def test_an_unexpected_completion_is_told_and_changes_nothing(
    store: LiveStore, again: bool
) -> None:
    """Neither an ITag that is free nor one that was completed already counts."""
    tickets = send(store)
    if again:
        iommu.complete(store, 0, 0)

    assert not iommu.complete(store, 0, 0 if again else 5)

    assert iommu.wait_completion(store, tickets) is BLOCKED


def test_an_itag_is_not_used_again_before_its_completion(store: LiveStore) -> None:
    """With all 32 in use the next sender waits, for every member at once, and sends to none."""
    for expected in range(ITAGS):
        assert [ticket.itag for ticket in send(store)] == [expected, expected]
    sent = len(store.records)
    iommu.complete(store, 1, 9)
    iommu.wait_completion(store, (iommu.Ticket(1, 9),))

    assert iommu.send_invalidate(store, SPAN, 7, State.WAITED) is BLOCKED

    assert len(store.records) == sent + 1
    iommu.complete(store, 0, 3)
    iommu.wait_completion(store, (iommu.Ticket(0, 3),))
    assert [ticket.itag for ticket in send(store)] == [3, 9]


def test_a_posted_invalidation_gives_its_itag_back_by_itself(store: LiveStore) -> None:
    """Nobody waits for it, so its completion frees the ITag."""
    send(store, State.POSTED)

    assert iommu.complete(store, 0, 0)

    assert iommu.outstanding(store, 0, 0) is None
    assert not iommu.complete(store, 0, 0)
