"""Operations of the mm, one family a file, each in its kernel order and under its kernel name.

`OPERATIONS` is the registry: what scenarios, steps, reports and the matrix call them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.anonymous import DO_ANONYMOUS_PAGE, run_do_anonymous_page
from shootdown_daemon.machine.operations.cow import WP_PAGE_COPY, run_wp_page_copy
from shootdown_daemon.machine.operations.fork import COPY_PTE_RANGE, run_copy_pte_range
from shootdown_daemon.machine.operations.gup import (
    PIN_USER_PAGES,
    PROCESS_VM_READV,
    run_pin_user_pages,
    run_process_vm_readv,
)
from shootdown_daemon.machine.operations.ksm import (
    REPLACE_PAGE,
    WRITE_PROTECT_PAGE,
    run_replace_page,
    run_write_protect_page,
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
from shootdown_daemon.machine.operations.mprotect import CHANGE_PTE_RANGE, run_change_pte_range
from shootdown_daemon.machine.operations.page_writeback import (
    PAGE_VMA_MKCLEAN_ONE,
    run_page_vma_mkclean_one,
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
from shootdown_daemon.machine.operations.userfaultfd import UFFD_WP_RANGE, run_uffd_wp_range
from shootdown_daemon.machine.operations.vmscan import TRY_TO_UNMAP_ONE, run_try_to_unmap_one
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
        Operation(*DO_ANONYMOUS_PAGE, run_do_anonymous_page),
        Operation(*ZAP_PTE_RANGE, run_zap_pte_range),
        Operation(*UNMAP_VMAS, run_unmap_vmas),
        Operation(*CHANGE_PTE_RANGE, run_change_pte_range),
        Operation(*COPY_PTE_RANGE, run_copy_pte_range),
        Operation(*REPLACE_PAGE, run_replace_page),
        Operation(*WRITE_PROTECT_PAGE, run_write_protect_page),
        Operation(*TRY_TO_MIGRATE_ONE, run_try_to_migrate_one),
        Operation(*TRY_TO_UNMAP_ONE, run_try_to_unmap_one),
        Operation(*DO_SWAP_PAGE, run_do_swap_page),
        Operation(*PAGE_VMA_MKCLEAN_ONE, run_page_vma_mkclean_one),
        Operation(*CLEAR_REFS_WRITE, run_clear_refs_write),
        Operation(*PAGEMAP_SCAN_PMD_ENTRY, run_pagemap_scan_pmd_entry),
        Operation(*UFFD_WP_RANGE, run_uffd_wp_range),
        Operation(*WP_CLEAN_PRE_VMA, run_wp_clean_pre_vma),
        Operation(*MADVISE_FREE_SINGLE_VMA, run_madvise_free_single_vma),
        Operation(*PIN_USER_PAGES, run_pin_user_pages),
        Operation(*PROCESS_VM_READV, run_process_vm_readv),
        Operation(*IOMMU_SVA_BIND_DEVICE, run_iommu_sva_bind_device),
        Operation(*IOMMU_SVA_UNBIND_DEVICE, run_iommu_sva_unbind_device),
    )
}
"""Every operation by its kernel function's name."""
