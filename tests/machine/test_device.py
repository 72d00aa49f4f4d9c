"""The device machine: look-up, translation, access, and what an invalidation does to each."""

from __future__ import annotations

from typing import Any

import pytest
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location, run, store

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.device import FAULTS_MAX, Device, DeviceThread
from shootdown_device_agent.machine.function import function_cell
from shootdown_engine.access import Intent
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.walker import WalkFault
from shootdown_protocol.history import Access, Denied, Fault, Invalidation
from shootdown_protocol.memory import PAGE_SIZE, USER, pte_pfn
from shootdown_protocol.program import Column, State

HIT = "atc_lookup access end"
MISS = "atc_lookup walk atc_insert access end"
A, B = 0, 1
ATS_DISABLED = 0


def reader(state: State = State.COW, *, warm: bool = True, **config: Any) -> Bench:  # noqa: ANN401 - fields of a DeviceConfig
    """CPU0 breaks COW on A, which DEV0 reads."""
    columns = (column("CPU0", run("wp_page_copy", A)), column("DEV0", load(A, "r0")))
    places = (location("A", state=state),)
    return Bench(scene(*columns, places=places, warm=(A,) if warm else ()), **config)


def alone(*columns: Column, warm: tuple[int, ...] = (), **config: Any) -> Bench:  # noqa: ANN401 - fields of a DeviceConfig
    """Columns over two writable pages."""
    places = (location("A", state=State.RW), location("B", state=State.RW, value=3))
    return Bench(scene(*columns, places=places, warm=warm), **config)


def in_atc(bench: Bench, place: int) -> atc.Cached | None:
    """What the ATC holds of a location."""
    site = bench.slot.sites[place]
    return atc.cached(bench.store, atc.atc_cell(0, site.pasid, site.vpn))


def in_iotlb(bench: Bench, place: int) -> atc.Cached | None:
    """What the IOTLB holds of a location."""
    site = bench.slot.sites[place]
    return atc.cached(bench.store, atc.iotlb_cell(0, site.pasid, site.vpn))


def test_a_hit_is_a_look_up_and_an_access() -> None:
    """A translation that is cached is used without a walk, and the record says that it was."""
    bench = reader()

    bench.go("DEV0")

    assert bench.made == HIT.split()
    (access,) = bench.of_kind(Access)
    assert (access.hit, access.stale, access.value) == (True, False, 0)


def test_a_miss_walks_and_inserts() -> None:
    """A translation that is not cached costs a walk and an insertion, each a step of its own."""
    bench = reader(warm=False)

    bench.go("DEV0")

    assert bench.made == MISS.split()
    assert [access.hit for access in bench.of_kind(Access)] == [False]
    assert in_atc(bench, A) is not None


def test_a_walk_sees_the_tables_of_its_moment() -> None:
    """A walk before the new entry is set and an access after it meet the old page."""
    bench = reader(warm=False)
    old = pte_pfn(bench.entry())
    bench.go("DEV0", before="atc_insert")

    bench.go("CPU0", before="arch_invalidate_secondary_tlbs")
    bench.go("DEV0", before="access")

    held = in_atc(bench, A)
    assert held is not None
    assert held.pfn == old


def test_an_invalidation_cancels_an_insertion() -> None:
    """A translation under way when the invalidation was applied is thrown away and begun anew."""
    bench = reader(warm=False)
    bench.go("DEV0", before="atc_insert")
    bench.go("CPU0")

    bench.step("DEV0")

    assert in_atc(bench, A) is None
    assert bench.next_step("DEV0") == "atc_lookup"
    bench.go("DEV0")
    assert [access.pfn for access in bench.of_kind(Access)] == [pte_pfn(bench.entry())]


def test_an_invalidation_of_another_page_cancels_nothing() -> None:
    """Only a translation of a page that the invalidation covers is thrown away."""
    columns = (column("CPU0", run("zap_pte_range", A)), column("DEV0", load(B, "r0")))
    bench = alone(*columns)
    bench.go("DEV0", before="atc_insert")
    bench.go("CPU0")

    bench.go("DEV0")

    assert bench.made.count("walk") == 1


def test_drain_waits_for_an_issued_access() -> None:
    """An invalidation is complete only when an access issued through what it dropped has ended."""
    bench = reader()
    bench.go("DEV0", before="access")
    with pytest.raises(AssertionError, match="CPU0 waits for ever"):
        bench.go("CPU0")
    assert bench.next_step("CPU0") == "wait_invalidate_completion"
    assert [i.state for i in bench.of_kind(Invalidation)] == ["sent", "applied"]

    bench.go("DEV0")
    bench.go("CPU0")

    states = [i.state for i in bench.of_kind(Invalidation)]
    assert states == ["sent", "applied", "drained", "completed"]


def test_drain_does_not_wait_for_later_accesses() -> None:
    """An access that was issued after the drop went through what is right: it holds up nobody."""
    columns = (column("CPU0", run("wp_page_copy", A)), column("DEV0", load(A, "r0")))
    bench = Bench(scene(*columns, places=(location("A", state=State.COW),)), "range_end")
    bench.go("CPU0", before="arch_invalidate_secondary_tlbs")
    bench.step("CPU0")
    server = bench.task("d0.invalidate")
    while server.request is not None and server.request.name != "drain":
        assert server.step(bench.store)

    bench.go("DEV0", before="access")

    bench.go("CPU0")


def test_drain_waits_for_the_table_loads_of_a_cancelled_walk() -> None:
    """Walking level by level, a cancelled walk may still load from tables, so it is waited for."""
    bench = reader(warm=False, walk_by_level=True)
    bench.go("DEV0", before="walk_level1")
    with pytest.raises(AssertionError, match="CPU0 waits for ever"):
        bench.go("CPU0")

    bench.go("DEV0", before="page_request")

    bench.go("CPU0")


def test_an_invalidation_does_not_wait_for_a_page_request() -> None:
    """A thread parked on a page request has no table load under way, so nobody waits for it."""
    columns = (column("CPU0", run("zap_pte_range", A)), column("DEV0", load(A, "r0")))
    bench = Bench(scene(*columns, places=(location("A", state=State.NONE),)), "range_end")
    bench.go("DEV0", before="page_request")

    bench.go("CPU0")

    assert "wait_invalidate_completion" in bench.made


def test_walking_by_level_is_a_step_a_table() -> None:
    """One step finds the root and one each of the four levels, down to the leaf."""
    bench = reader(warm=False, walk_by_level=True)

    bench.go("DEV0")

    levels = "walk walk_level4 walk_level3 walk_level2 walk_level1"
    assert bench.made == ["atc_lookup", *levels.split(), "atc_insert", "access", "end"]


def test_a_missing_page_is_asked_for() -> None:
    """A fault becomes a page request, and after its one response the translation is made anew."""
    bench = reader(State.NONE, warm=False)

    bench.go("DEV0")

    asked = "atc_lookup walk atc_insert page_request page_response"
    assert bench.made == [*asked.split(), *MISS.split()]
    assert [fault.answer for fault in bench.of_kind(Fault)] == ["success"]


def test_a_store_without_permission_is_asked_for() -> None:
    """A cached read-only translation is a miss for a store, and the kernel then breaks COW."""
    places = (location("A", state=State.COW),)
    bench = Bench(scene(column("DEV0", store(A, 4)), places=places, warm=(A,)))
    old = pte_pfn(bench.entry())

    bench.go("DEV0")

    (access,) = bench.of_kind(Access)
    assert (access.value, access.pfn) == (4, pte_pfn(bench.entry()))
    assert access.pfn != old


def test_a_refused_page_request_denies_the_access() -> None:
    """Without a mapping the kernel answers invalid, and the access never takes effect."""
    bench = reader(State.NONE, warm=False)
    bench.store.put(("vma", 0, A), None)

    bench.go("DEV0")

    assert [denied.reason for denied in bench.of_kind(Denied)] == ["invalid request"]
    assert bench.of_kind(Access) == []


class NeverFinds(Device):
    """Translates as if nothing were ever mapped."""

    async def walk(self, thread: object, intent: Intent) -> WalkFault:
        """Find nothing."""
        del thread, intent
        return WalkFault("not-present", 1)


def test_page_requests_are_not_made_for_ever() -> None:
    """A fault that is answered and never helps is given up after a bounded number of requests."""
    bench = Bench(scene(column("DEV0", load(A, "r0"))), make_device=NeverFinds)

    bench.go("DEV0")

    assert bench.made.count("page_request") == FAULTS_MAX
    assert bench.of_kind(Fault)[-1].exhausted


def test_a_page_of_the_supervisor_is_no_translation() -> None:
    """A leaf that users may not reach is answered as if there were none."""
    bench = alone(column("DEV0", load(A, "r0")))
    word = bench.whole.kslot.entries[A].at(bench.store)
    bench.store.store(word, bench.store.load(word) & ~USER)

    answer = bench.whole.devices[0].step_walk(bench.store, bench.slot.sites[A])

    assert answer == WalkFault("privileged", 1)


def test_a_prefetch_asks_for_no_page() -> None:
    """A speculative translation that faults is forgotten: nobody is asked, nothing is cached."""
    places = (location("A", state=State.NONE),)
    bench = Bench(scene(column("DEV0", load(A, "r0")), places=places, speculate=(A,)))

    for _ in range(3):
        assert bench.step("speculation0")

    assert bench.made == ["atc_lookup", "walk", "atc_insert"]
    assert in_atc(bench, A) is None


def test_a_full_atc_gives_up_its_oldest() -> None:
    """With one entry, a second page takes the place of the first."""
    bench = alone(column("DEV0", load(A, "r0"), load(B, "r1")), atc_entries=1)

    bench.go("DEV0")

    assert in_atc(bench, A) is None
    assert in_atc(bench, B) is not None


def test_the_iotlb_answers_what_the_atc_has_lost() -> None:
    """With an IOTLB in front, a page that fell out of the ATC is translated without the tables."""
    lines = (load(A, "r0"), load(B, "r1"), load(A, "r2"))
    bench = alone(column("DEV0", *lines), atc_entries=1, iotlb=True)
    bench.go("DEV0", before="end")
    held = in_iotlb(bench, A)
    bench.store.store(bench.whole.kslot.entries[A].word, 0)

    assert held is not None
    assert in_atc(bench, A) == held
    site = bench.slot.sites[A]
    assert bench.whole.devices[0].step_walk(bench.store, site) == held


def test_the_iotlb_is_invalidated_before_the_atc() -> None:
    """Else the ATC could be filled again from the IOTLB after its own invalidation."""
    bench = reader(iotlb=True)
    assert in_iotlb(bench, A) is not None
    bench.go("CPU0", before="wait_invalidate_completion")

    steps = []
    while bench.next_step("d0.invalidate") != "invalidate_completion":
        steps.append(bench.next_step("d0.invalidate"))
        bench.task("d0.invalidate").step(bench.store)

    assert steps[1:] == ["iotlb_invalidate", "atc_invalidate", "drain"]
    assert (in_iotlb(bench, A), in_atc(bench, A)) == (None, None)


def test_the_iotlb_does_not_hide_a_permission_that_grew() -> None:
    """A page that became writable in place, which nobody is told of, can be written by a device."""
    bench = reader(State.COW, iotlb=True)
    thread = DeviceThread(bench.slot, "DEV0", 1)
    site = bench.slot.sites[A]
    bench.store.put(("refs", pte_pfn(bench.entry())), 1)
    held = in_iotlb(bench, A)
    assert held is not None
    assert not held.writable

    bench.go("CPU0")

    found = bench.whole.devices[thread.slot.index].step_walk(bench.store, site, write=True)
    assert isinstance(found, atc.Cached)
    assert found.writable


@pytest.mark.parametrize(("pages", "left"), [(1, [B]), (1 << 20, [])])
def test_an_invalidation_drops_every_page_that_it_covers(pages: int, left: list[int]) -> None:
    """One page drops one translation, a block of pages all those in it."""
    bench = alone(column("DEV0", load(A, "r0")), warm=(A, B))
    site = bench.slot.sites[A]
    block = pages * PAGE_SIZE
    request = InvalidateRequest(0, site.pasid, site.va // block * block, block, 0)

    bench.whole.devices[0].step_apply(bench.store, request)

    assert [place for place in (A, B) if in_atc(bench, place)] == left


def test_an_invalidation_keeps_to_its_pasid() -> None:
    """The same address of another address space stays cached."""
    bench = alone(column("DEV0", load(A, "r0")), warm=(A, B))
    request = InvalidateRequest(0, bench.slot.sites[A].pasid + 1, 0, 1 << 47, 0)

    bench.whole.devices[0].step_apply(bench.store, request)

    assert all(in_atc(bench, place) for place in (A, B))


def test_a_reset_forgets_a_slot() -> None:
    """Between two batches neither cache keeps anything."""
    bench = alone(column("DEV0", load(A, "r0")), warm=(A, B), iotlb=True)

    bench.whole.devices[0].reset(bench.store, bench.slot)

    assert [in_atc(bench, A), in_iotlb(bench, A), in_atc(bench, B)] == [None, None, None]


def test_a_stale_hit_is_told() -> None:
    """A hit through an entry that has changed since is reported as stale."""
    columns = (column("CPU0", run("wp_page_copy", A)), column("DEV0", load(A, "r0")))
    bench = Bench(scene(*columns, places=(location("A", state=State.COW),), warm=(A,)), "none")
    bench.go("CPU0")

    bench.go("DEV0")

    (access,) = bench.of_kind(Access)
    assert (access.hit, access.stale) == (True, True)


def test_what_is_forgotten_in_passing_is_no_progress() -> None:
    """A gap in messages empties the caches; that a column has ended is still known."""
    bench = Bench(scene(column("DEV0", load(A)), column("DEV1"), warm=(A,), stop_markers="on"))
    bench.go("DEV0")
    device = bench.whole.devices[0]
    ended = bench.store.get(device._ended_cell(bench.slot))

    device.forget(bench.store, bench.slot)

    assert in_atc(bench, A) is None
    assert ended is not None
    assert bench.store.get(device._ended_cell(bench.slot)) == ended


def test_what_is_forgotten_in_passing_is_no_register() -> None:
    """A device that was detached, and then misses a message, is not attached by that."""
    bench = Bench(scene(column("CPU0", run("iommu_detach_device", A)), column("DEV0", load(A))))
    device = bench.whole.devices[0]
    assert device.ats_enabled(bench.store, bench.slot)
    bench.store.put(function_cell(device.number, bench.slot.index), ATS_DISABLED)

    device.forget(bench.store, bench.slot)

    assert not device.ats_enabled(bench.store, bench.slot)
