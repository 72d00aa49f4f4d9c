"""Ctrl-C and SIGTERM as something to look at, where what is under way must end in order."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self


class Interrupts:
    """Counts Ctrl-C instead of raising, so that clean-up is never cut short."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0

    def __enter__(self) -> Self:
        """Take SIGINT and SIGTERM over."""
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def given_up(self) -> bool:
        """Whether there was one."""
        return self.count > 0

    def obey(self) -> None:
        """End here if there was one."""
        if self.count:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
