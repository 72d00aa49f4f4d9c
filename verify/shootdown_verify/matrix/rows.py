"""Rows of the matrix: an operation with the states that its entry may begin in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shootdown_verify.litmus.vocabulary import (
    SPECULATION_TIMES,
)

NAMED_OPTIONS: Final = ("cpu_tlb", "vma_lock")
"""Options that a row is about, and has in its name."""


@dataclass(frozen=True, slots=True)
class Row:
    """An operation; ``copier`` lets faults in beside it (``mmap_lock`` held for reading only).

    ``options`` are statements of the initial state; ``device`` is a faulty device of the zoo that
    observes in the place of the right one. ``without`` names clients that are left out: where each
    fault moves the page, they take most of the states and show what the others show. ``times`` is
    how often a device refills unasked. ``waits``: a CPU's store waits until the entry lets it
    through, for else its own fault is the row's operation once more. ``about`` tells rows of one
    operation apart.
    """

    operation: str
    states: tuple[str, ...]
    copier: bool = False
    options: tuple[str, ...] = ()
    device: str = ""
    without: tuple[str, ...] = ()
    times: int = SPECULATION_TIMES
    waits: bool = False
    about: str = ""

    @property
    def name(self) -> str:
        """What the row is called."""
        said = [self.operation]
        said += [self.about] if self.about else []
        said += ["copier let in"] if self.copier else []
        said += self.named_options
        said += [f"device {self.device}"] if self.device else []
        return ", ".join(said)

    @property
    def named_options(self) -> list[str]:
        """Options that its name says."""
        return [option for option in self.options if option.startswith(NAMED_OPTIONS)]

    @property
    def has_cpu_tlbs(self) -> bool:
        """Whether the CPUs have TLBs of their own."""
        return any(option.startswith("cpu_tlb") for option in self.options)


SEEN_WITHOUT: Final = (
    "stale-load",
    "message-passing",
    "taker-store",
    "lost-store",
    "refault",
    "store-after-return",
    "snapshot",
    "walker",
)
"""Clients that say nothing of CPUs' TLBs, left out where the same row without TLBs has them."""

ROWS: Final = (
    Row("wp_page_copy", ("cow", "cow_sole", "zero")),
    Row("wp_page_reuse", ("wrprotected",)),
    Row("wp_page_reuse", ("wrprotected",), options=("iotlb on",), device="serves_read_only"),
    Row("do_anonymous_page", ("none",)),
    Row("do_anonymous_page", ("none",), device="caches_not_present"),
    Row("zap_pte_range", ("rw",)),
    Row("unmap_vmas", ("rw",)),
    Row("change_pte_range", ("rw", "pinned")),
    Row("change_pte_range", ("pinned",), copier=True),
    Row("copy_pte_range", ("rw",)),
    Row("copy_pte_range", ("rw",), copier=True),
    Row("replace_page", ("ksm_pair",)),
    Row("write_protect_page", ("ksm_twin",)),
    Row("try_to_migrate_one", ("rw",)),
    Row("try_to_unmap_one", ("rw", "file")),
    Row("try_to_unmap", ("rw",)),
    Row("do_swap_page", ("swapped",)),
    Row("page_vma_mkclean_one", ("file",)),
    Row("clear_refs_write", ("rw",)),
    Row("pagemap_scan_pmd_entry", ("pinned",)),
    Row("uffd_wp_range", ("pinned",)),
    Row("wp_clean_pre_vma", ("file",)),
    Row("__replace_page", ("ro",)),
    Row("uprobe_write", ("ro",)),
    Row("set_orig_insn", ("uprobed",)),
    Row("change_prot_numa", ("rw",), without=("stale-load", "message-passing", "lost-store")),
    Row("migrate_vma_collect", ("rw",)),
    Row("migrate_vma_insert_page", ("zero",)),
    Row("make_device_exclusive", ("rw",)),
    Row("move_pages_ptes", ("rw",)),
    Row("madvise_free_single_vma", ("rw",), options=("ad_bits on",)),
    Row("zap_page_range_single_batched", ("rw",)),
    Row("unmap_mapping_range", ("rw",)),
    Row("__oom_reap_task_mm", ("rw",)),
    Row("exit_mmap", ("rw",)),
    Row("move_ptes", ("rw",)),
    Row("__split_huge_pmd", ("huge",)),
    Row("__split_huge_pmd", ("huge_cow",), device="keeps_larger_entries"),
    Row("do_huge_zero_wp_pmd", ("huge_zero",)),
    Row("collapse_huge_page", ("rw",)),
    Row("collapse_pte_mapped_thp", ("file_thp",)),
    Row("retract_page_tables", ("file_thp",)),
    Row("hugetlb_wp", ("hugetlb_cow",)),
    Row("__unmap_hugepage_range", ("hugetlb",)),
    Row("huge_pmd_unshare", ("hugetlb",)),
    Row("copy_hugetlb_page_range", ("hugetlb",)),
    Row("hugetlb_change_protection", ("hugetlb",)),
    Row("move_hugetlb_page_tables", ("hugetlb",)),
    Row("free_pgtables", ("rw",)),
    Row("pagetable_free_kernel", ("rw",)),
    Row("move_normal_pmd", ("rw",)),
    Row("hugetlb_unshare_pmds", ("hugetlb",)),
    Row(
        "folio_referenced_one",
        ("rw",),
        options=("ad_bits on",),
        without=("message-passing", "reclaimer"),
    ),
    Row("zap_pte_range", ("rw",), options=("cpu_tlb on",), without=SEEN_WITHOUT),
    Row("zap_pte_range", ("rw",), options=("cpu_tlb after",), without=SEEN_WITHOUT),
    Row(
        "wp_page_copy",
        ("cow",),
        options=("cpu_tlb on",),
        without=(*SEEN_WITHOUT, "copier"),
    ),
    Row(
        "wp_page_copy",
        ("cow",),
        options=("cpu_tlb after",),
        without=(*SEEN_WITHOUT, "copier"),
    ),
    Row("try_to_unmap", ("rw",), options=("cpu_tlb on",), without=SEEN_WITHOUT),
    Row("change_pte_range", ("pinned",), options=("cpu_tlb on",), without=SEEN_WITHOUT),
    Row("move_ptes", ("rw",), options=("cpu_tlb on",), without=SEEN_WITHOUT),
    Row("copy_pte_range", ("rw",), options=("vma_lock on",)),
    Row("change_pte_range", ("pinned",), options=("vma_lock on",)),
    Row(
        "do_huge_pmd_wp_page",
        ("huge_cow",),
        times=1,
        waits=True,
        without=("taker-store", "lost-store", "store-after-return"),
    ),
    Row("copy_pte_range", ("pinned",), about="copy_present_page"),
    Row(
        "write_protect_page",
        ("ksm_twin",),
        copier=True,
        without=(
            "stale-load",
            "message-passing",
            "taker-store",
            "lost-store",
            "refault",
            "store-after-return",
            "copier",
        ),
    ),
)
"""Every row, operations by the kernel functions that they mirror."""
