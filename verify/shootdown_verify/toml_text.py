"""Reads TOML that a person wrote, so that every mistake is an error with a place.

Only what testbed files and fault plans have in common may live here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from shootdown_verify.source import Source, SourceError, Span, quote

TYPES: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a float",
    bool: "a boolean",
    list: "an array",
    dict: "a table",
}
"""What TOML calls what its reader gives."""


def read_text(path: str | Path, error: type[SourceError]) -> str:
    """Read a file's text; raises ``error`` if it is no UTF-8, `OSError` if it cannot be read."""
    content = Path(path).read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError as wrong:
        source = Source(str(path), content.decode(errors="replace"))
        line = content[: wrong.start].count(b"\n") + 1
        seen = f"byte {content[wrong.start]:#04x}"
        raise error(source, Span(line, 1), seen=seen, expected="UTF-8 text") from wrong


def read_toml(source: Source, error: type[SourceError]) -> dict[str, Any]:
    """Read TOML; deep nesting overflows its reader, and a long number is refused by `int`."""
    try:
        return tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as wrong:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(wrong))
        span = Span(int(place[1]), int(place[2])) if place else _last_line(source)
        seen = str(wrong)[: place.start()] if place else re.sub(r" \(at .*\)$", "", str(wrong))
        raise error(source, span, seen=seen, expected="TOML") from wrong
    except (RecursionError, ValueError) as wrong:
        seen = "something that no TOML reader takes"
        raise error(source, Span(1, 1), seen=seen, expected="key = value") from wrong


def toml_seen(key: str, value: object) -> str:
    """What a key was given, as an error says it: what has parts by its type, else the value."""
    if isinstance(value, dict | list):
        return f"{key} is {toml_type(value)}"
    word = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{key} = {quote(word)}"


def toml_type(value: object) -> str:
    """A value's type in TOML's own words."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return "an array of tables"
    return TYPES.get(type(value), "a date or a time")


def _last_line(source: Source) -> Span:
    return Span(source.text.count("\n") + 1, 1)
