"""How far a long command has come, said on standard error."""

from __future__ import annotations

import sys
import time

BAR_WIDTH = 40
LINE_EVERY_S = 5.0
"""How often at most a share is written where no line can be written over."""


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
            sys.stderr.write(f"\r\x1b[K{text}")
            self._open = True
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def show_share(self, done: int, total: int, what: str) -> None:
        """Show how many of all have been done, and for how long that has been going on."""
        now = time.monotonic()
        if not self._terminal and now - self._shown < LINE_EVERY_S:
            return
        self._shown = now
        bar = "#" * (BAR_WIDTH * done // total)
        spent = now - self._began
        self.show(f"[{bar:<{BAR_WIDTH}}] {done} of {total} {what}, {spent:.0f} s")

    def end(self) -> None:
        """Clear the line."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False
