"""Races a scenario on a testbed: asks for the run, shows how far it is, and ends it in order.

Whatever happens, the histories recorded so far are there to be judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.interrupts import Interrupts
from shootdown_cli.places import TestbedRecord
from shootdown_cli.testbed import Processes
from shootdown_protocol import messages
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import FaultStatus
from shootdown_protocol.messages import PROTOCOL_VERSION, RunEnd

POLL_S = 0.1
PROGRESS_S = 1.0
"""A run that takes longer shows how far it is."""
SILENT_S = 30.0
"""How long a daemon may say nothing; laying out the largest memory takes a third of it."""


@dataclass(slots=True)
class Raced:
    """How a run ended: ``instances`` have drained.

    ``doubts`` are reasons why it cannot be ok; ``failed`` says why the testbed itself failed,
    ``last_words`` what its processes wrote last, and ``hung`` that there is no use in waiting for
    them.
    """

    instances: int = 0
    elapsed_s: float = 0.0
    failed: str = ""
    hung: bool = False
    last_words: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    faults: tuple[FaultStatus, ...] = ()


class Race:
    """One run, from its request to its end, to Ctrl-C, or to the testbed's.

    ``processes`` are those of a testbed of one's own, None for another's, which lives as long as
    the lock in its folder is held.
    """

    def __init__(
        self,
        client: ControlClient,
        request: messages.RunScenario,
        record: TestbedRecord,
        processes: Processes | None,
        interrupts: Interrupts,
        show: Callable[[str], None],
    ) -> None:
        """Ask for nothing yet."""
        self.client = client
        self.request = request
        self.record = record
        self.processes = processes
        self.interrupts = interrupts
        self.show = show
        self.raced = Raced()
        self._over = False
        self._run = 0
        self._asked_to_end = False
        self._began_s = self._shown_s = self._heard_s = time.monotonic()

    def run(self) -> Raced:
        """Ask for the run and see it to its end; `UsageError` when the testbed is not free."""
        self.client.send(self.request)
        while not self._over:
            answer = self.client.receive(POLL_S)
            if answer is not None:
                self._heard_s = time.monotonic()
                self._hear(answer)
            else:
                self._look_for_life()
            if self.interrupts.count and not self._over:
                self._end_early()
        self.raced.elapsed_s = time.monotonic() - self._began_s
        return self.raced

    def _hear(self, answer: messages.ControlFromDaemon) -> None:
        if isinstance(answer, messages.RunStarted):
            self._run = answer.run
        elif isinstance(answer, messages.RunEnded):
            _take_end(self.raced, answer)
            self._over = True
        elif isinstance(answer, messages.ErrorReply) and answer.request == self.request.request:
            if answer.code is ErrorCode.TESTBED_BUSY:
                raise _busy(answer.why, self.record.name)
            self._fail(answer.why)
        elif isinstance(answer, messages.RunProgress):
            self.raced.instances = answer.done
            if self._heard_s - self._shown_s >= PROGRESS_S:
                self._shown_s = self._heard_s
                self.show(_progress(answer, self._heard_s - self._began_s))

    def _look_for_life(self) -> None:
        """Nothing came: see whether the daemon lives, and whether it can be expected to speak."""
        silent_s = time.monotonic() - self._heard_s
        if self.processes is None:
            if not places.is_live(self.record.path):
                self._fail(f"the testbed {self.record.name} has ended")
        elif self.processes.look() and "daemon" in self.processes.ended:
            self._fail("the testbed ended during the run")
        elif self.processes.ended and silent_s > self.processes.notice_s:
            self._fail(f"the daemon has said nothing for {silent_s:.1f} s", hung=True)
        if silent_s > SILENT_S:
            self._fail(f"the daemon has said nothing for {silent_s:.0f} s", hung=True)

    def _end_early(self) -> None:
        """Ctrl-C: end after the batch under way; a second time, give the run up."""
        if self.interrupts.count > 1:
            self._fail("interrupted twice: the run was given up", hung=True)
        elif self._run and not self._asked_to_end:
            self._asked_to_end = True
            self.show("ending after the batch under way; once more to give the run up")
            self.client.send(messages.Abort(self.client.number(), PROTOCOL_VERSION, self._run))

    def _fail(self, why: str, *, hung: bool = False) -> None:
        self.raced.failed, self.raced.hung = why, hung
        self._over = True


def _busy(why: str, name: str) -> UsageError:
    return UsageError(
        ErrorCode.TESTBED_BUSY,
        seen=why,
        expected="a testbed that is free: wait until that is over (`shootdown status` tells)",
        where=f"--on {name}",
    )


def _take_end(raced: Raced, end: messages.RunEnded) -> None:
    raced.instances = end.instances
    raced.counters = end.counters
    raced.faults = end.faults
    raced.doubts += [
        f"fault {each.number} was never applied: {each.fault}"
        for each in end.faults
        if not each.applied
    ]
    if end.end in (RunEnd.AGENT_LOST, RunEnd.FAILED):
        raced.failed = end.why
    elif end.end is not RunEnd.DONE:
        raced.doubts.append(f"the run ended early: {end.why}")


def _progress(progress: messages.RunProgress, elapsed_s: float) -> str:
    rate = progress.done / elapsed_s if elapsed_s else 0.0
    if not progress.of:
        return f"{progress.done:,} instances, {rate:,.0f}/s"
    share = 100 * progress.done // progress.of
    told = f"{progress.done:,} of {progress.of:,} ({share}%)"
    if not rate:
        return told
    left = (progress.of - progress.done) / rate
    return f"{told}, {rate:,.0f}/s, {left:.0f} s left"
