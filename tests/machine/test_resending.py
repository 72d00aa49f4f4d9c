"""Second requests: what is overdue is asked for again, and no ITag means two things at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from tests.machine.machines import Bench, make_store

from shootdown_daemon.machine import iommu, resending
from shootdown_daemon.machine.iommu import State, Ticket
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_daemon.shell.live_run import Bank, LiveRun
from shootdown_daemon.shell.overdue import Invalidations
from shootdown_engine.live_store import LiveStore
from shootdown_engine.store import receive
from shootdown_engine.trap import BLOCKED
from shootdown_protocol.history import Invalidation
from shootdown_protocol.layout import Layout
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.program import State as Begins
from shootdown_protocol.segment import Segment

SPAN = InvalidateRange(0x100, 0x5000, 0x6000, 0)


@pytest.fixture
def store() -> LiveStore:
    """A store in which device 0 may hold translations of a PASID."""
    made = make_store(Layout(4, 64, 1))
    iommu.join(made, SPAN.pasid, 0, "d0")
    return made


def sent(store: LiveStore, state: State = State.WAITED) -> tuple[Ticket, ...]:
    """An invalidation that is under way, its request taken in by nobody."""
    tickets = iommu.send_invalidate(store, SPAN, 7, state)
    assert isinstance(tickets, tuple)
    receive(store, ("invalidate", 0))
    return tickets


def completed(store: LiveStore) -> list[int]:
    """ITags that were reported as completed."""
    records = [record for record in store.records if isinstance(record, Invalidation)]
    return [record.itag for record in records if record.state == "completed"]


def test_a_second_request_completes_the_first(store: LiveStore) -> None:
    """Whoever waits for the first has what it waits for; the same range was asked for."""
    tickets = sent(store)

    assert resending.resend(store, 0, 0) == 1
    again = receive(store, ("invalidate", 0))
    assert iommu.complete(store, 0, 1)

    assert (again.itag, again.address) == (1, 0x5000)  # type: ignore[attr-defined]
    assert iommu.wait_completion(store, tickets) is None
    assert completed(store) == [1, 0]


def test_an_itag_rests_until_its_own_completion(store: LiveStore) -> None:
    """Else a completion that comes late would be another request's."""
    tickets = sent(store)
    resending.resend(store, 0, 0)
    iommu.complete(store, 0, 1)
    iommu.wait_completion(store, tickets)

    assert sent(store) == (Ticket(0, 1),)
    assert iommu.complete(store, 0, 0)
    assert sent(store) == (Ticket(0, 0),)


def test_a_late_completion_is_nobody_elses(store: LiveStore) -> None:
    """The first answers by itself after all: the second then completes nothing more."""
    first = sent(store)
    resending.resend(store, 0, 0)

    assert iommu.complete(store, 0, 0)
    assert iommu.wait_completion(store, first) is None
    following = sent(store)
    assert resending.is_moot(store, 0, 1)
    assert iommu.complete(store, 0, 1)

    assert iommu.wait_completion(store, following) is BLOCKED


def test_a_posted_request_is_sent_again_too(store: LiveStore) -> None:
    """Nobody waits, and its ITag is free only when its own completion has come."""
    sent(store, State.POSTED)
    resending.resend(store, 0, 0)
    iommu.complete(store, 0, 1)

    assert iommu.outstanding(store, 0, 0) is not None
    iommu.complete(store, 0, 0)
    assert iommu.outstanding(store, 0, 0) is None


def test_nothing_is_asked_for_three_times(store: LiveStore) -> None:
    """A second request that is overdue is the caller's matter: the device is quarantined."""
    sent(store)
    resending.resend(store, 0, 0)

    assert resending.resend(store, 0, 0) is None
    assert resending.resend(store, 0, 1) is None


def test_a_reclaimed_itag_is_free(store: LiveStore) -> None:
    """After long enough nobody believes in its completion any more; one in use stays."""
    tickets = sent(store)
    resending.resend(store, 0, 0)
    resending.reclaim(store, 0, 0)
    assert iommu.outstanding(store, 0, 0) is not None

    iommu.complete(store, 0, 1)
    iommu.wait_completion(store, tickets)
    resending.reclaim(store, 0, 0)

    assert iommu.outstanding(store, 0, 0) is None


def test_without_a_free_itag_nothing_is_sent(store: LiveStore) -> None:
    """All are in use: the first request stays as it is, and may be sent again later."""
    for _ in range(ITAGS):
        sent(store)

    assert resending.resend(store, 0, 0) is None
    assert resending.is_first(store, 0, 0)


def test_a_dead_waiters_requests_are_posted(store: LiveStore) -> None:
    """Nobody will take its tickets; their ITags come back with the completions."""
    tickets = sent(store)
    iommu.keep_tickets(store, (0, "CPU0"), tickets)

    resending.abandon(store, (0, "CPU0"))

    iommu.complete(store, 0, 0)
    assert iommu.outstanding(store, 0, 0) is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_waiter_that_dies_leaves_both_requests_in_order(
    store: LiveStore, order: tuple[int, int]
) -> None:
    """Sent again and waited for no more: both completions are taken, and both ITags free again."""
    tickets = sent(store)
    store.put(("tickets", 0, "CPU0"), tickets)
    resending.resend(store, 0, 0)

    resending.abandon(store, (0, "CPU0"))

    assert all(iommu.complete(store, 0, itag) for itag in order)
    assert [iommu.outstanding(store, 0, itag) for itag in order] == [None, None]


@pytest.mark.parametrize(("begun", "instance"), [(True, 7), (False, -1)])
def test_a_completion_is_of_no_instance_to_come(*, begun: bool, instance: int) -> None:
    """One that comes when its slot is being made ready for another instance is nobody's."""
    whole = Bench.of("wp_page_copy", Begins.COW).whole
    run = LiveRun.__new__(LiveRun)
    run.segment = cast("Segment", PlainSegment(Layout(64, 4096, 5)))
    run.limits_ns, run._instances = lambda: 0, {}
    bank = Bank([whole.kslot])
    bank.count, whole.kslot.slot.instance = 1, 7
    if begun:
        run._go(bank)

    record = Invalidation("completed", "d0", 0, whole.slot.pasids[0], 0x5000, 0x1000)

    assert run._instance_of(record) == instance


def lost_by_reset(store: LiveStore) -> Invalidations:
    """ITag 0 of device 0, whose request a reset has lost, and 1, sent later and waited for."""
    live = SimpleNamespace(store=store, program=SimpleNamespace(has_functions=True))
    invalidations = Invalidations(cast("LiveRun", live), timeout_ms=1)
    (ticket,) = sent(store, State.POSTED)
    resending.release(store, 0, (SPAN.pasid,))
    invalidations.sent_ns.update({ticket: 1, (0, 1): 2})
    return invalidations


def test_what_a_reset_has_lost_is_used_again(store: LiveStore) -> None:
    """A device completes in the order of the requests, so that what is missing will not come."""
    invalidations = lost_by_reset(store)

    invalidations.completed(0, 1)
    invalidations.use_lost()

    assert iommu.outstanding(store, 0, 0) is None


def test_what_the_host_completes_says_nothing_of_a_device(store: LiveStore) -> None:
    """Nor is lost what the host has held, and may pass on behind the others."""
    invalidations = lost_by_reset(store)

    invalidations.over(0, 1)
    invalidations.use_lost()
    assert iommu.outstanding(store, 0, 0) is not None

    invalidations.sent_ns[0, 2] = 2
    invalidations.completed(0, 2)
    invalidations.use_lost(out_of_order={(0, 0)})
    assert iommu.outstanding(store, 0, 0) is not None, "a fault holds it"

    invalidations.hold(0, 0)
    invalidations.sent_ns[0, 2] = 2
    invalidations.completed(0, 2)
    invalidations.use_lost()
    assert iommu.outstanding(store, 0, 0) is not None

    invalidations.pass_on(0, 0, 3)
    assert invalidations.sent_ns[0, 0] == 3


def test_a_rest_is_over_with_its_own_completion(store: LiveStore) -> None:
    """What an ITag is used for behind that is not given up when the first use would have been."""
    invalidations = lost_by_reset(store)
    del invalidations.sent_ns[0, 1]
    invalidations._report = lambda: None  # type: ignore[method-assign]
    overdue_ns, rested_ns = 2_000_000, 9_000_000
    assert invalidations.look(overdue_ns) is None
    assert iommu.complete(store, 0, 0)
    invalidations.completed(0, 0)
    sent(store, State.POSTED)
    resending.release(store, 0, (SPAN.pasid,))

    invalidations.look(rested_ns)

    assert iommu.outstanding(store, 0, 0) is not None
