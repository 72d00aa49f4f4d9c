"""Pages with holders: what is pinned stays, what is in swap comes back, forks copy or share."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench, forked, scene
from tests.verify.record_builders import column, load, location, run, store

from shootdown_protocol.history import Access, Denied
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write
from shootdown_protocol.program import State
from shootdown_protocol.swapops import SwapType, pte_none, swp_type

WRITABLE = location("A", state=State.RW)


@pytest.mark.parametrize(
    "operation", ["try_to_migrate_one", "write_protect_page", "migrate_vma_collect"]
)
def test_a_page_that_somebody_holds_is_put_back(operation: str) -> None:
    """A reference that was not expected leaves the mapping as it was, writable and in place."""
    state = State.KSM_TWIN if operation == "write_protect_page" else State.RW
    bench = Bench.of(operation, state)
    page = pte_pfn(bench.entry())
    bench.store.put(("refs", page), 2)

    bench.go("CPU0")

    assert (pte_pfn(bench.entry()), bench.refs(page)) == (page, 2)
    assert pte_write(bench.entry())


def test_a_pinned_page_survives_reclaim_in_the_swap_cache() -> None:
    """It is unmapped and written out but not freed, and the next fault maps it again."""
    columns = column("CPU0", run("try_to_unmap_one", 0), load(0, "r0"))
    bench = Bench(scene(columns, places=[WRITABLE]))
    page = pte_pfn(bench.entry())
    bench.store.put(("refs", page), 2)

    bench.go("CPU0")

    assert pte_pfn(bench.entry()) == page


def test_what_was_reclaimed_is_read_from_swap() -> None:
    """The frame is freed, and the value comes back in another with its version."""
    columns = column("CPU0", store(0, 5), run("try_to_unmap_one", 0), load(0, "r0"))
    bench = Bench(scene(columns, places=[WRITABLE]))
    page = pte_pfn(bench.entry())

    bench.go("CPU0", before="alloc_page")
    kept = bench.refs(page)
    bench.go("CPU0")

    assert kept is None
    assert [(access.value, access.order) for access in bench.of_kind(Access)] == [(5, 1), (5, 1)]


def test_a_page_of_a_read_only_mapping_is_not_writable_when_it_is_swapped_in() -> None:
    """The swap entry was exclusive, but the mapping allows no store."""
    columns = column("CPU0", run("try_to_unmap_one", 0), load(0, "r0"), store(0, 5))
    bench = Bench(scene(columns, places=[location("A", state=State.RO)]))

    bench.go("CPU0")

    assert pte_present(bench.entry())
    assert not pte_write(bench.entry())
    assert len(bench.of_kind(Denied)) == 1


def test_a_zap_gives_up_a_swap_slot() -> None:
    """What is read after a zap of a page in swap is zero, of a new epoch."""
    columns = column("CPU0", run("zap_pte_range", 0), load(0, "r0"))
    bench = Bench(scene(columns, places=[location("A", state=State.SWAPPED, value=7)]))

    bench.go("CPU0")

    (access,) = bench.of_kind(Access)
    assert (access.value, access.order >> 10) == (0, 1)


def test_a_fork_of_a_pinned_page_copies_it() -> None:
    """The child has a page of its own, and the parent's entry lets stores through as before."""
    parent, child = forked()
    places = [location("A", state=State.PINNED), child]
    bench = Bench(scene(column("CPU0", run("copy_pte_range", 0)), places=places))

    bench.go("CPU0")

    assert parent.name == "A"
    assert pte_pfn(bench.entry(0)) != pte_pfn(bench.entry(1))
    assert pte_write(bench.entry(0))


def test_a_fork_of_a_page_in_swap_shares_its_slot() -> None:
    """Both entries name the slot, and a page that is swapped in from it may not be written."""
    _, child = forked()
    columns = column("CPU0", run("copy_pte_range", 0), load(1, "r0"))
    places = [location("A", state=State.SWAPPED, value=7), child]
    bench = Bench(scene(columns, places=places))

    bench.go("CPU0")

    assert swp_type(bench.entry(0)) is SwapType.SWAP
    assert pte_present(bench.entry(1))
    assert not pte_write(bench.entry(1))


def test_a_page_given_to_a_device_comes_back_by_a_fault() -> None:
    """While the device has it the entry maps nothing; a load brings the value back."""
    columns = column("CPU0", store(0, 5), run("migrate_vma_collect", 0), load(0, "r0"))
    bench = Bench(scene(columns, places=[WRITABLE]))

    bench.go("CPU0", before="copy_from_device")
    given = bench.entry()
    bench.go("CPU0")

    assert swp_type(given) is SwapType.DEVICE_PRIVATE
    assert [access.value for access in bench.of_kind(Access)] == [5, 5]


def test_madvise_free_lets_a_clean_page_go_and_keeps_one_that_is_written() -> None:
    """Reclaim throws the first away without writing it out, and keeps the second mapped."""
    for written in (False, True):
        lines = [store(0, 6)] if written else []
        columns = column(
            "CPU0",
            store(0, 5),
            run("madvise_free_single_vma", 0),
            *lines,
            run("try_to_unmap_one", 0),
        )
        bench = Bench(scene(columns, places=[WRITABLE], ad_bits="on"))

        bench.go("CPU0")

        assert pte_none(bench.entry()) is not written
