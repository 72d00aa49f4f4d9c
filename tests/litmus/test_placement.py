"""Where locations lie: page-table pages and virtual addresses."""

from __future__ import annotations

from hypothesis import given
from tests.litmus.generated import texts
from tests.litmus.texts import minimal, read

from shootdown_protocol.memory import PAGE_SIZE, VA_BITS, table_index
from shootdown_protocol.program import GIGANTIC_STATES, Location


def locations(declarations: str) -> dict[str, Location]:
    """Place the locations of some declarations, the small scenario's A among them."""
    program = read(minimal("B = 3;", declarations)).program
    return {location.name: location for location in program.locations}


def test_location_has_a_table_of_its_own() -> None:
    """Without ``same_table`` two locations share no page-table page, and so no lock."""
    placed = locations("B = 1;")

    assert placed["A"].table != placed["B"].table
    assert table_index(placed["A"].va, 2) != table_index(placed["B"].va, 2)


def test_same_table_makes_neighbours() -> None:
    """Locations of one table are adjacent pages: one range, and one lock."""
    placed = locations("B = 1; C = 2; same_table C A;")

    assert placed["A"].table == placed["C"].table != placed["B"].table
    assert placed["C"].va - placed["A"].va == PAGE_SIZE
    assert placed["A"].va % (2 * PAGE_SIZE) == 0


def test_children_lie_where_their_parents_lie() -> None:
    """Children of neighbours are neighbours, in a table of the child's own."""
    placed = locations("B = 1; same_table A B; X@c = child of A; Y@c = child of B; Z@c = 1;")

    assert (placed["X"].va, placed["Y"].va) == (placed["A"].va, placed["B"].va)
    assert placed["X"].table == placed["Y"].table
    assert len({placed["X"].table, placed["A"].table, placed["Z"].table}) == 3
    assert placed["Z"].va not in {placed["A"].va, placed["B"].va}


def test_unrelated_address_spaces_use_the_same_addresses() -> None:
    """Only the PASID tells two processes' pages apart."""
    placed = locations("B@other = 1;")

    assert placed["A"].va == placed["B"].va
    assert placed["A"].table != placed["B"].table


@given(texts())
def test_addresses_and_tables_agree(text: str) -> None:
    """A table is one 2 MiB region, a page of 1 GiB has a GiB, no two locations are one page."""
    placed = read(text).program.locations
    small = [one for one in placed if one.state not in GIGANTIC_STATES]

    assert len({(one.mm, one.va) for one in placed}) == len(placed)
    for one in placed:
        assert 0 < one.va < 1 << VA_BITS
        assert one.va % PAGE_SIZE == 0
        for other in placed:
            same_region = (one.mm, one.va >> 21) == (other.mm, other.va >> 21)
            assert (one.table == other.table) == same_region
            same_gib = (one.mm, one.va >> 30) == (other.mm, other.va >> 30)
            assert same_gib == (one.table == other.table) or {one, other} <= set(small)
    assert len({one.va >> 30 for one in small}) <= 1
