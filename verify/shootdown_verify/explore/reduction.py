"""Partial-order reduction for breadth-first search: steps that concern nobody else come first.

In a state, take some tasks, at least one of which can move, such that nothing that the others can
do before any of them moves conflicts with a step that they are at: neither write what it reads (as
a step made, or as a guard that was false) nor touch what it writes. Then whatever the others do
before that could as well be done after it, so it is enough to look at the successors by these
tasks: they are a persistent set. Every transition of every run still occurs with the same values
read, so every finding in a step, every deadlock and every end is still found, though along another
order. Most often a single task is such a set, and is followed for as long as it is one; else the
smallest set that is found is expanded.

What the others can do is not declared; it is what was *measured* so far of the nodes that can be
reached from their present ones, over edges followed so far. A cell that a step of the set reads and
all others can only be blocked by, as long as it holds what it holds now, is no conflict
(`Memo.shut`: a guard that read this cell alone was false, and so is false again; nothing behind it
can be reached): so an unlock, a response or the end that somebody awaits is made alone.

Since that knowledge grows, a set is taken on trust, and noted. When nothing is left to expand,
notes made before the last thing learnt are judged anew, and states whose note does not hold any
more are expanded again. When all notes hold, they hold for good. Suppose not: from a state where a
set was expanded, there is a run of others whose last step, by u, is the first that conflicts with a
step of the set. If that one could be made, take it, else any step of the set: all steps of the run
before u's are independent of it, and so is u's unless it is the one in conflict. So the run also
happens after it, and then u makes or tries a step at the same node, and meets the same values up to
the first cell in conflict, which it touches. This run begins further along a chain of steps of
sets, so the reduced search has seen it (by induction over length of run, then of chain): it has
measured that u can come to this node and that the node touches that cell. Nor can the cell's value
have shut u out, as u came there while the cell held it. So the note does not hold, a contradiction.

Such chains must end, or somebody could be put off for ever. Most tasks only move on; a set needs a
step of one of them, or one that leads to a state not met before: on a cycle there would be only
the latter, each to a state that is expanded later. A task that polls for ever never comes back to a
node, as each has another list of results: one that goes on alone for long is *tireless*, and no
chain or set is made for its sake any more.

A first search, which knows nothing, soon comes to its end with nearly all taken on false trust.
Unless it has found something, a few random runs teach what steps touch, and it begins again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from shootdown_verify.explore.breadth_first import BreadthFirst, Check
from shootdown_verify.explore.conflicts import Crowd, is_alone
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo, Outcome

LESSONS: Final = 8
"""Random runs before a search begins again."""
LONG: Final = 1000
"""Steps in a row that concern nobody else, after which a task is taken for tireless."""
LESSON_STEPS: Final = 400
"""Steps after which one of them is given up."""

Memos = list[Memo | None]
Note = tuple[int, int, bool]
"""A state, the tasks that were taken on trust, a bit each, and whether they led to a new state."""


class ReducedSearch(BreadthFirst):
    """Breadth-first search in which steps that concern nobody else are made first.

    Its runs are no shortest ones. ``lessons`` are the random runs that teach it, 0 for none.
    ``tireless`` are tasks, a bit each, that went on alone for so long that they may never end.
    """

    def __init__(
        self,
        system: System,
        *,
        quiet: Check,
        stuck: Check,
        every: bool = False,
        lessons: int = LESSONS,
    ) -> None:
        """Stand at the start, with nothing taken on trust."""
        super().__init__(system, quiet=quiet, stuck=stuck, every=every)
        self._lessons = lessons
        self._notes: list[Note] = []
        self._doubtful: list[Note] = []
        self._knowledge = system.knowledge
        self._looping = self._loops()
        self.tireless = 0

    def _descend(self) -> None:
        super()._descend()
        if self.frontier or self.over:
            return
        self.frontier = self._broken()
        if self.frontier and self._lessons and not self.violations:
            self._begin_again()

    def _begin_again(self) -> None:
        """Learn from random runs, and forget what was searched without knowing that."""
        learn(self.system, self._lessons)
        self._lessons = 0
        self._notes.clear()
        self._knowledge = self.system.knowledge
        self._looping = self._loops()
        self.parent.clear()
        self.parent[self.system.start] = -1
        self.frontier = [self.system.start]
        self.depth = 0

    def _expand(self, states: list[int]) -> None:
        """Follow a chain from each state that has one; then expand a set of all others."""
        system = self.system
        rest: list[tuple[int, Memos, list[Outcome]]] = []
        for state in states:
            memos = system.memos(state)
            outcomes = []
            for memo in memos:
                if memo is None:
                    continue
                outcome = memo.get(state & memo.mask)
                if not outcome:
                    if outcome is None:
                        outcome = system.perform(memo, state)
                    if not outcome:
                        continue
                outcomes.append(outcome)
                if is_alone(system, outcome[3], memos, state) and self._follow(state, memo, memos):
                    break
            else:
                rest.append((state, memos, outcomes))
            if self.over:
                return
        self._expand_sets(rest)

    def _follow(self, state: int, memo: Memo, memos: Memos) -> bool:
        """Make a task's steps for as long as they concern nobody; the first is known not to.

        False when there is none that may be made.
        """
        system, parent, note = self.system, self.parent, self._note
        others = [other for other in memos if other is not memo]
        tasks = 1 << memo.task
        if tasks & self.tireless:
            return False
        moved = False
        for _ in range(LONG):
            outcome = memo.get(state & memo.mask)
            if outcome is None:
                outcome = system.perform(memo, state)
            if not outcome:
                break
            keep, put, look, step = outcome
            if moved and not is_alone(system, step, others, state):
                break
            successor = state & keep | put
            known = successor in parent
            if known and not self._may_go_on(memo.task):
                break
            moved = True
            note((state, tasks, not known))
            self.transitions += 1
            if look is not None and self._look(state, look):
                return True
            if known:
                return True
            parent[successor] = state
            state = successor
            after = system.memo(step.after)
            if after is None:
                break
            memo = after
        else:
            self.tireless |= tasks
        if moved:
            self._next.append(state)
        return moved

    def _expand_sets(self, rest: Sequence[tuple[int, Memos, list[Outcome]]]) -> None:
        parent, append = self.parent, self._next.append
        prowlers = len(self.system.specs) - self.system.prowlers_from
        for state, memos, outcomes in rest:
            moves = self._choose(state, memos, outcomes) if len(outcomes) > 1 else outcomes
            self.transitions += len(moves)
            for keep, put, look, _ in moves:
                successor = state & keep | put
                if successor not in parent:
                    parent[successor] = state
                    append(successor)
                if look is not None and self._look(state, look):
                    return
            if len(outcomes) <= prowlers and self._is_stuck(state):
                return

    def _choose(self, state: int, memos: Memos, outcomes: list[Outcome]) -> list[Outcome]:
        """The moves of a smallest set of tasks that concern nobody else; all if there is none."""
        fresh = enough = 0
        for keep, put, _, step in outcomes:
            if state & keep | put not in self.parent:
                fresh |= 1 << step.task
            elif self._may_go_on(step.task):
                enough |= 1 << step.task
        movers = (fresh | enough) & ~self.tireless
        tasks = Crowd(self.system, memos, state).smallest(movers)
        if not tasks:
            return outcomes
        self._note((state, tasks, bool(fresh & tasks & movers)))
        return [outcome for outcome in outcomes if tasks >> outcome[3].task & 1]

    def _may_go_on(self, task: int) -> bool:
        """Whether a task's step to a state met before leads on, as it can never come back."""
        return task not in self._looping

    # Notes

    def _note(self, note: Note) -> None:
        if self._knowledge != self.system.knowledge:
            self._doubt()
        self._notes.append(note)

    def _loops(self) -> set[int]:
        """Tasks that are known to come back to a node."""
        return {automaton.number for automaton in self.system.automata if automaton.loops}

    def _doubt(self) -> None:
        """Something has been learnt: no note is sure to hold any more."""
        self._knowledge = self.system.knowledge
        self._doubtful += self._notes
        self._notes.clear()

    def _broken(self) -> list[int]:
        """States whose note does not hold by what is known now; all other notes do."""
        new_loops = self._loops() - self._looping
        self._looping |= new_loops
        if new_loops or self._knowledge != self.system.knowledge:
            self._doubt()
        broken = []
        for note in self._doubtful:
            if self._holds(note):
                self._notes.append(note)
            else:
                broken.append(note[0])
        self._doubtful.clear()
        return broken

    def _holds(self, note: Note) -> bool:
        """Whether a note holds by what is known now."""
        state, tasks, fresh = note
        memos = self.system.memos(state)
        if not tasks & tasks - 1:
            memo = memos[tasks.bit_length() - 1]
            assert memo is not None
            outcome = memo.get(state & memo.mask)
            if not outcome or not (fresh or self._may_go_on(memo.task)):
                return False
            return is_alone(self.system, outcome[3], memos, state)
        crowd = Crowd(self.system, memos, state)
        able = crowd.able & tasks
        movers = (task for task in range(len(memos)) if able >> task & 1)
        if not able or not (fresh or any(map(self._may_go_on, movers))):
            return False
        return crowd.closed(tasks) == tasks


def learn(system: System, runs: int) -> None:
    """Make some random runs, for what they teach."""
    rng = random.Random(0)
    for _ in range(runs):
        state = system.start
        for _ in range(LESSON_STEPS):
            able = system.enabled(state)
            if not able or system.is_quiet(state):
                break
            state = rng.choice(able).apply(state)
