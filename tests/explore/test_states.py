"""States are integers whose fields may be added while a search runs."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from shootdown_engine.store import Cell
from shootdown_verify.explore.cells import Cells

CELLS: tuple[Cell, ...] = (3, 4, ("lock", 0), ("channel", "c"))
values: st.SearchStrategy[Hashable] = st.one_of(
    st.none(), st.booleans(), st.integers(0, 40), st.tuples(st.integers(0, 3))
)


def initial(cell: Cell) -> Hashable:
    """Words are 0, other cells None."""
    return 0 if isinstance(cell, int) else None


@given(st.lists(st.tuples(st.sampled_from(CELLS), values), max_size=120))
def test_a_state_reads_back_what_was_put(writes: list[tuple[Cell, Hashable]]) -> None:
    """However many values a cell takes, all states made on the way keep what they said."""
    cells = Cells(initial, 16, lambda _: None)
    expected: dict[Cell, Hashable] = {}
    made = [(0, dict(expected))]
    state = 0
    for cell, value in writes:
        number = cells.number(cell)
        put = cells.encode(number, value)
        state = state & ~cells.masks[number] | put
        expected[cell] = value
        made.append((state, dict(expected)))

    for older, held in made:
        for cell in CELLS:
            seen = cells.value(cells.number(cell), older)
            assert (type(seen), seen) == (
                type(held.get(cell, initial(cell))),
                held.get(cell, initial(cell)),
            )


def test_a_cell_that_never_changes_takes_no_bits() -> None:
    """Reading a cell, or writing what it held at the start, makes no state longer."""
    cells = Cells(initial, 16, lambda _: None)

    assert cells.encode(cells.number(3), 0) == 0
    assert cells.next_bit == 16


def test_equal_values_of_different_types_are_told_apart() -> None:
    """True is not 1, nor False 0: a step may well ask which it is."""
    cells = Cells(initial, 0, lambda _: None)
    number = cells.number(3)

    state = cells.encode(number, value=False)

    assert state != 0
    assert cells.value(number, state) is False


def test_a_new_field_is_announced() -> None:
    """Whoever keeps masks of a cell hears when it outgrows them."""
    grown: list[int] = []
    cells = Cells(initial, 0, grown.append)
    number = cells.number(3)

    for value in range(1, 6):
        cells.encode(number, value)

    assert grown == [number, number]
