"""Operations of the mm, one family a file, each in its kernel order and under its kernel name.

`OPERATIONS` is the registry: what scenarios, steps, reports and the matrix call them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.aging import (
    DAMON_FOLIO_YOUNG_ONE,
    FOLIO_REFERENCED_ONE,
    PAGE_IDLE_CLEAR_PTE_REFS_ONE,
    run_damon_folio_young_one,
    run_folio_referenced_one,
    run_page_idle_clear_pte_refs_one,
)
from shootdown_daemon.machine.operations.anonymous import DO_ANONYMOUS_PAGE, run_do_anonymous_page
from shootdown_daemon.machine.operations.attach import (
    IOMMU_ATTACH_DEVICE,
    IOMMU_DETACH_DEVICE,
    PCI_RESET_FUNCTION,
    run_iommu_attach_device,
    run_iommu_detach_device,
    run_pci_reset_function,
)
from shootdown_daemon.machine.operations.cow import (
    WP_PAGE_COPY,
    WP_PAGE_REUSE,
    run_wp_page_copy,
    run_wp_page_reuse,
)
from shootdown_daemon.machine.operations.device_exclusive import (
    MAKE_DEVICE_EXCLUSIVE,
    run_make_device_exclusive,
)
from shootdown_daemon.machine.operations.exit import EXIT_MMAP, run_exit_mmap
from shootdown_daemon.machine.operations.fork import COPY_PTE_RANGE, run_copy_pte_range
from shootdown_daemon.machine.operations.gup import (
    PIN_USER_PAGES,
    PROCESS_VM_READV,
    run_pin_user_pages,
    run_process_vm_readv,
)
from shootdown_daemon.machine.operations.gup_fast import (
    GUP_FAST_PTE_RANGE,
    run_gup_fast_pte_range,
)
from shootdown_daemon.machine.operations.huge_memory import (
    DO_HUGE_PMD_WP_PAGE,
    DO_HUGE_ZERO_WP_PMD,
    SPLIT_HUGE_PMD,
    run_do_huge_pmd_wp_page,
    run_do_huge_zero_wp_pmd,
    run_split_huge_pmd,
)
from shootdown_daemon.machine.operations.hugetlb import (
    HUGE_PMD_UNSHARE,
    HUGETLB_WP,
    UNMAP_HUGEPAGE_RANGE,
    run_hugetlb_wp,
    run_unmap_hugepage_range,
)
from shootdown_daemon.machine.operations.hugetlb_share import (
    HUGE_PMD_SHARE,
    HUGETLB_UNSHARE_PMDS,
    run_huge_pmd_share,
    run_hugetlb_unshare_pmds,
)
from shootdown_daemon.machine.operations.hugetlb_vma import (
    COPY_HUGETLB_PAGE_RANGE,
    HUGETLB_CHANGE_PROTECTION,
    MOVE_HUGETLB_PAGE_TABLES,
    run_copy_hugetlb_page_range,
    run_hugetlb_change_protection,
    run_move_hugetlb_page_tables,
)
from shootdown_daemon.machine.operations.khugepaged import (
    COLLAPSE_HUGE_PAGE,
    COLLAPSE_PTE_MAPPED_THP,
    RETRACT_PAGE_TABLES,
    run_collapse_huge_page,
    run_collapse_pte_mapped_thp,
    run_retract_page_tables,
)
from shootdown_daemon.machine.operations.ksm import (
    REPLACE_PAGE,
    WRITE_PROTECT_PAGE,
    run_replace_page,
    run_write_protect_page,
)
from shootdown_daemon.machine.operations.madvise import (
    ZAP_PAGE_RANGE_SINGLE_BATCHED,
    run_zap_page_range_single_batched,
)
from shootdown_daemon.machine.operations.madvise_free import (
    MADVISE_FREE_SINGLE_VMA,
    run_madvise_free_single_vma,
)
from shootdown_daemon.machine.operations.mapping_dirty_helpers import (
    WP_CLEAN_PRE_VMA,
    run_wp_clean_pre_vma,
)
from shootdown_daemon.machine.operations.migrate import TRY_TO_MIGRATE_ONE, run_try_to_migrate_one
from shootdown_daemon.machine.operations.migrate_device import (
    MIGRATE_VMA_COLLECT,
    MIGRATE_VMA_INSERT_PAGE,
    run_migrate_vma_collect,
    run_migrate_vma_insert_page,
)
from shootdown_daemon.machine.operations.mmu_notifier import (
    MMU_INTERVAL_NOTIFIER_REMOVE,
    MMU_NOTIFIER_REGISTER,
    run_mmu_interval_notifier_remove,
    run_mmu_notifier_register,
)
from shootdown_daemon.machine.operations.mprotect import CHANGE_PTE_RANGE, run_change_pte_range
from shootdown_daemon.machine.operations.mremap import (
    MOVE_NORMAL_PMD,
    MOVE_PTES,
    run_move_normal_pmd,
    run_move_ptes,
)
from shootdown_daemon.machine.operations.numa import CHANGE_PROT_NUMA, run_change_prot_numa
from shootdown_daemon.machine.operations.oom_kill import OOM_REAP_TASK_MM, run_oom_reap_task_mm
from shootdown_daemon.machine.operations.page_writeback import (
    PAGE_VMA_MKCLEAN_ONE,
    run_page_vma_mkclean_one,
)
from shootdown_daemon.machine.operations.pgtable import (
    FREE_PGTABLES,
    PAGETABLE_FREE_KERNEL,
    run_free_pgtables,
    run_pagetable_free_kernel,
)
from shootdown_daemon.machine.operations.sva import (
    IOMMU_SVA_BIND_DEVICE,
    IOMMU_SVA_UNBIND_DEVICE,
    run_iommu_sva_bind_device,
    run_iommu_sva_unbind_device,
)
from shootdown_daemon.machine.operations.swap import DO_SWAP_PAGE, run_do_swap_page
from shootdown_daemon.machine.operations.task_mmu import (
    CLEAR_REFS_WRITE,
    PAGEMAP_SCAN_PMD_ENTRY,
    run_clear_refs_write,
    run_pagemap_scan_pmd_entry,
)
from shootdown_daemon.machine.operations.truncate import (
    UNMAP_MAPPING_RANGE,
    run_unmap_mapping_range,
)
from shootdown_daemon.machine.operations.uprobes import (
    REPLACE_PAGE_OF_PROBE,
    SET_ORIG_INSN,
    UPROBE_WRITE,
    run_replace_page_of_probe,
    run_set_orig_insn,
    run_uprobe_write,
)
from shootdown_daemon.machine.operations.userfaultfd import (
    MOVE_PAGES_PTES,
    UFFD_WP_RANGE,
    run_move_pages_ptes,
    run_uffd_wp_range,
)
from shootdown_daemon.machine.operations.vmscan import (
    TRY_TO_UNMAP,
    TRY_TO_UNMAP_ONE,
    run_try_to_unmap,
    run_try_to_unmap_one,
)
from shootdown_daemon.machine.operations.zap import (
    UNMAP_VMAS,
    ZAP_PTE_RANGE,
    run_unmap_vmas,
    run_zap_pte_range,
)
from shootdown_daemon.machine.phases import Phase


class Operation(NamedTuple):
    """An operation that a column may name; ``phases`` in the order it announces them."""

    name: str
    phases: tuple[Phase, ...]
    run: Callable[[Cpu], Awaitable[None]]


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(*WP_PAGE_COPY, run_wp_page_copy),
        Operation(*WP_PAGE_REUSE, run_wp_page_reuse),
        Operation(*DO_ANONYMOUS_PAGE, run_do_anonymous_page),
        Operation(*ZAP_PTE_RANGE, run_zap_pte_range),
        Operation(*UNMAP_VMAS, run_unmap_vmas),
        Operation(*CHANGE_PTE_RANGE, run_change_pte_range),
        Operation(*COPY_PTE_RANGE, run_copy_pte_range),
        Operation(*REPLACE_PAGE, run_replace_page),
        Operation(*WRITE_PROTECT_PAGE, run_write_protect_page),
        Operation(*TRY_TO_MIGRATE_ONE, run_try_to_migrate_one),
        Operation(*TRY_TO_UNMAP_ONE, run_try_to_unmap_one),
        Operation(*TRY_TO_UNMAP, run_try_to_unmap),
        Operation(*DO_SWAP_PAGE, run_do_swap_page),
        Operation(*PAGE_VMA_MKCLEAN_ONE, run_page_vma_mkclean_one),
        Operation(*CLEAR_REFS_WRITE, run_clear_refs_write),
        Operation(*PAGEMAP_SCAN_PMD_ENTRY, run_pagemap_scan_pmd_entry),
        Operation(*UFFD_WP_RANGE, run_uffd_wp_range),
        Operation(*MOVE_PAGES_PTES, run_move_pages_ptes),
        Operation(*WP_CLEAN_PRE_VMA, run_wp_clean_pre_vma),
        Operation(*MADVISE_FREE_SINGLE_VMA, run_madvise_free_single_vma),
        Operation(*UPROBE_WRITE, run_uprobe_write),
        Operation(*SET_ORIG_INSN, run_set_orig_insn),
        Operation(*REPLACE_PAGE_OF_PROBE, run_replace_page_of_probe),
        Operation(*CHANGE_PROT_NUMA, run_change_prot_numa),
        Operation(*MIGRATE_VMA_COLLECT, run_migrate_vma_collect),
        Operation(*MIGRATE_VMA_INSERT_PAGE, run_migrate_vma_insert_page),
        Operation(*MAKE_DEVICE_EXCLUSIVE, run_make_device_exclusive),
        Operation(*PIN_USER_PAGES, run_pin_user_pages),
        Operation(*PROCESS_VM_READV, run_process_vm_readv),
        Operation(*IOMMU_SVA_BIND_DEVICE, run_iommu_sva_bind_device),
        Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),
        Operation(*IOMMU_ATTACH_DEVICE, run_iommu_attach_device),
        Operation(*IOMMU_DETACH_DEVICE, run_iommu_detach_device),
        Operation(*PCI_RESET_FUNCTION, run_pci_reset_function),
        Operation(*MMU_NOTIFIER_REGISTER, run_mmu_notifier_register),
        Operation(*MMU_INTERVAL_NOTIFIER_REMOVE, run_mmu_interval_notifier_remove),
        Operation(*ZAP_PAGE_RANGE_SINGLE_BATCHED, run_zap_page_range_single_batched),
        Operation(*UNMAP_MAPPING_RANGE, run_unmap_mapping_range),
        Operation(*EXIT_MMAP, run_exit_mmap),
        Operation(*OOM_REAP_TASK_MM, run_oom_reap_task_mm),
        Operation(*MOVE_PTES, run_move_ptes),
        Operation(*MOVE_NORMAL_PMD, run_move_normal_pmd),
        Operation(*SPLIT_HUGE_PMD, run_split_huge_pmd),
        Operation(*DO_HUGE_ZERO_WP_PMD, run_do_huge_zero_wp_pmd),
        Operation(*DO_HUGE_PMD_WP_PAGE, run_do_huge_pmd_wp_page),
        Operation(*COLLAPSE_HUGE_PAGE, run_collapse_huge_page),
        Operation(*COLLAPSE_PTE_MAPPED_THP, run_collapse_pte_mapped_thp),
        Operation(*RETRACT_PAGE_TABLES, run_retract_page_tables),
        Operation(*HUGETLB_WP, run_hugetlb_wp),
        Operation(*UNMAP_HUGEPAGE_RANGE, run_unmap_hugepage_range),
        Operation(*HUGE_PMD_UNSHARE, run_unmap_hugepage_range),
        Operation(*HUGETLB_UNSHARE_PMDS, run_hugetlb_unshare_pmds),
        Operation(*HUGE_PMD_SHARE, run_huge_pmd_share),
        Operation(*COPY_HUGETLB_PAGE_RANGE, run_copy_hugetlb_page_range),
        Operation(*HUGETLB_CHANGE_PROTECTION, run_hugetlb_change_protection),
        Operation(*MOVE_HUGETLB_PAGE_TABLES, run_move_hugetlb_page_tables),
        Operation(*FREE_PGTABLES, run_free_pgtables),
        Operation(*PAGETABLE_FREE_KERNEL, run_pagetable_free_kernel),
        Operation(*GUP_FAST_PTE_RANGE, run_gup_fast_pte_range),
        Operation(*FOLIO_REFERENCED_ONE, run_folio_referenced_one),
        Operation(*PAGE_IDLE_CLEAR_PTE_REFS_ONE, run_page_idle_clear_pte_refs_one),
        Operation(*DAMON_FOLIO_YOUNG_ONE, run_damon_folio_young_one),
    )
}
"""Every operation by its kernel function's name."""
