"""Real bugs of the same kind as those of the catalogue that no scenario shows, and exactly why."""

from __future__ import annotations

from typing import Final, NamedTuple


class LeftOut(NamedTuple):
    """A bug by what fixed it, what went wrong, and what the model lacks."""

    fix: str
    wrong: str
    because: str


LEFT_OUT: Final = (
    LeftOut(
        "1013af4f585f, CVE-2025-38085; 59d9094df3d7, CVE-2024-57883; 081056dc00a2, CVE-2025-38084",
        "a lockless walker is in a shared hugetlb table while it becomes another process's alone",
        "who shares a table here maps the same pages by it (`share of`), and `gup_fast_pte_range` "
        "pins a page and reads nothing through it: that the page is the other's is seen by nobody",
    ),
    LeftOut(
        "c0205eaf3af9, CVE-2024-27007",
        "UFFDIO_MOVE changes the mapping and the index of a huge page before it knows that the "
        "page is not pinned",
        "which entries map a page follows here from the scenario (the location and its forks), "
        "not from fields of the page, so nothing can be changed in them too early",
    ),
    LeftOut(
        "75ed00055c05, CVE-2026-45894; c1e4f1dccbe9, CVE-2026-45944; c3b1edea3791, CVE-2026-45945",
        "an entry of several words is rewritten while it is present, and hardware reads a part of "
        "the old one with a part of the new",
        "every entry that a device reads here, a PASID's too, is one 8-byte word, loaded and "
        "stored at once: there is nothing to tear",
    ),
    LeftOut(
        "d5afb4b47e13, CVE-2023-52484",
        "millions of commands, one a page, under a page table lock: a soft lockup",
        "the commands come to an end, and how long that takes is no order of steps; the endless "
        "loop of the same function is `smmuv3-inclusive-end`",
    ),
    LeftOut(
        "KVM: arm64: test_young with an empty range (2020)",
        "aging asks a mirror about no page at all, and takes a page that it uses for old",
        "a wrong guess of age makes no value, no place and no permission wrong: a page in use is "
        "reclaimed, and faulted in again, so no check can tell",
    ),
    LeftOut(
        "06e14c36e20b, CVE-2026-23429",
        "data of an address space are used after the domain that refers to them is freed",
        "the kernel's own objects have no memory here that could be freed and reused; what a "
        "release at the wrong moment does to a fault is `cve-2024-35843`",
    ),
)
