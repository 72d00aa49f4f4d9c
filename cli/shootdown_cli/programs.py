"""Programs of one's own (``--exec``): their words, what is told to them, and how they are started.

Only what `attach` and `conformance` do alike may live here.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from typing import IO

from shootdown_protocol.errors import ErrorCode, UsageError

EXPECTED = 'words as a shell reads them, such as "PROGRAM {endpoint}"'


def words_of(program: str) -> list[str]:
    """The words of a command line, with quotes as a shell has them."""
    try:
        words = shlex.split(program)
    except ValueError as error:
        raise _wrong(f"{program!r}: {error}", EXPECTED) from error
    if not words:
        raise _wrong(repr(program), EXPECTED)
    return words


def environment(told: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, and what is told as ``SHOOTDOWN_...``.

    Other users cannot read it, as they can the words of a command line.
    """
    return {**os.environ, **{f"SHOOTDOWN_{key.upper()}": value for key, value in told.items()}}


def fill(words: list[str], told: Mapping[str, str]) -> list[str]:
    """Words with ``{endpoint}``, ``{name}`` and ``{device}`` filled in."""
    filled = []
    for word in words:
        for key in ("endpoint", "name", "device"):
            word = word.replace("{" + key + "}", told[key])  # noqa: PLW2901 - word by word, key by key
        filled.append(word)
    return filled


def start_program(
    words: list[str], told: Mapping[str, str], said: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program, which writes to ``said`` if that is given; `UsageError` if it cannot be."""
    stdin = None if said is None else subprocess.DEVNULL
    try:
        return subprocess.Popen(words, env=environment(told), stdin=stdin, stdout=said, stderr=said)
    except OSError as error:
        raise _wrong(f"{words[0]}: {error.strerror}", "a program that can be started") from error


def _wrong(seen: str, expected: str) -> UsageError:
    return UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where="--exec")
