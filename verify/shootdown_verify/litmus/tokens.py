"""The words of a scenario file, with their places.

Only cutting text into tokens may live here; `parser` says what they mean. Comments run from ``#``
to the end of the line. Ends of lines are tokens, because the table is read line by line.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from shootdown_verify.litmus.errors import ScenarioError
from shootdown_verify.source import Span, quote

if TYPE_CHECKING:
    from shootdown_verify.source import Source


class Shape(Enum):
    """What a token looks like."""

    WORD = "a word"
    NUMBER = "a number"
    STRING = "a text in double quotes"
    MARK = "a mark"
    NEWLINE = "the end of a line"
    END = "the end of what is read"


class Token(NamedTuple):
    """A piece of text and where it begins (line and column count from 1).

    The text of an ``END`` is what an error calls it: the end of the file, of a line, of a cell.
    """

    shape: Shape
    text: str
    line: int
    column: int

    @property
    def span(self) -> Span:
        """Where the token lies."""
        is_text = self.shape not in {Shape.NEWLINE, Shape.END}
        return Span(self.line, self.column, len(self.text) if is_text else 1)

    @property
    def seen(self) -> str:
        """What an error says was seen."""
        return self.text if self.shape is Shape.END else quote(self.text)


_TOKEN: Final = re.compile(
    r"""
    (?P<BLANK>   [ \t\r]+ | \#[^\n]* )
  | (?P<NEWLINE> \n )
  | (?P<STRING>  "[^"\n]*" )
  | (?P<WORD>    [A-Za-z_][A-Za-z0-9_]* (?: [-.][A-Za-z0-9_]+ )* )
  | (?P<NUMBER>  [0-9]+ )
  | (?P<MARK>    /\\ | \\/ | [{};=@|:()~] )
    """,
    re.VERBOSE,
)


def tokenize(source: Source) -> list[Token]:
    """Cut a text into tokens, the last an ``END``; raise `ScenarioError` on any other mark."""
    tokens: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(source.text):
        match = _TOKEN.match(source.text, at)
        if match is None:
            raise _stray(source, at, Span(line, at - line_start + 1))
        kind = match.lastgroup
        assert kind is not None
        if kind != "BLANK":
            tokens.append(Token(Shape[kind], match[0], line, at - line_start + 1))
        at = match.end()
        if kind == "NEWLINE":
            line, line_start = line + 1, at
    tokens.append(Token(Shape.END, "the end of the file", line, at - line_start + 1))
    return tokens


def _stray(source: Source, at: int, span: Span) -> ScenarioError:
    character = source.text[at]
    if character == '"':
        expected = "a closing double quote on the same line"
        return ScenarioError(source, span, seen="an open text", expected=expected)
    expected = "a word, a number, a comment after #, or one of { } ; = @ | : ( ) ~ /\\ \\/"
    return ScenarioError(source, span, seen=f"a stray {quote(character)}", expected=expected)
