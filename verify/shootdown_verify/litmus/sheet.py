"""A scenario's text taken apart into what can be left out of it, and put together again.

Only the shape of the language is known here: statements, columns of cells, conditions, and which
of them mention a name. Whether what is left still is a scenario, reading it says. Comments and
claims are not kept, for they are about the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

from shootdown_verify.litmus.tokens import Shape, Token, tokenize
from shootdown_verify.litmus.vocabulary import END_WORDS, INIT_WORDS
from shootdown_verify.source import Source

Words = tuple[str, ...]
"""A statement, cell or condition, word by word."""


class SheetColumn(NamedTuple):
    """A thread: ``DEV0@d0`` in words, and its instructions."""

    header: Words
    cells: tuple[Words, ...]

    @property
    def name(self) -> str:
        """``DEV0``."""
        return self.header[0]


class Cut(NamedTuple):
    """What is left of a sheet without something, and what that was, in words.

    ``large``: a whole thread or location, less of which is better even at the price of more steps.
    """

    what: str
    sheet: Sheet
    large: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """The parts of a scenario; ``claim`` is a line that says what is caught or safe.

    ``faults`` is what follows that word, if it is there: what may happen is not left out.
    """

    name: str
    summary: str
    statements: tuple[Words, ...]
    columns: tuple[SheetColumn, ...]
    conditions: tuple[Words, ...]
    claim: str
    faults: Words = ()

    @property
    def text(self) -> str:
        """The text of a scenario."""
        lines = [f"SHOOTDOWN {self.name}", self.summary, "", "{"]
        lines += [f"  {_joined(statement)};" for statement in self.statements]
        lines += ["}", "", *_table(self.columns), ""]
        lines += [f"forbidden {_joined(words, close='@=:')}" for words in self.conditions]
        lines += ["weakest none", self.claim]
        lines += [f"faults {_joined(self.faults)}"] if self.faults else []
        return "\n".join(lines) + "\n"

    def cuts(self) -> Iterator[Cut]:
        """Everything that may be left out, the largest first: threads, pages, and so on."""
        for column in reversed(self.columns):
            yield from self._without_column(column)
        for statement in reversed(self.statements):
            if statement[0] not in INIT_WORDS:
                left = self._without_location(statement[0])
                yield Cut(f"location {statement[0]}", left, large=True)
        for statement in reversed(self.statements):
            if statement[0] in INIT_WORDS:
                others = tuple(other for other in self.statements if other is not statement)
                yield Cut(_joined(statement), replace(self, statements=others))
        for condition in self.conditions:
            rest = tuple(other for other in self.conditions if other is not condition)
            said = f"forbidden {_joined(condition, close='@=:')}"
            yield Cut(said, replace(self, conditions=rest))
        yield from self._without_cells()

    def _without_column(self, column: SheetColumn) -> Iterator[Cut]:
        """A thread less; another of the same device may stand for it where a device is meant."""
        what = f"thread {column.name}"
        name = column.name
        others = tuple(
            other._replace(cells=_not_about(name, other.cells))
            for other in self.columns
            if other is not column
        )
        left = replace(self, columns=others, conditions=_not_about(name, self.conditions))
        yield Cut(what, replace(left, statements=_not_about(name, self.statements)), large=True)
        for other in others:
            if name.startswith("DEV") and other.name.startswith("DEV"):
                moved = tuple(
                    tuple(other.name if word == name else word for word in statement)
                    for statement in self.statements
                )
                yield Cut(what, replace(left, statements=tuple(dict.fromkeys(moved))), large=True)

    def _without_location(self, name: str) -> Sheet:
        columns = tuple(
            column._replace(cells=_not_about(name, column.cells)) for column in self.columns
        )
        return replace(
            self,
            statements=_not_about(name, self.statements),
            columns=tuple(column for column in columns if column.cells),
            conditions=_not_about(name, self.conditions),
        )

    def _without_cells(self) -> Iterator[Cut]:
        for number, column in enumerate(self.columns):
            for place in range(len(column.cells) - 1, -1, -1):
                cells = column.cells[:place] + column.cells[place + 1 :]
                if cells:
                    columns = list(self.columns)
                    columns[number] = column._replace(cells=cells)
                    what = f"{_joined(column.cells[place])} of {column.name}"
                    yield Cut(what, replace(self, columns=tuple(columns)))


def take_apart(text: str, claim: str) -> Sheet:
    """Take the text of a scenario, which must be one that can be read, apart."""
    lines: list[list[Token]] = [[]]
    for token in tokenize(Source("", text)):
        if token.shape is Shape.NEWLINE:
            lines.append([])
        elif token.shape is not Shape.END:
            lines[-1].append(token)
    flat = [token for line in lines for token in line]
    opened = next(place for place, token in enumerate(flat) if token.text == "{")
    closed = next(place for place, token in enumerate(flat) if token.text == "}")
    after = [line for line in lines if line and line[0].line > flat[closed].line]
    table = [line for line in after if line[0].text not in END_WORDS]
    rows = [_split(line, "|") for line in table]
    return Sheet(
        name=flat[1].text,
        summary=flat[2].text,
        statements=tuple(words for words in _split(flat[opened + 1 : closed], ";") if words),
        columns=tuple(
            SheetColumn(column[0], tuple(words for words in column[1:] if words))
            for column in zip_longest(*rows, fillvalue=())
        ),
        conditions=tuple(_split(line[1:], ";")[0] for line in after if line[0].text == "forbidden"),
        claim=claim,
        faults=next((_split(line[1:], ";")[0] for line in after if line[0].text == "faults"), ()),
    )


def _split(tokens: Sequence[Token], mark: str) -> list[Words]:
    """Cut at every mark; a last ``;`` is no word."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token.text == mark:
            parts.append([])
        elif token.text != ";":
            parts[-1].append(token.text)
    return [tuple(part) for part in parts]


def _not_about(name: str, said: Sequence[Words]) -> tuple[Words, ...]:
    return tuple(words for words in said if name not in words)


def _joined(words: Words, close: str = "@") -> str:
    text = " ".join(words)
    for mark in close:
        text = text.replace(f" {mark} ", mark)
    return text.replace("( ", "(").replace(" )", ")").replace("~ ", "~")


def _table(columns: Sequence[SheetColumn]) -> Iterator[str]:
    said = [[_joined(words) for words in (column.header, *column.cells)] for column in columns]
    widths = [max(map(len, column)) for column in said]
    for row in zip_longest(*said, fillvalue=""):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f" {' | '.join(cells)} ;"
