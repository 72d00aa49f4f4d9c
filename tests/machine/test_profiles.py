"""Kernel profiles: where Linux notifies, operation by operation; and the flush queue."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench

from shootdown_daemon.machine.disciplines import DISCIPLINES, bind_operation
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.profiles import PROFILES, UNDER_LOCK, times_of
from shootdown_protocol.program import State

LOCKED, END, GATHER, RETURN = (
    Phase.CLEAR_FLUSH,
    Phase.RANGE_END,
    Phase.BEFORE_FREE,
    Phase.OP_RETURN,
)


@pytest.mark.parametrize(
    ("operation", "old", "new"),
    [
        ("wp_page_copy", {LOCKED}, {LOCKED}),
        ("zap_pte_range", {LOCKED, END}, {LOCKED}),
        ("unmap_vmas", {END, GATHER}, {GATHER}),
        ("change_pte_range", {END}, {RETURN}),
        ("copy_pte_range", {END}, {RETURN}),
        ("replace_page", {END}, {LOCKED}),
        ("do_anonymous_page", set(), set()),
        ("try_to_unmap", {Phase.AFTER_SET, END}, {LOCKED}),
        ("try_to_migrate_one", {END}, {LOCKED}),
    ],
)
def test_a_profile_notifies_where_that_kernel_does(
    operation: str, old: set[Phase], new: set[Phase]
) -> None:
    """Since v6.6 it is the CPU TLB's flush, before it was the helper, the gather and range_end."""
    phases = OPERATIONS[operation].phases

    bound = [set(bind_operation(DISCIPLINES[name], operation, phases)) for name in PROFILES]

    assert bound == [old, new]


def test_an_operation_without_a_line_uses_a_flush_helper() -> None:
    """What a version's table does not have notifies under the lock."""
    assert times_of("linux-6.18", "no_such_operation") == UNDER_LOCK


@pytest.mark.parametrize("version", PROFILES)
def test_tables_name_operations(version: str) -> None:
    """A line for an operation that is not there would never be used."""
    assert set(PROFILES[version]) <= set(OPERATIONS)


def test_mprotect_of_the_new_kernel_notifies_after_range_end() -> None:
    """v6.18 flushes once, after ``invalidate_range_end()`` and before the return."""
    bench = Bench.of("change_pte_range", State.RW, "linux-6.18")

    bench.go("CPU0")

    notified = bench.made.index("arch_invalidate_secondary_tlbs")
    before, after = bench.made[:notified], bench.made[notified:]
    assert "invalidate_range_end" in before
    assert "mmap_write_unlock" in after


def test_the_flush_queue_lets_the_page_go_first() -> None:
    """Under ``lazy`` the unmap is over, and the page free, before anybody is told."""
    bench = Bench.of("unmap_vmas", State.RW, "lazy")

    bench.go("CPU0")

    assert "put_page" in bench.made
    assert "arch_invalidate_secondary_tlbs" not in bench.made
    assert bench.step("flush_queue")
    assert bench.step("flush_queue")
    assert bench.made[-1] == "flush_iotlb"
