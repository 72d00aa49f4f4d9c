"""Disciplines: where a hook is bound, and where the shipped ones notify."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, location, run

from shootdown_daemon.machine.disciplines import (
    DISCIPLINES,
    Discipline,
    Notifier,
    bind_operation,
)
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.phases import ORDER, InvalidateRange, Phase, bind, later_phase
from shootdown_protocol.program import State

NOTIFY = "arch_invalidate_secondary_tlbs"
WAIT = "wait_invalidate_completion"

LATER = {
    ("do_anonymous_page", Phase.RANGE_START): Phase.OP_RETURN,
    ("do_anonymous_page", Phase.CLEAR_FLUSH): Phase.OP_RETURN,
    ("zap_pte_range", Phase.AFTER_SET): Phase.AFTER_UNLOCK,
    ("unmap_vmas", Phase.AFTER_SET): Phase.AFTER_UNLOCK,
    ("wp_page_copy", Phase.BEFORE_FREE): Phase.OP_RETURN,
    ("change_pte_range", Phase.BEFORE_FREE): Phase.OP_RETURN,
    ("copy_pte_range", Phase.BEFORE_FREE): Phase.OP_RETURN,
    ("replace_page", Phase.BEFORE_FREE): Phase.OP_RETURN,
    **{
        (operation, Phase.AFTER_SET): Phase.AFTER_UNLOCK
        for operation in (
            "zap_page_range_single_batched",
            "unmap_mapping_range",
            "exit_mmap",
            "__oom_reap_task_mm",
            "collapse_pte_mapped_thp",
            "retract_page_tables",
            "__unmap_hugepage_range",
            "huge_pmd_unshare",
            "free_pgtables",
            "pagetable_free_kernel",
            "hugetlb_unshare_pmds",
            "folio_referenced_one",
            "page_idle_clear_pte_refs_one",
        )
    },
    ("folio_referenced_one", Phase.RANGE_START): Phase.BEFORE_CLEAR,
    ("page_idle_clear_pte_refs_one", Phase.RANGE_START): Phase.BEFORE_CLEAR,
    ("pagetable_free_kernel", Phase.RANGE_START): Phase.BEFORE_CLEAR,
    ("pagetable_free_kernel", Phase.RANGE_END): Phase.BEFORE_FREE,
}
"""Phases that an operation lacks, and what they mean there; any other means itself."""


@pytest.mark.parametrize("operation", [name for name, each in OPERATIONS.items() if each.phases])
@pytest.mark.parametrize("phase", ORDER)
def test_a_phase_that_is_lacking_means_the_next_later_one(operation: str, phase: Phase) -> None:
    """Every phase of every operation is bound where the table of phases says."""
    phases = OPERATIONS[operation].phases
    expected = phase if phase in phases else LATER.get((operation, phase), Phase.OP_RETURN)

    assert later_phase(phase, phases) is expected


def test_nobody_moves_what_announces_no_phase() -> None:
    """Unbinding a PASID flushes by itself: every discipline leaves it as it is."""
    phases = OPERATIONS["iommu_sva_unbind_device"].phases

    bound = [
        bind_operation(each, "iommu_sva_unbind_device", phases) for each in DISCIPLINES.values()
    ]

    assert not any(bound)


@given(st.sampled_from(ORDER), st.sets(st.sampled_from(ORDER)))
def test_a_phase_is_never_bound_earlier(phase: Phase, others: set[Phase]) -> None:
    """Whatever an operation has, a hook runs at its phase or later, and as early as may be."""
    phases = (*others, Phase.OP_RETURN)

    bound = later_phase(phase, phases)

    assert ORDER.index(bound) >= ORDER.index(phase)
    between = ORDER[ORDER.index(phase) : ORDER.index(bound)]
    assert not set(between) & set(phases)


def test_an_operation_that_never_returns_cannot_be_bound() -> None:
    """Without the last phase there may be no later one, and that is an error."""
    with pytest.raises(ValueError, match="op_return"):
        later_phase(Phase.RANGE_END, (Phase.RANGE_START,))


@pytest.mark.parametrize(
    ("discipline", "before", "after"),
    [
        ("range_start", "invalidate_range_start", "pte_offset_map_lock"),
        ("before_clear", "pte_offset_map_lock", "ptep_clear_flush"),
        ("clear_flush", "ptep_clear_flush", "set_pte_at"),
        ("after_set", "set_pte_at", "pte_unmap_unlock"),
        ("after_unlock", "pte_unmap_unlock", "invalidate_range_end"),
        ("range_end", "invalidate_range_end", "put_page"),
        ("before_free", "put_page", "mmap_read_unlock"),
    ],
)
def test_a_discipline_notifies_at_its_phase(discipline: str, before: str, after: str) -> None:
    """Notification and wait come together between two steps of a COW break."""
    bench = Bench.of("wp_page_copy", State.COW, discipline)

    bench.go("CPU0")

    at = bench.made.index(NOTIFY)
    assert bench.made[at - 1 : at + 3] == [before, NOTIFY, WAIT, after]
    assert bench.made.count(NOTIFY) == 1


def test_every_shipped_discipline_is_looked_at() -> None:
    """One for each phase but the return, ``none``, and those that have tests of their own."""
    others = {"linux-6.1", "linux-6.18", "lazy", "leaf_only"}

    assert set(DISCIPLINES) - others == {"none", *ORDER} - {Phase.OP_RETURN}


def test_leaf_only_says_that_no_table_was_freed() -> None:
    """It tells at the same point as ``clear_flush``, with the one hint more."""
    said = []
    for discipline in ("clear_flush", "leaf_only"):
        bench = Bench.of("wp_page_copy", State.COW, discipline)
        bench.go("CPU0", before=NOTIFY)
        request = bench.task("CPU0").request
        assert request is not None
        said.append(next(a.leaf_only for a in request.arguments if isinstance(a, InvalidateRange)))

    assert said == [False, True]


def test_none_tells_nobody() -> None:
    """Under ``none`` an operation makes all its steps and no notification."""
    bench = Bench.of("wp_page_copy", State.COW, "none")

    bench.go("CPU0")

    assert NOTIFY not in bench.made


def test_a_discipline_binds_only_what_the_scenario_names() -> None:
    """An operation that is not bound is notified as ``clear_flush`` does, whatever is chosen."""
    columns = (column("CPU0", run("wp_page_copy", 0)), column("CPU1", run("zap_pte_range", 1)))
    places = (location("A", state=State.COW), location("B", state=State.RW))
    program = msgspec.structs.replace(scene(*columns, places=places), bound=("zap_pte_range",))
    bench = Bench(program, "none")

    bench.go("CPU0")
    assert bench.made[bench.made.index(NOTIFY) - 1] == "ptep_clear_flush"
    bench.made.clear()
    bench.go("CPU1")

    assert NOTIFY not in bench.made


@dataclass(frozen=True)
class Twice(Discipline):
    """Notifies before the lock without waiting, and again under it."""

    async def range_start(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Send, and go on."""
        await cpu.queue_invalidate(span)

    async def clear_flush(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Send, and wait."""
        await cpu.arch_invalidate_secondary_tlbs(span)


def test_a_discipline_of_ones_own_may_have_several_hooks() -> None:
    """Each hook runs at its phase, and only the one that waits is waited for."""
    bench = Bench.of("wp_page_copy", State.COW, Twice())

    bench.go("CPU0")

    notified = [step for step in bench.made if step in ("queue_invalidate", NOTIFY, WAIT)]
    assert notified == ["queue_invalidate", NOTIFY, WAIT]


def test_hooks_bound_to_one_phase_keep_their_order() -> None:
    """Where an operation lacks both phases, both hooks run at its return, the earlier one first."""
    binding = bind(Twice(), OPERATIONS["do_anonymous_page"].phases)

    assert [hook.__name__ for hook in binding[Phase.OP_RETURN]] == ["range_start", "clear_flush"]
