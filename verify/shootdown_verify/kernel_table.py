"""The kernel's operations on page tables, Linux 6.18: 43 rows, each with its order and our name.

Beside it, how the kernel tells secondary MMUs, before v6.6 and since. Only these two tables may
live here; `describe` makes a page of them, beside what the machine really does.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class KernelRow(NamedTuple):
    """One row: what happens, in which function, in which order.

    ``operations`` are ours that model it; ``state`` says what is so or why there is none. In
    ``order``, "flush" is that of the CPUs' TLBs, and "+notify" that secondary ones are told by it.
    """

    number: int
    what: str
    function: str
    order: str
    operations: tuple[str, ...]
    state: str = "modelled"


ROWS: Final[tuple[KernelRow, ...]] = (
    KernelRow(
        1,
        "COW break, unshare",
        "mm/memory.c `wp_page_copy`",
        "copy; start; lock; clear, flush+notify; set new; unlock; end; put old",
        ("wp_page_copy",),
    ),
    KernelRow(
        2,
        "write to the zero page",
        "mm/memory.c `wp_page_copy`",
        "as row 1, with no old page to put",
        ("wp_page_copy",),
    ),
    KernelRow(
        3,
        "write to the huge zero page",
        "mm/huge_memory.c `do_huge_zero_wp_pmd`",
        "start; lock; clear, flush+notify; set; unlock; end",
        ("do_huge_zero_wp_pmd",),
    ),
    KernelRow(
        4,
        "huge anonymous COW",
        "mm/huge_memory.c `do_huge_pmd_wp_page`",
        "reuse in place, or split (row 18) and go on as row 1",
        ("do_huge_pmd_wp_page",),
    ),
    KernelRow(
        5,
        "write fault that reuses the page",
        "mm/memory.c `wp_page_reuse`",
        "lock; allow writing; unlock; x86 flushes nothing, arm64 flushes+notifies",
        ("wp_page_reuse",),
    ),
    KernelRow(
        6,
        "first touch",
        "mm/memory.c `do_anonymous_page`, `do_fault`, `do_swap_page`",
        "lock; set; unlock; nobody is told",
        ("do_anonymous_page", "do_swap_page"),
    ),
    KernelRow(
        7,
        "fork",
        "mm/memory.c `copy_page_range`",
        "start; (lock; write-protect, copy to the child; unlock); end; flush+notify; mmap unlock",
        ("copy_pte_range",),
    ),
    KernelRow(
        8,
        "fork of hugetlb",
        "mm/hugetlb.c `copy_hugetlb_page_range`",
        "as row 7, with the flush of the whole fork",
        ("copy_hugetlb_page_range",),
    ),
    KernelRow(
        9,
        "fork of a pinned page",
        "mm/memory.c `copy_present_page`",
        "the child gets a copy at once; the parent's entry stays",
        ("copy_pte_range",),
        "modelled within the fork, where the page is pinned",
    ),
    KernelRow(
        10,
        "mprotect, NUMA hinting, userfaultfd-wp",
        "mm/mprotect.c `change_pte_range`",
        "start; lock; clear, set with less; unlock; end; later flush+notify",
        ("change_pte_range", "uffd_wp_range", "change_prot_numa"),
    ),
    KernelRow(
        11,
        "mprotect of hugetlb",
        "mm/hugetlb.c `hugetlb_change_protection`",
        "start; locks; change each; flush+notify after the loop; drop i_mmap; end",
        ("hugetlb_change_protection",),
    ),
    KernelRow(
        12,
        "munmap",
        "mm/memory.c `unmap_vmas`",
        "start; (lock; clear, gather; unlock); end; tables; flush+notify; free",
        ("unmap_vmas", "free_pgtables"),
    ),
    KernelRow(
        13,
        "exit",
        "mm/mmap.c `exit_mmap`",
        "release: subscribers let go for good; then as row 12",
        ("exit_mmap",),
    ),
    KernelRow(
        14,
        "MADV_DONTNEED, truncate, hole punch",
        "mm/memory.c `zap_page_range_single_batched`, `unmap_mapping_range`",
        "as row 12, under mmap_lock for reading or i_mmap",
        ("zap_page_range_single_batched", "unmap_mapping_range"),
    ),
    KernelRow(
        15,
        "forced flush inside a zap",
        "mm/memory.c `zap_pte_range`",
        "lock; clear; flush+notify; unlock; free; ...; end",
        ("zap_pte_range",),
    ),
    KernelRow(
        16,
        "MADV_FREE",
        "mm/madvise.c `madvise_free_single_vma`",
        "start; lock; clear accessed and dirty; unlock; end; flush+notify",
        ("madvise_free_single_vma",),
    ),
    KernelRow(
        17,
        "OOM reaper",
        "mm/oom_kill.c `__oom_reap_task_mm`",
        "start that may not sleep, and may be refused; zap; end; flush+notify",
        ("__oom_reap_task_mm",),
    ),
    KernelRow(
        18,
        "THP split",
        "mm/huge_memory.c `__split_huge_pmd`",
        "start; lock; invalidate, flush+notify; fill a table; lead to it; unlock; end",
        ("__split_huge_pmd",),
    ),
    KernelRow(
        19,
        "anonymous collapse",
        "mm/khugepaged.c `collapse_huge_page`",
        "start; lock; clear, flush+notify; unlock; end; wait for lockless walkers; copy; lock; set",
        ("collapse_huge_page",),
    ),
    KernelRow(
        20,
        "file collapse, table retraction",
        "mm/khugepaged.c `collapse_pte_mapped_thp`, `retract_page_tables`",
        "start; locks; clear, flush+notify; unlock; end; free the table after a grace period",
        ("collapse_pte_mapped_thp", "retract_page_tables"),
    ),
    KernelRow(
        21,
        "mremap",
        "mm/mremap.c `move_ptes`",
        "start; both locks; clear source, set destination; flush+notify source; unlock both; end",
        ("move_ptes", "move_normal_pmd"),
    ),
    KernelRow(
        22,
        "mremap of hugetlb",
        "mm/hugetlb.c `move_hugetlb_page_tables`",
        "start; (lock; move; unlock); one flush+notify; end; drop i_mmap",
        ("move_hugetlb_page_tables",),
    ),
    KernelRow(
        23,
        "migration: unmap",
        "mm/rmap.c `try_to_migrate_one`",
        "start; lock; clear, notify (flush now or before the copy); migration entry; unlock; end",
        ("try_to_migrate_one",),
    ),
    KernelRow(
        24,
        "migration: restore",
        "mm/migrate.c `remove_migration_pte`",
        "lock; migration entry becomes present; unlock; nobody is told",
        ("try_to_migrate_one",),
        "modelled as the end of the migration",
    ),
    KernelRow(
        25,
        "reclaim",
        "mm/rmap.c `try_to_unmap_one`",
        "start; lock; clear, notify (flush now or later); swap entry; unlock; end; write out; free",
        ("try_to_unmap_one", "try_to_unmap"),
    ),
    KernelRow(
        26,
        "KSM write-protect",
        "mm/ksm.c `write_protect_page`",
        "start; lock; clear, flush+notify; pinned? put back; set read-only; unlock; end",
        ("write_protect_page",),
    ),
    KernelRow(
        27,
        "KSM replace",
        "mm/ksm.c `replace_page`",
        "start; lock; clear, flush+notify; set the shared page; unlock; end",
        ("replace_page",),
    ),
    KernelRow(
        28,
        "uprobe install and remove",
        "kernel/events/uprobes.c `__uprobe_write`",
        "(removal: start); lock; clear, flush+notify; write the bytes; set or leave; unlock; (end)",
        ("uprobe_write", "set_orig_insn", "__replace_page"),
        "modelled, with the older `__replace_page`",
    ),
    KernelRow(
        29,
        "hugetlb COW",
        "mm/hugetlb.c `hugetlb_wp`",
        "copy; start; lock; clear, flush+notify; set new; unlock; end; put old",
        ("hugetlb_wp",),
    ),
    KernelRow(
        30,
        "hugetlb unmap",
        "mm/hugetlb.c `__unmap_hugepage_range`",
        "start; lock; unshare or clear, gather; end; flush+notify; free",
        ("__unmap_hugepage_range",),
    ),
    KernelRow(
        31,
        "hugetlb PMD unshare",
        "mm/hugetlb.c `huge_pmd_unshare`",
        "start; clear; wait for lockless walkers; count down; flush+notify; drop i_mmap; end",
        ("huge_pmd_unshare", "hugetlb_unshare_pmds", "huge_pmd_share"),
    ),
    KernelRow(
        32,
        "soft-dirty clear",
        "fs/proc/task_mmu.c `clear_refs_write`",
        "start; (lock; write-protect; unlock); end; flush+notify",
        ("clear_refs_write",),
    ),
    KernelRow(
        33,
        "PAGEMAP_SCAN",
        "fs/proc/task_mmu.c `pagemap_scan_pmd_entry`",
        "start; lock; write-protect; flush+notify; unlock; end",
        ("pagemap_scan_pmd_entry",),
    ),
    KernelRow(
        34,
        "write tracking of shared mappings",
        "mm/mapping_dirty_helpers.c `wp_clean_pre_vma`",
        "start; flush is pending; (lock; write-protect; unlock); flush+notify; end",
        ("wp_clean_pre_vma",),
    ),
    KernelRow(
        35,
        "writeback clean",
        "mm/rmap.c `page_vma_mkclean_one`",
        "start; lock; clear, flush+notify; set clean and read-only; unlock; end; I/O",
        ("page_vma_mkclean_one",),
    ),
    KernelRow(
        36,
        "UFFDIO_MOVE",
        "mm/userfaultfd.c `move_pages_ptes`",
        "start; both locks; clear source; pinned? put back; set destination; flush+notify; end",
        ("move_pages_ptes",),
    ),
    KernelRow(
        37,
        "pins",
        "mm/gup.c",
        "by faults (row 1) and migration (row 23); others see the count and put entries back",
        ("pin_user_pages", "process_vm_readv", "gup_fast_pte_range"),
    ),
    KernelRow(
        38,
        "device migration: collect",
        "mm/migrate_device.c `migrate_vma_collect`",
        "start; lock; clear; migration entries; flush+notify; unlock; end; the driver copies",
        ("migrate_vma_collect",),
    ),
    KernelRow(
        39,
        "device migration into a hole",
        "mm/migrate_device.c `migrate_vma_insert_page`",
        "start; lock; (zero page: clear, flush+notify); set new; unlock; end",
        ("migrate_vma_insert_page",),
    ),
    KernelRow(
        40,
        "device-exclusive",
        "mm/rmap.c `make_device_exclusive`",
        "start; lock; clear, flush+notify; exclusive entry; unlock; end; the owner checks again",
        ("make_device_exclusive",),
    ),
    KernelRow(
        41,
        "back from device-exclusive",
        "mm/memory.c `remove_device_exclusive_entry`",
        "start, which makes the device let go; lock; set present; unlock; end",
        ("make_device_exclusive",),
        "modelled as the fault that ends the exclusive access",
    ),
    KernelRow(
        42,
        "aging",
        "mm/rmap.c `folio_referenced_one`, page_idle.c, damon",
        "lock; test and clear accessed; (arm64: flush+notify); the young callbacks; unlock",
        ("folio_referenced_one", "page_idle_clear_pte_refs_one", "damon_folio_young_one"),
    ),
    KernelRow(
        43,
        "kernel page-table free",
        "mm/pgtable-generic.c `pagetable_free_kernel`",
        "queue; a worker notifies every SVA address space; free",
        ("pagetable_free_kernel",),
    ),
)
"""Every row, by number."""


class NotifierRow(NamedTuple):
    """How secondary MMUs are told, one part of it: what models it, and what is left out."""

    number: str
    what: str
    modelled: str
    left_out: str = "nothing that matters here"


NOTIFIERS: Final[tuple[NotifierRow, ...]] = (
    NotifierRow(
        "2.1",
        "up to v6.5: `mmu_notifier_invalidate_range()` from the `_notify` flush helpers, from "
        "rmap and the gather, and implied by range_end unless `_only_end`",
        "profile `linux-6.1`",
        "`set_pte_at_notify()` and `change_pte`, which ran inside start and end, where KVM had "
        "unmapped already",
    ),
    NotifierRow(
        "2.1",
        "up to v4.13: `invalidate_page()`, after the page table lock",
        "bug `invalidate-page-after-unlock`",
    ),
    NotifierRow(
        "2.2",
        "since v6.6: `arch_invalidate_secondary_tlbs()` from within the architecture's flush",
        "profile `linux-6.18`",
        "the events (UNMAP, CLEAR, ...) and owners, which a TLB is not told",
    ),
    NotifierRow(
        "2.2",
        "order in one flush: x86 and powerpc the CPUs, then secondary TLBs; arm64 the other way "
        "round, for its last `dsb` waits for the CPUs",
        "`cpu_tlb on`, `cpu_tlb after`",
        "lazy TLB mode, `tlb_gen`, INVLPGB; riscv's return before anybody is told where no CPU "
        "runs the address space",
    ),
    NotifierRow(
        "2.2",
        "batched unmap: secondary TLBs as the entry is cleared, the CPUs at "
        "`try_to_unmap_flush()`; whoever comes between calls `flush_tlb_batched_pending()`",
        "`try_to_unmap`, and zap, mprotect and mremap beside it",
        "that x86 tells of the whole address space",
    ),
    NotifierRow(
        "2.2",
        "`flush_tlb_kernel_range()` tells nobody",
        "`pagetable_free_kernel`",
    ),
    NotifierRow(
        "2.3",
        "interval notifiers: sequence, `mmu_interval_read_begin()`, `_read_retry()`, ranges that "
        "may not sleep",
        "mirror columns (`mirror hmm`)",
        "one subscription over many pages, and the kernel's interval tree",
    ),
    NotifierRow(
        "2.4",
        "`hmm_range_fault()`: walk, lock, check the sequence, program under the lock",
        "mirror columns (`mirror hmm`)",
        "ranges of several pages",
    ),
    NotifierRow(
        "2.5",
        "KVM: `mmu_invalidate_in_progress` and `mmu_invalidate_seq` under `mmu_lock`",
        "mirror columns (`mirror kvm`)",
        "the union of concurrent ranges, several memslots and their changes, pfncache",
    ),
    NotifierRow(
        "2.5",
        "`clear_flush_young`, `clear_young`, `test_young`",
        "`folio_referenced_one`, `page_idle_clear_pte_refs_one`, `damon_folio_young_one` with "
        "`mirror kvm`",
        "aging without `mmu_lock`",
    ),
    NotifierRow(
        "2.6",
        "what may sleep: start and end, unless the range may not; -EAGAIN",
        "`__oom_reap_task_mm`, which a mirror with its lock held refuses",
        "several subscribers, one of which refuses after another has agreed",
    ),
    NotifierRow(
        "2.6",
        "`release`, before any page is freed",
        "`exit_mmap`, `iommu_sva_unbind_device`",
        "SRCU: that a callback may run after `mmu_notifier_put()` has returned",
    ),
    NotifierRow(
        "2.6",
        "a subscriber that comes or goes beside a range",
        "`mmu_notifier_register`, `mmu_interval_notifier_remove`",
        "insertions into the interval tree that wait for a phase to end",
    ),
)
"""How secondary MMUs are told, by number of the part."""
