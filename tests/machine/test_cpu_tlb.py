"""Primary TLBs and per-VMA locks: what a CPU may still reach, and who waits for whom."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location, run, store

from shootdown_daemon.machine.vma_lock import end_read, end_write_all, start_read, start_write
from shootdown_engine.trap import BLOCKED
from shootdown_protocol.history import Access
from shootdown_protocol.program import State


def zapped(tlb: str = "off") -> Bench:
    """CPU0 zaps A, which CPU1 loads twice."""
    columns = column("CPU0", run("zap_pte_range", 0)), column("CPU1", load(0), load(0))
    return Bench(scene(*columns, places=(location("A", state=State.RW),), cpu_tlb=tlb))


def test_a_cpu_goes_by_its_tlb_until_it_takes_the_ipi() -> None:
    """Cleared and not yet flushed, the entry still serves CPU1; the access is noted as stale."""
    bench = zapped("on")
    bench.step("CPU1")
    bench.go("CPU0", before="flush_tlb_multi")

    bench.step("CPU1")

    first, second = bench.of_kind(Access)
    assert (first.hit, second.hit, second.stale) == (False, True, True)
    assert first.pfn == second.pfn


def test_a_flush_waits_for_every_cpu() -> None:
    """CPU0 cannot go on before CPU1 has taken the IPI, and CPU1's TLB is then empty."""
    bench = zapped("on")
    bench.step("CPU1")
    bench.go("CPU0", before="wait_ipi")

    assert not bench.step("CPU0")
    assert bench.task("ipi1").step(bench.store)
    assert bench.step("CPU0")
    assert bench.store.get(("tlb", 0, 1, 0)) is None


@pytest.mark.parametrize(("option", "first"), [("on", "flush_tlb_multi"), ("after", "secondary")])
def test_the_option_says_which_tlbs_are_flushed_first(option: str, first: str) -> None:
    """At one point x86 flushes the CPUs and then tells devices, arm64 the other way round."""
    bench = zapped(option)
    bench.step("CPU1")

    bench.go("CPU0", before="wait_ipi")

    told = "arch_invalidate_secondary_tlbs" in bench.made
    assert told is (first == "secondary")


def test_a_batched_unmap_asks_the_cpus_before_the_page_is_written() -> None:
    """Devices are told as the entry is cleared, the CPUs after range_end and before the I/O."""
    columns = column("CPU0", run("try_to_unmap", 0)), column("CPU1", load(0))
    places = (location("A", state=State.RW),)
    bench = Bench(scene(*columns, places=places, cpu_tlb="on"))
    bench.step("CPU1")

    bench.go("CPU0", before="wait_ipi")

    names = ["ptep_get_and_clear", "arch_invalidate_secondary_tlbs", "set_tlb_ubc_flush_pending"]
    order = [*names, "invalidate_range_end", "flush_tlb_multi"]
    assert [step for step in bench.made if step in order] == order


def test_without_the_option_nobody_sends_an_ipi() -> None:
    """CPUs walk at every access, and no step is made of flushing them."""
    bench = zapped()

    bench.go("CPU0")

    assert "flush_tlb_multi" not in bench.made


@pytest.mark.parametrize(("locked", "goes"), [(0, False), (1, True)])
def test_a_fault_waits_for_its_own_mapping_only(locked: int, goes: bool) -> None:
    """Whoever holds mmap_lock for writing keeps out faults on what it has write-locked."""
    places = location("A", state=State.NONE), location("B", state=State.NONE)
    program = scene(column("CPU0", store(0, 1)), places=places, vma_lock="on")
    bench = Bench(program)
    start_write(bench.store, 0, (locked,), (0, 1), "somebody")
    bench.go("CPU0", before="lock_vma_under_rcu")

    assert bench.step("CPU0") is goes


def test_a_writer_waits_for_readers_of_its_mappings() -> None:
    """A mapping that is read on any CPU cannot be write-locked, and can be afterwards."""
    bench = zapped()
    start_read(bench.store, 0, 1, 7)

    assert start_write(bench.store, 0, (0, 1), (0, 7), "me") is BLOCKED
    end_read(bench.store, 0, 1, 7)
    assert start_write(bench.store, 0, (0, 1), (0, 7), "me") is not BLOCKED
    assert start_read(bench.store, 0, 0, 7) is BLOCKED
    end_write_all(bench.store, 0, (0, 1), "me")
    assert start_read(bench.store, 0, 0, 7) is not BLOCKED
