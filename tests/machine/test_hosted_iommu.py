"""IOMMUs that the daemon hosts: what they cache, and what an invalidation of them waits for."""

from __future__ import annotations

import msgspec
import pytest
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location, run

from shootdown_daemon.machine.hosted_iommu import Cell, HostedIommus, Wanted, is_walking
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.iommu_config import IommuConfig
from shootdown_engine.store import deliver
from shootdown_engine.task import Task
from shootdown_engine.translation_cache import Cached
from shootdown_protocol.memory import ACCESSED, DIRTY, PAGE_SIZE
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.program import State

DEVICE = 0


class Hosted:
    """One IOMMU before a page that a CPU zaps."""

    def __init__(self, *options: str) -> None:
        """Lay the page out, with some options on; nothing is cached."""
        columns = column("CPU0", run("zap_pte_range", 0)), column("DEV0", load(0))
        places = (location("A", state=State.RW),)
        program = scene(*columns, places=places)
        program = msgspec.structs.replace(program, options=dict.fromkeys(options, "on"))
        bench = self.bench = Bench(program, "none")
        config = IommuConfig(0, "", bench.whole.directory)
        self.iommus = HostedIommus(bench.whole.program, bench.memory, config)
        self.store, self.kslot = bench.store, bench.whole.kslot
        self.site = bench.slot.sites[0]

    def wanted(self, *, write: bool = False) -> Wanted:
        """A translation request for the page."""
        return Wanted(DEVICE, 1, self.site.pasid, self.site.vpn << 12, write, 0)

    def invalidate(self) -> tuple[Cell, ...]:
        """Tell the IOMMU that the page is gone; gives the walks that it waits for."""
        first = int(InvalidateFlag.IOTLB_FIRST)
        request = InvalidateRequest(
            0, self.site.pasid, self.site.vpn << 12, PAGE_SIZE, 0, flags=first
        )
        return self.iommus.invalidate(self.store, DEVICE, request, [self.kslot])

    def walker(self) -> Task:
        """The server of the device's walks."""
        (server,) = self.iommus.servers(self.kslot, DEVICE, "d0")
        return server


def test_what_is_cached_outlives_its_entry_until_it_is_invalidated() -> None:
    """The IOTLB answers from what it holds; an invalidation empties it."""
    hosted = Hosted("iotlb")
    before = hosted.iommus.translate(hosted.store, hosted.wanted())
    hosted.bench.go("CPU0")

    held = hosted.iommus.translate(hosted.store, hosted.wanted())
    hosted.invalidate()
    after = hosted.iommus.translate(hosted.store, hosted.wanted())

    assert isinstance(before, Cached)
    assert held == before
    assert not isinstance(after, Cached)


@pytest.mark.parametrize("write", [False, True])
def test_a_translation_marks_what_it_is_for(*, write: bool) -> None:
    """To read sets the accessed bit and gives no permission to write what is not dirty."""
    hosted = Hosted("ad_bits")
    entry = hosted.kslot.entries[0].word
    hosted.store.store(entry, hosted.store.load(entry) & ~(ACCESSED | DIRTY))

    found = hosted.iommus.translate(hosted.store, hosted.wanted(write=write))

    assert isinstance(found, Cached)
    assert found.writable is write
    marks = hosted.store.load(entry) & (ACCESSED | DIRTY)
    assert marks == (ACCESSED | DIRTY if write else ACCESSED)


def test_an_invalidation_waits_for_table_loads_of_walks_under_way() -> None:
    """What such a walk finds is not kept, and until it has ended the table may not be freed."""
    hosted = Hosted("walk_by_level", "iotlb")
    walker = hosted.walker()
    deliver(hosted.store, ("translate", hosted.kslot.index, DEVICE), hosted.wanted())
    for _ in range(2):
        assert walker.step(hosted.store)

    (walk,) = hosted.invalidate()
    under_way = is_walking(hosted.store, walk)
    while walker.step(hosted.store):
        pass

    assert (under_way, is_walking(hosted.store, walk)) == (True, False)
    site, iotlb = hosted.site, hosted.iommus.of(DEVICE).iotlb
    assert iotlb.look_up(hosted.store, site.pasid, site.vpn) is None
