"""Colours, which are used only where they are asked for."""

from __future__ import annotations

from enum import Enum


class Style(Enum):
    """What a piece of text is, and the SGR code that shows it."""

    PLAIN = ""
    LABEL = "2"
    CHANGE = "36"
    WRONG = "1;31"
    GOOD = "1;32"
    DOUBT = "1;33"


def paint(text: str, style: Style, *, color: bool) -> str:
    """Wrap a text in its colour; as it is without ``color``."""
    return f"\x1b[{style.value}m{text}\x1b[0m" if color and style.value else text
