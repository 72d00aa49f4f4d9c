"""The fixed words of the scenario language, and the bounds of a scenario.

Only tables of words and numbers may live here. Names of operations, disciplines and faulty
devices are not fixed: whoever reads a scenario brings them (`Names`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from shootdown_protocol.device_options import DEVICE_OPTIONS
from shootdown_protocol.faults import KINDS
from shootdown_protocol.program import State, When
from shootdown_verify.check.finding import CONDITION, Model
from shootdown_verify.check.protocol import NAME as PROTOCOL

FILE_CHARACTERS_MAX: Final = 1 << 16
"""Characters of a scenario file."""
NESTING_MAX: Final = 32
"""Parentheses and negations inside one another, in a condition."""
DELAY_TICKS_MAX: Final = 10_000
"""Batch-clock ticks of one ``delay``."""
SPECULATION_TIMES: Final = 2
"""How often a device translates unasked, if the scenario does not say."""
SPECULATION_TIMES_MAX: Final = 16

DEFAULT_MM: Final = "mm"
"""Address space of a location that names none."""
DEFAULT_DEVICE: Final = "d0"
"""Device of a ``DEV`` column that names none."""

FORK_OPERATION: Final = "copy_pte_range"
"""The operation that fills the children of its location."""
FORK_OPERATIONS: Final = (FORK_OPERATION, "copy_hugetlb_page_range")
"""All that do."""
MOVE_OPERATIONS: Final = (
    "move_ptes",
    "move_normal_pmd",
    "move_hugetlb_page_tables",
    "move_pages_ptes",
)
"""Operations that need a place to move their location to."""
INNER_OPERATIONS: Final = frozenset(
    {
        "do_anonymous_page",
        "do_huge_pmd_wp_page",
        "do_huge_zero_wp_pmd",
        "do_swap_page",
        "huge_pmd_share",
        "hugetlb_wp",
        "replace_page",
        "try_to_migrate_one",
        "try_to_unmap_one",
        "wp_page_copy",
        "wp_page_reuse",
    }
)
"""Operations that page faults or others begin, so that they run although no column names them."""
BIND_OPERATION: Final = "iommu_sva_bind_device"
"""The operation that gives an address space its PASID."""
SUBSCRIBER_OPERATIONS: Final = {
    "mmu_notifier_register": "kvm",
    "mmu_interval_notifier_remove": "hmm",
}
"""Operations on a subscriber, and the scheme of mirror that it must have."""
SHARE_OPERATIONS: Final = ("huge_pmd_unshare", "hugetlb_unshare_pmds", "huge_pmd_share")
"""Operations that need another address space that maps the same page."""
HUGETLB_WORDS: Final = ("hugetlb", "hugetlb_cow", "hugetlb_1g", "hugetlb_1g_cow")
"""States in which a location is part of a hugetlb page."""
HUGE_OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "__split_huge_pmd": ("huge", "huge_cow", "huge_zero"),
    "do_huge_zero_wp_pmd": ("huge_zero",),
    "do_huge_pmd_wp_page": ("huge", "huge_cow"),
    "hugetlb_wp": HUGETLB_WORDS,
    "__unmap_hugepage_range": HUGETLB_WORDS,
    "huge_pmd_unshare": ("hugetlb",),
    "hugetlb_unshare_pmds": ("hugetlb",),
    "huge_pmd_share": ("hugetlb",),
    "copy_hugetlb_page_range": ("hugetlb",),
    "hugetlb_change_protection": ("hugetlb", "hugetlb_1g"),
    "move_hugetlb_page_tables": ("hugetlb",),
    "collapse_pte_mapped_thp": ("file_thp",),
    "retract_page_tables": ("file_thp",),
}
"""Operations on larger pages, and the states that their location may begin in."""
ANY_SIZE_OPERATIONS: Final = ("unmap_mapping_range",)
"""Operations on pages of 4 KiB or 2 MiB; all that are not named here are on 4 KiB only."""
STATES_NEEDED: Final = {
    "replace_page": ("ksm_pair",),
    "write_protect_page": ("ksm_twin",),
    "page_vma_mkclean_one": ("file",),
    "do_swap_page": ("swapped",),
    "wp_clean_pre_vma": ("file",),
    "uprobe_write": ("ro",),
    "__replace_page": ("ro",),
    "set_orig_insn": ("uprobed",),
    **HUGE_OPERATIONS,
}
"""Operations that mean something only for a location that begins in one of some states."""
TEXT_OPERATIONS: Final = ("set_orig_insn", "process_vm_readv")
"""Operations that know pages of text."""
FILE_OPERATIONS: Final = (
    "page_vma_mkclean_one",
    "process_vm_readv",
    "try_to_unmap_one",
    "wp_clean_pre_vma",
)
"""Operations that know pages of files."""
PAGE_OPERATIONS: Final = (
    "move_pages_ptes",
    "make_device_exclusive",
    "migrate_vma_collect",
    "try_to_migrate_one",
    "try_to_unmap",
    "try_to_unmap_one",
    "write_protect_page",
)
"""Operations on a page wherever it is mapped: no process outside may map it."""


MODELS: Final[dict[str, Model | None]] = {**{model.label: model for model in Model}, "none": None}
"""The weakest model that a caught run breaks; ``none`` where what is wrong is a place, a
permission or a lack of progress."""

CHECKS: Final = ("S1", "S2", "S3", "S4", "S5", PROTOCOL, CONDITION)
"""What can find a violation: place, value, loss, return, progress, ATS; the condition."""

STATES: Final = {
    "rw": State.RW,
    "ro": State.RO,
    "cow": State.COW,
    "cow_sole": State.COW_SOLE,
    "zero": State.ZERO,
    "ksm_pair": State.KSM_PAIR,
    "pinned": State.PINNED,
    "file": State.FILE,
    "swapped": State.SWAPPED,
    "ksm_twin": State.KSM_TWIN,
    "wrprotected": State.WRPROTECTED,
    "uprobed": State.UPROBED,
    "huge": State.HUGE,
    "huge_cow": State.HUGE_COW,
    "huge_zero": State.HUGE_ZERO,
    "hugetlb": State.HUGETLB,
    "hugetlb_cow": State.HUGETLB_COW,
    "hugetlb_1g": State.HUGETLB_1G,
    "hugetlb_1g_cow": State.HUGETLB_1G_COW,
    "file_thp": State.FILE_THP,
}
"""States that a location with a value may begin in."""
UNMAPPED: Final = ("swapped",)
"""States that begin with an entry that maps nothing."""
WRITABLE: Final = (
    State.RW,
    State.PINNED,
    State.FILE,
    State.KSM_TWIN,
    State.HUGE,
    State.HUGETLB,
    State.HUGETLB_1G,
    State.FILE_THP,
)
"""States in which the entry lets stores through."""
WHENS: Final = {
    "writable": When.WRITABLE,
    "present": When.PRESENT,
    "freed": When.FREED,
    "returned": When.RETURNED,
}
LOAD_WHENS: Final = ("present", "writable", "returned")
STORE_WHENS: Final = ("writable", "freed", "present", "returned")

OPTIONS: Final = {
    "reuse": ("lifo", "fifo"),
    "ptl": ("split", "mm"),
    "mmap_lock": ("write", "read"),
    "cpu_tlb": ("off", "on", "after"),
    "vma_lock": ("off", "on"),
    "pasid": ("own", "reused"),
}
"""Options and their values, the default first."""
INIT_WORDS: Final = ("same_table", "racy", "atc", "speculate", "bind", *OPTIONS, *DEVICE_OPTIONS)
"""Words that begin a statement of the initial state, besides a location."""
INSTRUCTIONS: Final = ("load", "store", "prefetch", "await", "sync", "delay")
"""Words that begin a cell, besides an operation."""
END_WORDS: Final = ("forbidden", "weakest", "caught", "safe", "faults", "bug")
"""Words that begin a statement after the table."""

RESERVED: Final = frozenset(
    {*INIT_WORDS, *INSTRUCTIONS, *END_WORDS, *STATES, *WHENS}
    | {"SHOOTDOWN", "child", "device", "move", "none", "of", "share", "times"}
    | {"when", "with", "write", CONDITION}
)
"""Words that cannot name a location."""

FAULT_KINDS: Final = tuple(k.name for k in KINDS.values() if k.is_explored and k.is_live)
"""Kinds of faults that a scenario may allow: those that a run applies and the explorer, too."""

DEVICE: Final = "device"
MUTANT: Final = "mutant"
WITH: Final = "with"
"""Joins a second thing to what a claim is about."""
CLAIM_KINDS: Final = (DEVICE, MUTANT)
"""What a claim may be about, besides a discipline."""
FACTS: Final = ("class", "fix", "symptom", "wrong", "right")
"""What a scenario says of the real bug that it shows: of which class it is, the commits or CVEs
that fixed it, what was seen, the wrong order and the right one."""
BUG_CLASSES: Final = ("mm ordering", "iommu driver", "mirror")

IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
COLUMN: Final = re.compile(r"(CPU|DEV|MIR)(0|[1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class Names:
    """Names that a scenario may use and the language does not fix.

    ``faulty_devices`` and ``mutants`` None accept any name.
    """

    operations: frozenset[str]
    disciplines: frozenset[str]
    faulty_devices: frozenset[str] | None = None
    mutants: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        operations: Collection[str],
        disciplines: Collection[str],
        faulty_devices: Collection[str] | None,
        mutants: Collection[str] | None,
    ) -> Names:
        """Gather names from any collections, registries (dicts) included."""
        devices = None if faulty_devices is None else frozenset(faulty_devices)
        wrong = None if mutants is None else frozenset(mutants)
        return cls(frozenset(operations), frozenset(disciplines), devices, wrong)
