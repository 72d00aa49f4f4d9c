"""Cells of a store interned to bit fields of one integer: how an explored state is kept.

A state is an `int`. Every cell that was ever given another value than its first one has a bit
field in it; a cell that nobody changes has none. The value of a field is the number under which
the cell's value was first seen, and number 0 is always the value at the start, so fields can be
added at the top while a search runs: in all states found before, they read as 0, which is right.

The generation that a page table entry carries for the log stays in. It decides whether an access
is a use after free; and a live entry's is its frame's, so that it tells no two states apart that
are not different anyhow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from shootdown_engine.store import Cell

_CHUNKS: Final = (2, 4, 8, 16, 32)
"""Bits of a cell's first, second, ... field; the next is taken when its values outgrow it."""


class Cells:
    """The numbering of cells and of their values.

    ``initial`` gives a cell's value at the start. Bits below ``first_bit`` belong to somebody
    else. ``on_change(cell)`` is called when a cell is given a new field, before any state has
    anything but 0 in it.
    """

    def __init__(
        self,
        initial: Callable[[Cell], Hashable],
        first_bit: int,
        on_change: Callable[[int], None],
    ) -> None:
        """Begin without a cell."""
        self.initial = initial
        self.next_bit = first_bit
        self.on_change = on_change
        self.numbers: dict[Cell, int] = {}
        self.names: list[Cell] = []
        self.masks: list[int] = []
        self._values: list[list[Hashable]] = []
        self._indexes: list[dict[tuple[type, Hashable], int]] = []
        self._fields: list[list[tuple[int, int]]] = []

    def number(self, cell: Cell) -> int:
        """Number of a cell, which is given one when it is first asked for."""
        number = self.numbers.get(cell)
        if number is None:
            number = self.numbers[cell] = len(self.names)
            value = self.initial(cell)
            self.names.append(cell)
            self.masks.append(0)
            self._values.append([value])
            self._indexes.append({(type(value), value): 0})
            self._fields.append([])
        return number

    def value(self, number: int, state: int) -> Hashable:
        """Value of a cell in a state."""
        index = shift = 0
        for bit, width in self._fields[number]:
            index |= (state >> bit & (1 << width) - 1) << shift
            shift += width
        return self._values[number][index]

    def values_met(self, cell: Cell) -> tuple[Hashable, ...]:
        """All values that a cell has had; of one that nothing has touched, none."""
        number = self.numbers.get(cell)
        return () if number is None else tuple(self._values[number])

    def encode(self, number: int, value: Hashable) -> int:
        """Bits of a state in which a cell has a value; gives the cell a field if it needs one."""
        key = (type(value), value)
        indexes = self._indexes[number]
        index = indexes.get(key)
        if index is None:
            index = indexes[key] = len(indexes)
            self._values[number].append(value)
            if index >> sum(width for _, width in self._fields[number]):
                self._add_field(number)
        bits = 0
        for bit, width in self._fields[number]:
            bits |= (index & (1 << width) - 1) << bit
            index >>= width
        return bits

    def _add_field(self, number: int) -> None:
        fields = self._fields[number]
        width = _CHUNKS[len(fields)]
        fields.append((self.next_bit, width))
        self.masks[number] |= (1 << width) - 1 << self.next_bit
        self.next_bit += width
        self.on_change(number)
