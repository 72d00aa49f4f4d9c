"""Text that a person wrote, and the errors that point into it.

Scenarios, testbed files and whatever else is read from `configs/` report mistakes through the one
class here, so that all of them show file, line, column, what was seen and what was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN_MAX: Final = 40
"""Characters of a word that an error quotes."""
_COMPARED_MAX: Final = 64
"""Characters of a word that are compared with the right words; difflib is quadratic."""
_LINE_SHOWN_MAX: Final = 120
_SHORT: Final = 3
"""Characters of a word that is like another already if half of it is, as r0 and r1 are."""
_ALIKE: Final = 0.6
_ALIKE_SHORT: Final = 0.5


class Span(NamedTuple):
    """A place in a text: line and column count from 1, width in characters is at least 1."""

    line: int
    column: int
    width: int = 1


class Source(msgspec.Struct, frozen=True):
    """A text and the path by which a person knows it."""

    path: str
    text: str

    def line(self, number: int) -> str:
        """Return one line without its end, ``""`` past the last; lines count from 1."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


class SourceError(ValueError):
    """A mistake in a text that a person wrote.

    ``str()`` of it is the whole message: ``path:line:column: ...``, the line and a caret.
    ``nearest`` is the right word that looks most like the wrong one, or ``""``.
    """

    def __init__(
        self, source: Source, span: Span, *, seen: str, expected: str, nearest: str = ""
    ) -> None:
        """Point at ``span``; ``seen`` and ``expected`` are phrases, without a full stop."""
        self.path = source.path
        self.line = span.line
        self.column = span.column
        self.seen = seen
        self.expected = expected
        self.nearest = nearest
        hint = f"; did you mean '{nearest}'?" if nearest else ""
        headline = f"{source.path}:{span.line}:{span.column}: {seen}; expected {expected}{hint}"
        super().__init__(f"{headline}\n{_excerpt(source.line(span.line), span)}".rstrip())


def _excerpt(line: str, span: Span) -> str:
    """Show a line with a caret below; a tab stays a tab in both, so that they line up."""
    first = max(0, span.column - _LINE_SHOWN_MAX // 2) if len(line) > _LINE_SHOWN_MAX else 0
    shown = "".join(_visible(c) for c in line[first : first + _LINE_SHOWN_MAX])
    before = line[first : span.column - 1]
    margin = "".join("\t" if c == "\t" else " " for c in before)
    width = max(1, min(span.width, len(shown) - len(before)))
    return f"    {shown}\n    {margin}^{'~' * (width - 1)}"


def _visible(character: str) -> str:
    return character if character.isprintable() or character == "\t" else "?"


def quote(word: str) -> str:
    """Quote a word for an error, cut to a readable length, control characters escaped."""
    cut = word if len(word) <= _SHOWN_MAX else word[: _SHOWN_MAX - 3] + "..."
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut) + "'"


def nearest(word: str, right: Iterable[str]) -> str:
    """Return the word of ``right`` that looks most like ``word``, or ``""`` if none does."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    words = sorted(right)
    for candidate in words:
        if candidate.lower() == word.lower():
            return candidate
    alike = _ALIKE_SHORT if len(word) <= _SHORT else _ALIKE
    close = difflib.get_close_matches(word[:_COMPARED_MAX], words, n=1, cutoff=alike)
    return close[0] if close else ""


def one_of(words: Iterable[str]) -> str:
    """List words for an error, in the order given: ``a, b or c``."""
    listed = list(words)
    if len(listed) <= 1:
        return "".join(listed) or "nothing"
    return f"{', '.join(listed[:-1])} or {listed[-1]}"
