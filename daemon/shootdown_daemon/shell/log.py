"""Structured logs for people: one JSON file a process, written by structlog.

Importing structlog costs as much as starting a process, so lines wait in a list until the loop
has time for it (`ProcessLog.flush`), with the time at which they were said.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from shootdown_protocol.limits import LOG_BYTES_MAX

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Line = tuple[str, float, str, dict[str, Any]]


class ProcessLog:
    """The log of one process, ``NAME.log`` in a folder; it ends at `LOG_BYTES_MAX`.

    A peer that errs without end could else fill the disk that histories need.
    """

    def __init__(self, folder: Path, process: str) -> None:
        """Open the file; nothing heavy is imported yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = (folder / f"{process}.log").open("a", encoding="utf-8")
        self._process = process
        self._lines: list[Line] = []
        self._logger: FilteringBoundLogger | None = None
        self._dropped = 0

    def info(self, event: str, **fields: object) -> None:
        """Something that a person may want to know."""
        self._lines.append(("info", time.time(), event, fields))

    def error(self, event: str, **fields: object) -> None:
        """Something that went wrong; written at once."""
        self._lines.append(("error", time.time(), event, fields))
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        lines, self._lines = self._lines, []
        if lines and self._file.tell() > LOG_BYTES_MAX:
            self._dropped += len(lines)
            return
        logger = self._structlog() if lines else None
        for level, when, event, fields in lines:
            assert logger is not None
            getattr(logger, level)(event, at=round(when, 6), **fields)
        self._file.flush()

    def close(self) -> None:
        """Write what waits, say how much was not written, and close the file."""
        self.flush()
        if self._dropped:
            self._structlog().error("log_full", lines_not_written=self._dropped)
        self._file.close()

    def _structlog(self) -> FilteringBoundLogger:
        if self._logger is None:
            structlog = _import_structlog()
            logger: FilteringBoundLogger = structlog.wrap_logger(
                structlog.WriteLogger(self._file),
                processors=[
                    structlog.processors.add_log_level,
                    structlog.processors.JSONRenderer(default=str),
                ],
                process=self._process,
            )
            self._logger = logger
        return self._logger


def _import_structlog() -> ModuleType:
    """Import structlog without rich, which it takes for tracebacks on terminals if it is there.

    rich comes along with typer and is twice as heavy: on busy cores a process that imported both
    was taken for dead.
    """
    if "rich" in sys.modules:
        return importlib.import_module("structlog")
    sys.modules["rich"] = None  # type: ignore[assignment]  # its import then fails
    try:
        return importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
