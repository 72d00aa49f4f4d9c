"""Breadth-first search over states.

A finding is made along a shortest run, for levels are finished one after the other. The search
stops at its first finding, or when it is told to, and can then be resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo, Transition

Check = Callable[[int], tuple[Finding, ...]]
"""Judges a state in which all is quiet, or in which nothing can happen any more."""
_STATES_BETWEEN_CLOCKS: Final = 4096


@dataclass(frozen=True, slots=True)
class Violation:
    """Where a search met findings: in ``state``, or in the step that it makes from there."""

    state: int
    transition: Transition | None
    findings: tuple[Finding, ...]


class BreadthFirst:
    """One search. ``parent`` holds every state found, with one before it (-1 for the first).

    With ``every`` it does not stop at its first finding; ``violations`` has the first of each
    check.
    """

    def __init__(self, system: System, *, quiet: Check, stuck: Check, every: bool = False) -> None:
        """Stand at the start."""
        self.system = system
        self.quiet = quiet
        self.stuck = stuck
        self.parent: dict[int, int] = {system.start: -1}
        self.frontier = [system.start]
        self.depth = 0
        self.transitions = 0
        self.every = every
        self.violations: dict[str, Violation] = {}
        self.over = False
        self.stopped_by = ""
        self._place = 0
        self._next: list[int] = []
        self._memos: dict[int, list[Memo]] = {}

    @property
    def complete(self) -> bool:
        """Whether every order has been looked at."""
        return not self.frontier and not self.over

    def run(
        self, *, states: int, deadline: float = float("inf"), depth: float = float("inf")
    ) -> None:
        """Search until all is done, or a finding, or a limit: ``depth`` of states expanded.

        ``deadline`` is a reading of `time.monotonic`. What stopped it is in ``stopped_by``.
        """
        self.stopped_by = ""
        while self.frontier and not self.over:
            if self.depth >= depth:
                self.stopped_by = "depth"
            elif len(self.parent) >= states:
                self.stopped_by = "states"
            elif monotonic() >= deadline:
                self.stopped_by = "seconds"
            if self.stopped_by:
                return
            if self._place == 0 and not self._judge_quiet():
                return
            part = self.frontier[self._place : self._place + _STATES_BETWEEN_CLOCKS]
            self._expand(part)
            self._place += len(part)
            if self._place >= len(self.frontier):
                self._descend()

    def path(self, state: int) -> list[Transition]:
        """The steps by which a state was first reached."""
        system = self.system
        steps: list[Transition] = []
        while (before := self.parent[state]) >= 0:
            steps.append(
                next(step for step in system.enabled(before) if step.apply(before) == state)
            )
            state = before
        return steps[::-1]

    def _descend(self) -> None:
        self.frontier, self._next = self._next, []
        self._place = 0
        self.depth += 1

    def _judge_quiet(self) -> bool:
        """Judge the states of the frontier in which all is quiet; says whether to go on."""
        mask, bits = self.system.quiet_mask, self.system.quiet_bits
        for state in [state for state in self.frontier if state & mask == bits]:
            if self._found(state, None, self.quiet(state)):
                return False
        return True

    def _expand(self, states: list[int]) -> None:
        """Find the successors of states: the loop that all the time is spent in."""
        system = self.system
        nodes_mask, known = system.nodes_mask, self._memos
        parent, append = self.parent, self._next.append
        prowlers = len(system.specs) - system.prowlers_from
        count = self.transitions
        for state in states:
            memos = known.get(state & nodes_mask)
            if memos is None:
                memos = [memo for memo in system.memos(state) if memo is not None]
                known[state & nodes_mask] = memos
            before = count
            for memo in memos:
                outcome = memo.get(state & memo.mask)
                if not outcome:
                    if outcome is None:
                        outcome = system.perform(memo, state)
                    if not outcome:
                        continue
                keep, put, look, _ = outcome
                count += 1
                successor = state & keep | put
                if successor not in parent:
                    parent[successor] = state
                    append(successor)
                if look is not None and self._look(state, look):
                    self.transitions = count
                    return
            if count - before <= prowlers and self._is_stuck(state):
                return
        self.transitions = count

    def _look(self, state: int, transition: Transition) -> bool:
        if transition.findings:
            return self._found(state, transition, transition.findings)
        system = self.system
        if system.overlaps(state):
            memo = system.memo(transition.node)
            assert memo is not None
            key = state & memo.mask
            known = memo.table.get(key)
            if known and known[3] is transition:  # Else it has been forgotten, and for a reason.
                memo.table[key] = (transition.keep, transition.put, None, transition)
        return False

    def _is_stuck(self, state: int) -> bool:
        """Judge a state in which nobody but prowlers can move, whatever they do meanwhile."""
        if self.system.is_quiet(state) or not only_prowlers_move(self.system, state):
            return False
        return self._found(state, None, self.stuck(state))

    def _found(
        self, state: int, transition: Transition | None, findings: tuple[Finding, ...]
    ) -> bool:
        """Keep what was found; says whether the search is over."""
        for finding in findings:
            if finding.check not in self.violations:
                self.violations[finding.check] = Violation(state, transition, findings)
        self.over = bool(self.violations) and not self.every
        return self.over


def only_prowlers_move(system: System, state: int) -> bool:
    """Whether no move of prowlers, from here on, lets anybody else move again."""
    seen = {state}
    waiting = [state]
    while waiting:
        state = waiting.pop()
        for transition in system.enabled(state):
            if not system.specs[transition.task].prowler:
                return False
            after = transition.apply(state)
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return True
