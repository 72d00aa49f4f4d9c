"""What passes between host and device: counts, vectors, depth, page request groups, overflow."""

from __future__ import annotations

import msgspec
import pytest
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location, run

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.channels import Completion, InvalidateRequest, PageRequest
from shootdown_engine.trap import BLOCKED
from shootdown_engine.walker import TableAt
from shootdown_protocol.history import Denied, Fault, Invalidation
from shootdown_protocol.memory import PAGE_SIZE
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.program import Location
from shootdown_protocol.program import State as Mapped

A, B = 0, 1


def table(state: Mapped) -> tuple[Location, Location]:
    """Two pages of one page-table page, the first two of an aligned range."""
    first = location("A", state=state)
    second = location("B", state=state, va=first.va + PAGE_SIZE, table=first.table)
    return first, second


def bench(*names: str, state: Mapped = Mapped.RW, **options: str) -> Bench:
    """Device threads that load A and B, one each, beside a CPU that unmaps A."""
    columns = [column("CPU0", run("zap_pte_range", A))]
    columns += [column(name, load(place, "r0")) for place, name in enumerate(names)]
    made = scene(*columns, places=table(state))
    return Bench(msgspec.structs.replace(made, options=options))


def queue(made: Bench, *channel: object) -> tuple[object, ...]:
    """What waits in a channel."""
    held = made.store.get(("channel", *channel))
    return held if isinstance(held, tuple) else ()


def post(made: Bench, place: int) -> None:
    """Send an invalidation that nobody waits for."""
    site = made.slot.sites[place]
    span = InvalidateRange(site.pasid, site.va, site.va + PAGE_SIZE, place)
    assert iommu.send_invalidate(made.store, span, 0, State.POSTED) is not BLOCKED


def serve(made: Bench) -> None:
    """Let the device's invalidation server go as far as it can."""
    while made.task("d0.invalidate").step(made.store):
        pass


@pytest.mark.parametrize(("count", "due"), [("1", 1), ("3", 3), ("8", 0)])
def test_an_invalidation_is_complete_with_its_last_completion(count: str, due: int) -> None:
    """A device sends a completion of each traffic class; that they are eight is written as 0."""
    made = bench("DEV0", completions=count)
    post(made, A)
    serve(made)

    assert queue(made, "completion", 0) == (Completion(1, due),) * int(count)
    for left in reversed(range(int(count))):
        assert iommu.complete(made.store, 0, 0, due)
        assert (iommu.outstanding(made.store, 0, 0) is None) == (left == 0)


def test_completions_that_count_differently_are_told() -> None:
    """Three were promised, so one that promises two is another's, and the third is still due."""
    made = bench("DEV0")
    post(made, A)
    assert iommu.complete(made.store, 0, 0, 3)

    assert not iommu.complete(made.store, 0, 0, 2)

    assert [record.state for record in made.of_kind(Invalidation)] == ["sent", "miscounted"]
    assert iommu.complete(made.store, 0, 0, 3)
    assert iommu.complete(made.store, 0, 0, 3)
    assert iommu.outstanding(made.store, 0, 0) is None


@pytest.mark.parametrize(("vector", "messages"), [("off", [1, 2]), ("on", [3])])
def test_one_message_may_complete_several(vector: str, messages: list[int]) -> None:
    """With a vector, a device obeys all that have arrived and completes them in one message."""
    made = bench("DEV0", vector=vector)
    post(made, A)
    post(made, B)

    serve(made)

    assert [m.itags for m in queue(made, "completion", 0)] == messages  # type: ignore[attr-defined]


def test_a_device_takes_in_as_many_requests_as_its_queue_is_deep() -> None:
    """With a queue of one, the second sender waits until the first invalidation is complete."""
    columns = (column("CPU0", run("zap_pte_range", A)), column("CPU1", run("zap_pte_range", B)))
    device = column("DEV0", load(A, "r0"))
    places = (location("A", state=Mapped.RW), location("B", state=Mapped.RW))
    made = Bench(scene(*columns, device, places=places, queue_depth="1"))
    made.go("CPU0", before="wait_invalidate_completion")

    while made.next_step("CPU1") != "arch_invalidate_secondary_tlbs":
        assert made.step("CPU1")
    assert not made.step("CPU1")

    made.go("CPU0")
    made.go("CPU1")


def test_a_group_takes_the_neighbours_along() -> None:
    """Requests of one group but the last are open; the host resolves all and responds once."""
    made = bench("DEV0", state=Mapped.NONE, page_groups="on")
    made.go("DEV0", before="page_response")

    sent = queue(made, "page_request", 0)
    assert [(r.location, r.last) for r in sent] == [(B, False), (A, True)]  # type: ignore[attr-defined]

    made.go("DEV0")
    assert [fault.answer for fault in made.of_kind(Fault)] == ["success"]
    assert made.entry(B)


def test_the_first_error_is_the_groups_answer() -> None:
    """One page of a group that is not mapped, and the device may not have the other either."""
    made = bench("DEV0", state=Mapped.NONE, page_groups="on")
    made.store.put(("vma", 0, B), None)

    made.go("DEV0")

    assert [fault.answer for fault in made.of_kind(Fault)] == ["invalid"]


def test_outstanding_page_requests_are_limited() -> None:
    """With an allocation of one, the second thread asks when the first has its response."""
    made = bench("DEV0", "DEV1", state=Mapped.NONE, page_requests="1")
    made.go("DEV0", before="page_response")
    made.go("DEV1", before="page_request")

    assert not made.step("DEV1")

    made.go("DEV0")
    made.go("DEV1")


def test_a_group_is_closed_before_the_allocation_is_used_up() -> None:
    """Room is left for the last request: with an allocation of one, neighbours are left out."""
    made = bench("DEV0", state=Mapped.NONE, page_groups="on", page_requests="1")

    made.go("DEV0", before="page_response")

    assert len(queue(made, "page_request", 0)) == 1


def test_what_finds_no_room_is_answered_with_success() -> None:
    """The host's queue takes one: the newest is dropped, and its device asks again."""
    made = bench("DEV0", "DEV1", state=Mapped.NONE, page_request_queue="1")
    made.go("DEV0", before="page_response")
    made.go("DEV1", before="page_response")

    assert made.task("iopf").step(made.store)

    assert queue(made, "page_response", 0, 0, 2) == ("success",)
    assert not made.entry(B)
    made.go("DEV0")
    made.go("DEV1")
    assert [fault.answer for fault in made.of_kind(Fault)] == ["success"] * 3


def test_after_a_failure_no_page_is_asked_for() -> None:
    """A host whose queue is off answers so, once; the device then gives up without asking."""
    lines = (load(A, "r0"), load(B, "r1"))
    made = scene(column("DEV0", *lines), places=table(Mapped.NONE), page_request_queue="0")
    off = Bench(made)

    off.go("DEV0")

    assert [fault.answer for fault in off.of_kind(Fault)] == ["failure"]
    assert len(off.of_kind(Denied)) == len(lines)
    off.whole.devices[0].reset(off.store, off.slot)
    assert off.store.get(("page_requests_off", 0, 0)) is None


def test_a_group_that_lost_a_request_is_dropped_whole() -> None:
    """What is left of it is resolved for nobody; its last request gets success."""
    made = bench("DEV0", state=Mapped.NONE, page_request_queue="1")
    pasid = made.slot.sites[A].pasid
    for asked in (
        PageRequest(0, pasid, A, False, 9, False),
        PageRequest(0, pasid, B, False, 9, False),
    ):
        made.store.put(("channel", "page_request", 0), (*queue(made, "page_request", 0), asked))
    server = made.task("iopf")
    for _ in range(2):
        assert server.step(made.store)

    made.store.put(("channel", "page_request", 0), (PageRequest(0, pasid, A, False, 9),))
    assert server.step(made.store)

    assert queue(made, "page_response", 0, 0, 9) == ("success",)
    assert not made.entry(A)


@pytest.mark.parametrize(
    ("unit", "size", "flags"),
    [
        ("page", PAGE_SIZE, 0),
        ("pair", 2 * PAGE_SIZE, 0),
        ("table", 512 * PAGE_SIZE, 0),
        ("pasid", 1 << 63, 0),
        ("global", 1 << 63, int(InvalidateFlag.GLOBAL)),
    ],
)
def test_the_host_invalidates_no_less_than_its_unit(unit: str, size: int, flags: int) -> None:
    """What is sent covers the page, is aligned to its size, and says whether it is for all."""
    made = bench("DEV0", invalidate=unit)
    made.go("CPU0", before="wait_invalidate_completion")

    (request,) = queue(made, "invalidate", 0)

    assert isinstance(request, InvalidateRequest)
    assert (request.size, request.flags & int(InvalidateFlag.GLOBAL)) == (size, flags)
    assert request.address % size == 0
    assert request.address <= made.slot.sites[A].va < request.address + size


@pytest.mark.parametrize(("leaf_only", "level"), [(False, 2), (True, 1)])
def test_a_walk_goes_on_where_the_last_one_knew_the_way(leaf_only: bool, level: int) -> None:
    """Tables are remembered until an invalidation that does not say that only leaves changed."""
    made = bench("DEV0", walk_by_level="on", walk_cache="on")
    made.go("DEV0", before="end")
    site = made.slot.sites[A]
    flags = InvalidateFlag.IOTLB_FIRST | (InvalidateFlag.LEAF_ONLY if leaf_only else 0)
    request = InvalidateRequest(0, site.pasid, site.va, PAGE_SIZE, 0, int(flags))
    made.whole.devices[0].step_iotlb_invalidate(made.store, request)

    at = made.whole.devices[0].step_begin_walk(made.store, made.slot.sites[B], False)

    assert made.made == ["atc_lookup", "walk", "walk_level2", "walk_level1", "atc_insert", "access"]
    assert isinstance(at, TableAt)
    assert at.level == level
