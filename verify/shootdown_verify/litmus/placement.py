"""Where the locations of a scenario lie: page-table pages and virtual addresses.

A location has a page-table page, and so a 2 MiB region, of its own, unless ``same_table`` groups
it with others; those are neighbouring pages. All regions of an address space lie in one 1 GiB
region. A fork's child lies where its parent lies. Address spaces that no fork relates use the same
addresses, as processes do, so that a cache that forgets the PASID is caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from shootdown_protocol.memory import ENTRIES_PER_TABLE, PAGE_SIZE
from shootdown_protocol.words import LOCATIONS_MAX

VA_BASE: Final = 0x7E00_4000_0000
"""A 1 GiB region of the user half; no frame has an address anywhere near it."""
GIB: Final = 1 << 30
SHARED_GIB: Final = 1
"""Where all of an address space lies that is under a shared table of level 2."""
_REGION_BYTES: Final = ENTRIES_PER_TABLE * PAGE_SIZE
_FIRST_REGION: Final = 1
_FIRST_PAGE: Final = 16
"""Neither index is 0, where a walker that forgets an index would find the right entry; and 16 is
even, so that the first two pages of a table make one aligned range."""

assert _FIRST_REGION + LOCATIONS_MAX <= ENTRIES_PER_TABLE
assert _FIRST_PAGE + LOCATIONS_MAX <= ENTRIES_PER_TABLE


class Unplaced(NamedTuple):
    """A location as declared: ``parent`` an earlier position or -1, ``group`` -1 for none.

    ``apart``: so many GiB further on, as whoever shares a table of level 2 (`SHARED_GIB`), or is
    mapped by a PUD entry.
    """

    mm: int
    parent: int
    group: int
    apart: int = 0


class Spot(NamedTuple):
    """Where a location lies: number of its page-table page, virtual address in bytes."""

    table: int
    va: int


def place(locations: Sequence[Unplaced]) -> list[Spot]:
    """Give every location its table and address, in order."""
    family = _families(locations)
    regions: dict[tuple[int, str, int], int] = {}
    pages: dict[tuple[int, int], int] = {}
    tables: dict[tuple[int, int], int] = {}
    spots: list[tuple[int, int]] = []
    for index, (mm, parent, group, _) in enumerate(locations):
        if parent >= 0:
            region, page = spots[parent]
        else:
            home = family[mm]
            key = (home, "own", index) if group < 0 else (home, "group", group)
            others = sum(1 for other in regions if other[0] == home)
            region = regions.setdefault(key, others)
            page = pages.get((home, region), 0)
            pages[home, region] = page + 1
        spots.append((region, page))
        tables.setdefault((mm, region), len(tables))
    return [
        Spot(tables[location.mm, region], _address(region, page) + location.apart * GIB)
        for location, (region, page) in zip(locations, spots, strict=True)
    ]


def _families(locations: Sequence[Unplaced]) -> dict[int, int]:
    """Name, for each address space, the family of forks that it belongs to."""
    family = {location.mm: location.mm for location in locations}
    for location in locations:
        if location.parent >= 0:
            joined, kept = family[location.mm], family[locations[location.parent].mm]
            family = {mm: kept if home == joined else home for mm, home in family.items()}
    return family


def _address(region: int, page: int) -> int:
    return VA_BASE + (_FIRST_REGION + region) * _REGION_BYTES + (_FIRST_PAGE + page) * PAGE_SIZE
