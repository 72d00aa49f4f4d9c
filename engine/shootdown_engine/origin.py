"""Where an exception that nobody expected comes from: whose step, and which line of whose file.

Only what reads that off an exception may live here; what is done about it is the shells'.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from shootdown_engine.task import Task

OWN = "user_"
"""How the names of modules begin that were loaded from a file of a person's own."""


class Origin(NamedTuple):
    """Of an exception: whose step it was, and the last line of a file of one's own; or empty."""

    step: str
    line: str


def origin_of(error: BaseException) -> Origin:
    """Read off an exception where it comes from: its notes, then its frames, the last one first."""
    frames = list(traceback.walk_tb(error.__traceback__))[::-1]
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("in ")]
    step = notes[0] if notes else next(_steps(frame for frame, _ in frames), "")
    own = (
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in frames
        if str(frame.f_globals.get("__name__", "")).startswith(OWN)
    )
    return Origin(step, next(own, ""))


def in_words(error: BaseException) -> str:
    """An exception in one line: its kind, what it says, whose step it was, and where."""
    origin = origin_of(error)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "; ".join(part for part in (said, origin.step, origin.line) if part)


def _steps(frames: Iterator[FrameType]) -> Iterator[str]:
    """Tasks that frames were running, with the steps that they had asked for."""
    for frame in frames:
        for value in frame.f_locals.values():
            if isinstance(value, Task):
                request = getattr(value, "request", None)
                step = "" if request is None else request.full_name or request.apply.__name__
                yield f"in {value.name}" + (f", step {step!r}" if step else "")
