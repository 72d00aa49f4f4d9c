"""The standard streams: what becomes of one that is closed, and of one that takes nothing more."""

from __future__ import annotations

import contextlib
import io
import os
import sys

_ALL = (0, 1, 2)


class Out(io.TextIOWrapper):
    """Standard output whose errors say that they are of it, as those of a file name the file."""

    NAME = "standard output"

    def write(self, text: str, /) -> int:
        """Write as any stream does."""
        try:
            return super().write(text)
        except OSError as error:
            error.filename = error.filename or self.NAME
            raise

    def flush(self) -> None:
        """Flush as any stream does."""
        try:
            super().flush()
        except OSError as error:
            error.filename = error.filename or self.NAME
            raise


def make_sound() -> None:
    """Open what was closed, so that no file of ours gets its number; name standard output.

    What is written to a stream that was closed goes nowhere, as whoever closed it wants.
    """
    for number in _ALL:
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # The lowest that is free.
    # Each is open until the process ends.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as above
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - as above
    old = sys.stdout
    if type(old) is io.TextIOWrapper:  # And not what a test has put there.
        encoding, errors, by_line = old.encoding, old.errors, old.line_buffering
        sys.stdout = Out(old.detach(), encoding, errors, line_buffering=by_line)


def say(text: object) -> None:
    """Tell a person on standard error; what cannot be told there changes no exit status."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def let_go() -> None:
    """What a stream still holds and cannot write goes nowhere.

    Else Python would try once more, and complain, when it flushes at its end.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
