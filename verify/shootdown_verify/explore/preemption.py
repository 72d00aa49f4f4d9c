"""Iterative context bounding: all runs without a preemption, then with one, and so on.

A preemption is a switch away from a task that could go on. Most bugs need very few, and a bound
that was completed is an honest statement even where the whole is too large.
"""

from __future__ import annotations

from time import monotonic

from shootdown_verify.explore.breadth_first import Check, Violation, only_prowlers_move
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Transition

Place = tuple[int, int]
"""A state, and the task that moved last (-1 at the start)."""


class PreemptionSearch:
    """Breadth-first search over places, those with fewer preemptions first.

    ``bound`` is the number of preemptions that was looked at in full, -1 for none yet;
    ``complete`` says that more of them lead nowhere new.
    """

    def __init__(self, system: System, *, stuck: Check) -> None:
        """Stand at the start."""
        self.system = system
        self.stuck = stuck
        self.bound = -1
        self.steps = 0
        self.complete = False
        self.violation: Violation | None = None
        self.stopped_by = ""
        self.parent: dict[Place, Place | None] = {(system.start, -1): None}
        self._here: list[Place] = [(system.start, -1)]
        self._later: dict[Place, Place] = {}
        self._at: Place = (system.start, -1)

    def run(self, *, preemptions: int, states: int, deadline: float) -> None:
        """Search up to a bound, to a finding, or to a limit."""
        while self.bound < preemptions and not self.complete:
            if not self._finish_bound(states, deadline):
                return
            self.bound += 1
            self._here = [place for place in self._later if place not in self.parent]
            for place in self._here:
                self.parent[place] = self._later[place]
            self._later = {}
            self.complete = not self._here

    def schedule(self) -> list[int]:
        """The tasks that moved, up to the place of the violation."""
        tasks: list[int] = []
        place: Place | None = self._at
        while place is not None and place[1] >= 0:
            tasks.append(place[1])
            place = self.parent[place]
        return tasks[::-1]

    def _finish_bound(self, states: int, deadline: float) -> bool:
        """Look at all places that need no further preemption; says whether to go on."""
        while self._here:
            if len(self.parent) >= states or monotonic() >= deadline:
                self.stopped_by = "states" if len(self.parent) >= states else "seconds"
                return False
            following: list[Place] = []
            for place in self._here:
                if not self._expand(place, following):
                    return False
            self._here = following
        return True

    def _expand(self, place: Place, following: list[Place]) -> bool:
        system = self.system
        state, last = place
        enabled = system.enabled(state)
        self._at = place
        if all(system.specs[step.task].prowler for step in enabled) and (
            system.is_quiet(state) or only_prowlers_move(system, state)
        ):
            return not self._found(state, None)
        goes_on = any(step.task == last for step in enabled)
        for step in enabled:
            self.steps += 1
            if step.findings:
                return not self._found(state, step)
            after = (step.apply(state), step.task)
            if after in self.parent:
                continue
            if goes_on and step.task != last:
                self._later.setdefault(after, place)
            else:
                self.parent[after] = place
                following.append(after)
        return True

    def _found(self, state: int, step: Transition | None) -> bool:
        findings = self.stuck(state) if step is None else step.findings
        if findings:
            self.violation = Violation(state, step, findings)
        return bool(findings)
