"""Races a scenario on a testbed: asks for the run, shows how far it is, and ends it in order.

Whatever happens, the histories recorded so far are there to be judged.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Self

from shootdown_cli.client import ControlClient
from shootdown_cli.testbed import Processes
from shootdown_protocol import messages
from shootdown_protocol.messages import PROTOCOL_VERSION, RunEnd

POLL_S = 0.1
PROGRESS_S = 1.0
"""A run that takes longer shows how far it is."""


@dataclass(slots=True)
class Raced:
    """How a run ended: ``instances`` have drained.

    ``doubts`` are reasons why it cannot be ok; ``failed`` says why the testbed itself failed.
    """

    instances: int = 0
    elapsed_s: float = 0.0
    failed: str = ""
    doubts: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)


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

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def race(
    client: ControlClient,
    request: messages.RunScenario,
    processes: Processes | None,
    show: Callable[[str], None],
) -> Raced:
    """Run a scenario to its end, or to Ctrl-C, or to the testbed's."""
    raced = Raced()
    begin = time.monotonic()
    client.send(request)
    run = 0
    asked_to_end = 0
    shown = begin
    with Interrupts() as interrupts:
        while True:
            answer = client.receive(POLL_S)
            if isinstance(answer, messages.RunStarted):
                run = answer.run
            elif isinstance(answer, messages.RunEnded):
                _take_end(raced, answer)
                break
            elif isinstance(answer, messages.ErrorReply):
                raced.failed = answer.why
                break
            elif isinstance(answer, messages.RunProgress):
                raced.instances = answer.done
                now = time.monotonic()
                if now - shown >= PROGRESS_S:
                    shown = now
                    show(_progress(answer, now - begin))
            if processes is not None and processes.died() and "daemon" in processes.ended:
                raced.failed = f"the testbed ended during the run: {processes.describe()}"
                break
            if interrupts.count > asked_to_end:
                asked_to_end = interrupts.count
                if asked_to_end > 1:
                    raced.failed = "interrupted twice: the run was given up"
                    break
                show("ending after the batch under way; once more to give the run up")
                client.send(messages.Abort(client.number(), PROTOCOL_VERSION, run))
    raced.elapsed_s = time.monotonic() - begin
    return raced


def _take_end(raced: Raced, end: messages.RunEnded) -> None:
    raced.instances = end.instances
    raced.counters = end.counters
    if end.end in (RunEnd.AGENT_LOST, RunEnd.FAILED):
        raced.failed = end.why
    elif end.end is not RunEnd.DONE:
        raced.doubts.append(f"the run ended early: {end.why}")


def _progress(progress: messages.RunProgress, elapsed_s: float) -> str:
    rate = progress.done / elapsed_s if elapsed_s else 0.0
    if not progress.of:
        return f"{progress.done:,} instances, {rate:,.0f}/s"
    left = (progress.of - progress.done) / rate if rate else 0.0
    share = 100 * progress.done // progress.of
    return f"{progress.done:,} of {progress.of:,} ({share}%), {rate:,.0f}/s, {left:.0f} s left"


class ProgressLine:
    """One line on a terminal that is written over; plain lines elsewhere; nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        """Write to standard error."""
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._open = False

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

    def end(self) -> None:
        """Clear the line."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._open = False
