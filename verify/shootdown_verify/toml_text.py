"""Reads TOML that a person wrote, so that every mistake is an error with a place.

Only what testbed files and fault plans have in common may live here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from shootdown_verify.source import Source, SourceError, Span


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


def toml_word(value: object) -> str:
    """A value as an error quotes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return type(value).__name__ if isinstance(value, dict | list) else str(value)


def _last_line(source: Source) -> Span:
    return Span(source.text.count("\n") + 1, 1)
