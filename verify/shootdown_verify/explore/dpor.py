"""Search over schedules instead of states: sleep sets, and source-DPOR with sleep sets.

Both make each *trace* (schedules that differ in the order of independent steps only) complete
exactly once; runs that end before that because everything enabled is asleep are *blocked*. Sleep
sets alone walk many blocked prefixes and serve as the reference. Source-DPOR (Abdulla and others,
2014) finds out from the races of a run which other runs are needed.

Two things lose executions, silently, if the textbook algorithm is applied to steps like ours.

A guard may disable a step. Two rules make up for it, and both are needed: when the step that would
race with an earlier event is disabled where that event is taken out, the walk goes on to still
earlier events; and at every node, races are looked for also from steps that are disabled there,
since such a step might have run before it was disabled.

A step is compound: what it touches may depend on what it reads (which frame is the next free one,
where a walk leads). The algorithm needs a race's second step to be in conflict with the same steps
wherever it is put. So two steps count as dependent if *anything* that their nodes were ever seen to
touch conflicts (`Memo.reads`, `Memo.writes`). Those sets grow while a search learns; a search in
which they have grown is made again until they have not.

An earlier event is taken out by running on from the state before it with the events that do not
happen after it; these read what they read before, so that is two operations on integers for each.
Nothing here ends if a server that prowls is among the tasks; ``run_steps`` limits a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo, Transition


@dataclass(slots=True)
class Tally:
    """What a search over schedules has done. ``tasks`` is the schedule that led to findings.

    ``cut`` runs were given up for their length. ``searches``: how often it was made.
    """

    traces: int = 0
    blocked: int = 0
    steps: int = 0
    cut: int = 0
    searches: int = 0
    findings: tuple[Finding, ...] = ()
    tasks: tuple[int, ...] = ()
    stopped_by: str = ""


@dataclass(slots=True)
class Frame:
    """A node of the tree of schedules, on the way to the run at hand.

    ``memos`` are of all tasks' pending steps, ``sleep`` of those that need not be tried here.
    """

    state: int
    memos: list[Memo | None]
    enabled: dict[int, Transition]
    sleep: dict[int, Memo]
    backtrack: dict[int, None] = field(default_factory=dict)
    taken: Transition | None = None


_STEPS_BETWEEN_CLOCKS: Final = 256

End = Callable[[int], tuple[Finding, ...]]
"""Judges a state in which nothing can happen any more."""


class ScheduleSearch:
    """The depth-first walk that sleep sets and source-DPOR share.

    A run is given up after ``run_steps`` steps, and then the search is never ``complete``.
    """

    def __init__(self, system: System, end: End, *, run_steps: int) -> None:
        """Stand at the start."""
        self.system = system
        self.end = end
        self.run_steps = run_steps
        self.tally = Tally()
        self.complete = False
        self.frames: list[Frame] = []
        self._footprints = -1

    def run(self, *, steps: int, deadline: float = float("inf")) -> Tally:
        """Walk until all is done, a finding, or a limit; may be called again to go on.

        ``steps`` are those made in all, ``deadline`` is a reading of `monotonic`. When all is
        done and footprints have grown meanwhile, everything is done again.
        """
        tally = self.tally
        tally.stopped_by = ""
        while not self.complete and not tally.findings:
            if not self.frames:
                if self._footprints == self.system.footprints:
                    self.complete = not tally.cut
                    return tally
                self._start_over()
            if tally.steps >= steps:
                tally.stopped_by = "steps"
                return tally
            if monotonic() >= deadline:
                tally.stopped_by = "seconds"
                return tally
            for _ in range(_STEPS_BETWEEN_CLOCKS):
                if not self.frames or tally.findings:
                    break
                self._advance()
        return tally

    def _start_over(self) -> None:
        tally = self.tally
        tally.searches += 1
        tally.traces = tally.blocked = tally.cut = 0
        self._footprints = self.system.footprints
        self._forget()
        self._arrive(self.system.start, {})

    def _advance(self) -> None:
        """Take the last step back if it was made from here, then make the next, or go up."""
        frame = self.frames[-1]
        if frame.taken is not None:
            task = frame.taken.task
            memo = frame.memos[task]
            assert memo is not None
            frame.sleep[task] = memo
            frame.taken = None
            self._undo()
        step = self._choose(frame)
        if step is None:
            self.frames.pop()
        else:
            self._make(frame, step)

    def _make(self, frame: Frame, step: Transition) -> None:
        """Make a step and go on to the node after it."""
        self.tally.steps += 1
        memo = frame.memos[step.task]
        assert memo is not None
        self._do(frame, memo, step)
        frame.taken = step
        self._report(step.findings)
        sleep = {task: other for task, other in frame.sleep.items() if not depend(other, memo)}
        self._arrive(step.apply(frame.state), sleep)

    def _arrive(self, state: int, sleep: dict[int, Memo]) -> None:
        """Come to a node; count the run if it ends here."""
        system = self.system
        enabled = {}
        memos = system.memos(state)
        for task, memo in enumerate(memos):
            if memo is not None:
                outcome = memo.get(state & memo.mask)
                if outcome is None:
                    outcome = system.perform(memo, state)
                if outcome:
                    enabled[task] = outcome[3]
        if not enabled:
            self.tally.traces += 1
            self._report(self.end(state))
        elif all(task in sleep for task in enabled):
            self.tally.blocked += 1
        elif len(self.frames) >= self.run_steps:
            self.tally.cut += 1
            enabled = {}
        frame = Frame(state, memos, enabled, sleep)
        self.frames.append(frame)
        self._begin(frame)

    def _report(self, findings: tuple[Finding, ...]) -> None:
        if findings:
            self.tally.findings = findings
            taken = (frame.taken for frame in self.frames)
            self.tally.tasks = tuple(step.task for step in taken if step is not None)

    def _begin(self, frame: Frame) -> None:
        """Say which tasks a node begins with: here all."""
        frame.backtrack = dict.fromkeys(frame.enabled)

    def _choose(self, frame: Frame) -> Transition | None:
        for task in frame.backtrack:
            if task in frame.enabled and task not in frame.sleep:
                return frame.enabled[task]
        return None

    def _do(self, frame: Frame, memo: Memo, step: Transition) -> None:
        """Note that a step is made."""

    def _undo(self) -> None:
        """Note that the last step made is taken back."""

    def _forget(self) -> None:
        """Note that no step is made."""


class SleepSets(ScheduleSearch):
    """Sleep sets alone: every awake task is tried at every node."""


@dataclass(slots=True)
class Event:
    """A step of the run at hand. Sets of events are bits by place in the run.

    ``reads`` and ``writes`` are its node's, ``state`` is the one before it, and ``past`` are the
    events that happen before it, itself included.
    """

    task: int
    reads: int
    writes: int
    state: int
    keep: int
    put: int
    past: int


class SourceDpor(ScheduleSearch):
    """Source-DPOR with sleep sets and the two rules for guards."""

    def __init__(self, system: System, end: End, *, run_steps: int) -> None:
        """Stand at the start."""
        super().__init__(system, end, run_steps=run_steps)
        self.events: list[Event] = []
        self._last: list[list[int]] = []

    def _forget(self) -> None:
        self.events.clear()
        self._last = [[] for _ in self.system.specs]

    def _begin(self, frame: Frame) -> None:
        for task in frame.enabled:
            if task not in frame.sleep:
                frame.backtrack[task] = None
                break
        self._races_of_disabled(frame)

    def _choose(self, frame: Frame) -> Transition | None:
        step = super()._choose(frame)
        if step is not None:
            self._races(frame, step.task, enabled=True)
        return step

    def _do(self, frame: Frame, memo: Memo, step: Transition) -> None:
        events = self.events
        reads, writes = memo.reads, memo.writes
        touched = reads | writes
        last = self._last[step.task]
        past = events[last[-1]].past if last else 0
        bit = 1 << len(events)
        waiting = bit - 1 & ~past
        while waiting:
            place = waiting.bit_length() - 1
            event = events[place]
            if event.writes & touched or event.reads & writes:
                past |= event.past
                waiting &= ~past
            else:
                waiting ^= 1 << place
        last.append(len(events))
        events.append(Event(step.task, reads, writes, frame.state, step.keep, step.put, past | bit))

    def _undo(self) -> None:
        self._last[self.events.pop().task].pop()

    def _races_of_disabled(self, frame: Frame) -> None:
        """Look for races from steps that are disabled here, unless the last step left them alone.

        If it did not touch what such a step touches, the races are those of the node before.
        """
        if not self.events:
            return
        made = self.events[-1]
        for task, memo in enumerate(frame.memos):
            if memo is None or task in frame.enabled:
                continue
            if task == made.task or _conflict(memo, made):
                self._races(frame, task, enabled=False)

    def _races(self, frame: Frame, task: int, *, enabled: bool) -> None:
        """Find events that race with a task's pending step, and have the reversal tried."""
        events = self.events
        last = self._last[task]
        memo = frame.memos[task]
        assert memo is not None
        reads, touched, writes = memo.reads, memo.reads | memo.writes, memo.writes
        waiting = (1 << len(events)) - 1
        if last:
            waiting &= ~events[last[-1]].past
        while waiting:
            place = waiting.bit_length() - 1
            event = events[place]
            if event.writes & touched or event.reads & writes:
                future, unmade = self._after(place)
                if unmade & reads:
                    state = self._without(place, future)
                    there = self.system.pending(state, task) is not None
                else:
                    there = enabled
                if there:
                    self._have_reversed(place, future, task, memo)
                    waiting &= ~event.past
                    continue
            waiting ^= 1 << place

    def _after(self, place: int) -> tuple[int, int]:
        """The events that happen after an event, and all that it and they write."""
        events = self.events
        future = 0
        unmade = events[place].writes
        for number in range(place + 1, len(events)):
            event = events[number]
            if event.past >> place & 1:
                future |= 1 << number
                unmade |= event.writes
        return future, unmade

    def _without(self, place: int, future: int) -> int:
        """The present state, had an event and all that happen after it not been."""
        events = self.events
        state = events[place].state
        for number in range(place + 1, len(events)):
            if not future >> number & 1:
                event = events[number]
                state = state & event.keep | event.put
        return state

    def _have_reversed(self, place: int, future: int, task: int, memo: Memo) -> None:
        """Have one of the steps that can begin the reversal tried where an event was taken."""
        backtrack = self.frames[place].backtrack
        events = self.events
        seen = reads = writes = 0
        initials = []
        for number in range(place + 1, len(events)):
            if future >> number & 1:
                continue
            event = events[number]
            if not seen >> event.task & 1:
                seen |= 1 << event.task
                if not (event.writes & (reads | writes) or event.reads & writes):
                    if event.task in backtrack:
                        return
                    initials.append(event.task)
            reads |= event.reads
            writes |= event.writes
        if not (seen >> task & 1 or memo.writes & (reads | writes) or memo.reads & writes):
            initials.append(task)
        if task not in backtrack or task not in initials:
            backtrack[initials[-1]] = None


def depend(one: Memo, other: Memo) -> bool:
    """Whether the order of two nodes' steps may matter."""
    writes = one.writes
    return bool(writes & (other.reads | other.writes) or one.reads & other.writes)


def _conflict(memo: Memo, event: Event) -> bool:
    writes = memo.writes
    return bool(writes & (event.reads | event.writes) or memo.reads & event.writes)
