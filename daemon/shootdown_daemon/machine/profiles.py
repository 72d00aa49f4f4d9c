"""What kernels do: at which phase each operation notifies secondary TLBs, in two versions of Linux.

A profile is a discipline that differs from operation to operation. Before v6.6 generic code called
``mmu_notifier_invalidate_range()``: from the ``_notify`` flush helpers under the page table lock,
from the gather's flush, and implicitly from ``invalidate_range_end()``. Since v6.6 the
architecture's TLB flush calls it, so secondary TLBs are told where the CPUs' are flushed and
nowhere else. Only tables may live here; `disciplines` makes disciplines of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shootdown_daemon.machine.phases import Phase

Times = tuple[Phase, ...]
UNDER_LOCK: Final[Times] = (Phase.CLEAR_FLUSH,)
"""A flush helper that clears the entry and flushes."""
AT_END: Final[Times] = (Phase.RANGE_END,)
LATE: Final[Times] = (Phase.OP_RETURN,)
"""One flush for all that was changed, after ``invalidate_range_end()`` and before the return."""
GATHERED: Final[Times] = (Phase.BEFORE_FREE,)
"""``tlb_finish_mmu()``."""
NEVER: Final[Times] = ()

LINUX_6_1: Final[Mapping[str, Times]] = MappingProxyType(
    {
        "wp_page_copy": UNDER_LOCK,
        "do_anonymous_page": NEVER,
        "zap_pte_range": (Phase.CLEAR_FLUSH, Phase.RANGE_END),
        "unmap_vmas": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "change_pte_range": AT_END,
        "copy_pte_range": AT_END,
        "replace_page": AT_END,
        "write_protect_page": AT_END,
        "try_to_migrate_one": AT_END,
        "try_to_unmap_one": (Phase.AFTER_SET, Phase.RANGE_END),
        "try_to_unmap": (Phase.AFTER_SET, Phase.RANGE_END),
        "page_vma_mkclean_one": AT_END,
        "clear_refs_write": AT_END,
        "change_prot_numa": AT_END,
        "migrate_vma_collect": AT_END,
        "make_device_exclusive": AT_END,
        "wp_page_reuse": NEVER,
        "madvise_free_single_vma": AT_END,
        "uffd_wp_range": AT_END,
        "wp_clean_pre_vma": AT_END,
        "do_swap_page": NEVER,
        "pin_user_pages": NEVER,
        "process_vm_readv": NEVER,
        "zap_page_range_single_batched": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "unmap_mapping_range": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "exit_mmap": UNDER_LOCK,
        "__oom_reap_task_mm": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "move_ptes": AT_END,
        "move_normal_pmd": AT_END,
        "collapse_huge_page": AT_END,
        "collapse_pte_mapped_thp": AT_END,
        "retract_page_tables": AT_END,
        "__unmap_hugepage_range": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "huge_pmd_unshare": (Phase.AFTER_UNLOCK, Phase.RANGE_END),
        "hugetlb_unshare_pmds": (Phase.AFTER_UNLOCK, Phase.RANGE_END),
        "huge_pmd_share": NEVER,
        "copy_hugetlb_page_range": AT_END,
        "hugetlb_change_protection": AT_END,
        "move_hugetlb_page_tables": AT_END,
        "free_pgtables": (Phase.RANGE_END, Phase.BEFORE_FREE),
        "pagetable_free_kernel": NEVER,
        "gup_fast_pte_range": NEVER,
        "folio_referenced_one": NEVER,
        "page_idle_clear_pte_refs_one": NEVER,
        "damon_folio_young_one": NEVER,
    }
)
"""v6.1. The helpers that had notified under the lock skipped the implicit call at the end.

Reclaim did not, and so told twice; migration and mremap told at the end only.
"""

LINUX_6_18: Final[Mapping[str, Times]] = MappingProxyType(
    {
        "wp_page_copy": UNDER_LOCK,
        "do_anonymous_page": NEVER,
        "zap_pte_range": UNDER_LOCK,
        "unmap_vmas": GATHERED,
        "change_pte_range": LATE,
        "copy_pte_range": LATE,
        "replace_page": UNDER_LOCK,
        "clear_refs_write": LATE,
        "change_prot_numa": LATE,
        "move_pages_ptes": (Phase.AFTER_SET,),
        "migrate_vma_collect": (Phase.AFTER_SET,),
        "wp_page_reuse": NEVER,
        "madvise_free_single_vma": LATE,
        "pagemap_scan_pmd_entry": (Phase.AFTER_SET,),
        "uffd_wp_range": LATE,
        "wp_clean_pre_vma": (Phase.AFTER_UNLOCK,),
        "do_swap_page": NEVER,
        "pin_user_pages": NEVER,
        "process_vm_readv": NEVER,
        "zap_page_range_single_batched": GATHERED,
        "unmap_mapping_range": GATHERED,
        "exit_mmap": UNDER_LOCK,
        "__oom_reap_task_mm": GATHERED,
        "move_ptes": (Phase.AFTER_SET,),
        "move_normal_pmd": (Phase.AFTER_SET,),
        "__unmap_hugepage_range": GATHERED,
        "huge_pmd_unshare": (Phase.AFTER_UNLOCK,),
        "hugetlb_unshare_pmds": (Phase.AFTER_UNLOCK,),
        "huge_pmd_share": NEVER,
        "copy_hugetlb_page_range": LATE,
        "hugetlb_change_protection": (Phase.AFTER_UNLOCK,),
        "move_hugetlb_page_tables": (Phase.AFTER_UNLOCK,),
        "free_pgtables": GATHERED,
        "pagetable_free_kernel": GATHERED,
        "gup_fast_pte_range": NEVER,
        "folio_referenced_one": NEVER,
        "page_idle_clear_pte_refs_one": NEVER,
        "damon_folio_young_one": NEVER,
    }
)
"""v6.18 on x86. ``zap_pte_range`` is the forced flush, which happens under the lock."""

PROFILES: Final[Mapping[str, Mapping[str, Times]]] = MappingProxyType(
    {"linux-6.1": LINUX_6_1, "linux-6.18": LINUX_6_18}
)
"""Phases by operation, by version."""


def times_of(version: str, operation: str) -> Times:
    """Phases at which an operation notifies in a version, whether it has them or not.

    An operation that a version's table does not have notifies under the lock, as the flush helper
    does that it uses.
    """
    return PROFILES[version].get(operation, UNDER_LOCK)
