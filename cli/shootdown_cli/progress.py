"""How far a long command has come, said on standard error."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

BAR_WIDTH = 40
BAR_LEAST = 5
"""A narrower bar is left out."""
COLUMNS = 80
"""How wide a line is where nobody knows."""
LINE_EVERY_S = 5.0
"""How often at most a share is written where no line can be written over."""
PULSE_S = 1.0


class ProgressLine:
    """One line on a terminal that is written over; plain lines elsewhere; or nothing."""

    def __init__(self, *, quiet: bool) -> None:
        """Write to standard error; nothing at all when ``quiet``."""
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open = False
        self._began = self._shown = time.monotonic()

    def show(self, text: str) -> None:
        """Show a line in place of the last one."""
        if self._quiet:
            return
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text[: self._columns() - 1]}")
            self._open = True
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def show_share(self, done: int, total: int, what: str) -> None:
        """Show how many of all have been done, and for how long that has been going on."""
        said = f"{done} of {total} {what}"
        width = min(BAR_WIDTH, self._columns() - len(said) - len("[] , 999 s") - 1)
        bar = "#" * (width * done // total)
        self.show_spent(f"[{bar:<{width}}] {said}" if width >= BAR_LEAST else said)

    def show_spent(self, text: str) -> None:
        """Show a text and for how long it has been going on, where no terminal is now and then."""
        now = time.monotonic()
        if not self._terminal and now - self._shown < LINE_EVERY_S:
            return
        self._shown = now
        self.show(f"{text}, {now - self._began:.0f} s")

    def _columns(self) -> int:
        """How wide a line may be: a wider one could not be written over."""
        if not self._terminal:
            return COLUMNS
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS

    def end(self) -> None:
        """Clear the line."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False


class Pulse:
    """Shows every second what something says of itself that has no time to show it.

    ``text`` is called from a thread of its own.
    """

    def __init__(self, text: Callable[[], str], *, quiet: bool) -> None:
        """Show nothing yet; nothing at all when ``quiet``."""
        self._text = text
        self._line = ProgressLine(quiet=quiet)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the line, whatever has happened."""
        self._over.set()
        self._thread.join()
        self._line.end()

    def _beat(self) -> None:
        while not self._over.wait(PULSE_S):
            self._line.show_spent(self._text())
