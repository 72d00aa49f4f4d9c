"""Each operation makes its steps and announces its phases in the order of its kernel function.

The orders are rows 1 to 27 of the kernel's operation table, written out.
"""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench
from tests.machine.page_orders import PAGE_CASES
from tests.machine.table_orders import TABLE_CASES

from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_protocol.memory import pte_pfn
from shootdown_protocol.program import State

WP_PAGE_COPY = """
mmap_read_lock ptep_get_lockless pte_offset_map_lock wp_can_reuse_anon_folio get_page
pte_unmap_unlock alloc_page copy_user_page invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set>
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> put_page
<op_return> mmap_read_unlock return end
"""
ZERO_PAGE_WRITE = """
mmap_read_lock ptep_get_lockless pte_offset_map_lock pte_unmap_unlock
alloc_page clear_user_page invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set>
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> put_page
<op_return> mmap_read_unlock return end
"""
DO_ANONYMOUS_PAGE = """
mmap_read_lock ptep_get_lockless vma_lookup alloc_page clear_user_page
pte_offset_map_lock set_pte_at pte_unmap_unlock <op_return> mmap_read_unlock return end
"""
ZAP_PTE_RANGE = """
mmap_read_lock invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock>
<before_free> put_page invalidate_range_end <range_end> <op_return> mmap_read_unlock return end
"""
UNMAP_VMAS = """
mmap_write_lock vm_flags_reset invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_get_and_clear <clear_flush> pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> <before_free> put_page <op_return> mmap_write_unlock return end
"""
CHANGE_PTE_RANGE = """
mmap_write_lock vm_flags_reset invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_modify_prot_start <clear_flush>
ptep_modify_prot_commit <after_set> pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
COPY_PTE_RANGE = """
mmap_write_lock invalidate_range_start <range_start> pte_offset_map_lock pte_offset_map_lock
get_page <before_clear> ptep_set_wrprotect <clear_flush> set_pte_at <after_set>
pte_unmap_unlock pte_unmap_unlock <after_unlock>
invalidate_range_end <range_end> <op_return> mmap_write_unlock return end
"""
REPLACE_PAGE = """
mmap_read_lock ptep_get_lockless get_ksm_page pages_identical invalidate_range_start <range_start>
pte_offset_map_lock <before_clear> ptep_clear_flush <clear_flush> set_pte_at <after_set>
pte_unmap_unlock <after_unlock> invalidate_range_end <range_end> put_page
<op_return> mmap_read_unlock return end
"""

IOMMU_SVA_BIND_DEVICE = "cache_tag_assign set_dev_pasid return end"
IOMMU_SVA_UNBIND_DEVICE = """
pasid_clear_entry arch_invalidate_secondary_tlbs wait_invalidate_completion
drain_pasid_prq iopf_queue_remove_device
cache_tag_unassign return end
"""

IOMMU_ATTACH_DEVICE = "cache_tag_assign set_dev_pasid pci_enable_ats return end"
IOMMU_DETACH_DEVICE = """
pci_disable_ats pci_wait_for_pending_transaction pasid_clear_entry
arch_invalidate_secondary_tlbs wait_invalidate_completion
drain_pasid_prq cache_tag_unassign return end
"""
PCI_RESET_FUNCTION = """
pci_disable_ats pci_wait_for_pending_transaction pcie_flr pci_dev_wait
release_invalidations flush_iotlb wait_invalidate_completion pci_enable_ats return end
"""

CASES = [
    ("wp_page_copy", State.COW, WP_PAGE_COPY),
    ("wp_page_copy", State.ZERO, ZERO_PAGE_WRITE),
    ("do_anonymous_page", State.NONE, DO_ANONYMOUS_PAGE),
    ("zap_pte_range", State.RW, ZAP_PTE_RANGE),
    ("unmap_vmas", State.RW, UNMAP_VMAS),
    ("change_pte_range", State.RW, CHANGE_PTE_RANGE),
    ("copy_pte_range", State.RW, COPY_PTE_RANGE),
    ("replace_page", State.KSM_PAIR, REPLACE_PAGE),
    *PAGE_CASES,
    *TABLE_CASES,
    ("iommu_sva_bind_device", State.RW, IOMMU_SVA_BIND_DEVICE),
    ("iommu_sva_unbind_device", State.RW, IOMMU_SVA_UNBIND_DEVICE),
    ("iommu_attach_device", State.RW, IOMMU_ATTACH_DEVICE),
    ("iommu_detach_device", State.RW, IOMMU_DETACH_DEVICE),
    ("pci_reset_function", State.RW, PCI_RESET_FUNCTION),
    ("mmu_notifier_register", State.RW, "mmap_write_lock mmap_write_unlock return end"),
    ("mmu_interval_notifier_remove", State.RW, "return end"),
]
IDS = [f"{operation}-{state.name}" for operation, state, _ in CASES]


@pytest.mark.parametrize(("operation", "state", "expected"), CASES, ids=IDS)
def test_an_operation_goes_in_its_kernel_order(operation: str, state: State, expected: str) -> None:
    """Steps and phases come exactly as the kernel's function has them."""
    bench = Bench.of(operation, state)
    bench.announce(operation)

    bench.go("CPU0")

    assert bench.made == expected.split()


@pytest.mark.parametrize(("operation", "state", "_expected"), CASES, ids=IDS)
def test_the_phases_declared_are_those_announced(
    operation: str, state: State, _expected: str
) -> None:
    """The registry says the phases that are announced, in order; of one repeated, the last."""
    bench = Bench.of(operation, state)
    bench.announce(operation)

    bench.go("CPU0")

    announced = [step.strip("<>") for step in bench.made if step.startswith("<")]
    last = list(dict.fromkeys(reversed(announced)))[::-1]
    assert last == list(OPERATIONS[operation].phases)


def test_every_operation_is_looked_at() -> None:
    """An operation that is added must be added here."""
    assert {operation for operation, _, _ in CASES} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("operation", "absent"),
    [
        ("zap_pte_range", "ptep_get_and_clear put_page"),
        ("unmap_vmas", "ptep_get_and_clear put_page"),
        ("change_pte_range", "ptep_modify_prot_start ptep_modify_prot_commit"),
    ],
)
def test_an_empty_entry_is_left_alone(operation: str, absent: str) -> None:
    """Where nothing is mapped, an operation takes and drops its locks and changes no entry."""
    bench = Bench.of(operation, State.NONE)
    bench.announce(operation)

    bench.go("CPU0")

    assert not set(absent.split()) & set(bench.made)
    assert "<clear_flush>" not in bench.made
    assert {"pte_offset_map_lock", "pte_unmap_unlock", "<range_end>"} <= set(bench.made)


def test_a_sole_owner_keeps_its_page() -> None:
    """A write fault on a page with one reference makes it writable in place and tells nobody."""
    bench = Bench.of("wp_page_copy", State.COW)
    bench.announce("wp_page_copy")
    page = pte_pfn(bench.entry())
    bench.store.put(("refs", page), 1)

    bench.go("CPU0")

    assert "ptep_set_access_flags" in bench.made
    assert not {"alloc_page", "invalidate_range_start", "<clear_flush>"} & set(bench.made)
    assert pte_pfn(bench.entry()) == page
