"""Partial-order reduction for breadth-first search: a step that concerns nobody is made alone.

In a state, let the pending step of task t be enabled, and let nothing that the other tasks can do
before t moves conflict with it: neither write what it reads nor touch what it writes. Then
whatever they do before t moves could as well be done after it, so it is enough to look at the one
successor by t: {t} is a persistent set. Every transition of every run still occurs with the same
values read, so every finding in a step, every deadlock and every end is still found, though along
another order.

What the others can do is not declared; it is what was *measured* so far of the nodes that can be
reached from their present ones, over edges followed so far. A cell that t's step reads and all
others can only be blocked by, as long as it holds what it holds now, is no conflict (`Memo.shut`:
a guard that read this cell alone was false, and so is false again; nothing behind it can be
reached): so an unlock, a response or the end that somebody awaits is made alone.

Since that knowledge grows, a step is taken alone on trust, and noted. When nothing is left to
expand, notes made before the last thing learnt are judged anew, and states whose note does not
hold any more are expanded again. When all notes hold, they hold for good. Suppose not: from a
state where t's step was taken alone, there is a run of others whose last step, by u, is the first
that conflicts. All before it is independent of t's step, so it also happens after it, and then u
makes or tries a step at the same node, and meets the same values up to the first cell in conflict,
which it touches. This run begins further along a chain of steps taken alone, so the reduced search
has seen it (by induction over length of run, then of chain): it has measured that u can come to
this node and that the node touches that cell. Nor can the cell's value have shut u out, as u
came there while the cell held it. So the note does not hold, a contradiction.

Chains of steps taken alone must end, or somebody could be put off for ever. Most tasks only move
on; a step of one that can come back to a node, as servers do, is taken alone only if it leads to a
state not met before, so the last edge of a cycle is never taken alone.
"""

from __future__ import annotations

from shootdown_verify.explore.breadth_first import BreadthFirst, Check
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo, Outcome, Transition

Note = tuple[int, Transition]


class ReducedSearch(BreadthFirst):
    """Breadth-first search in which steps that concern nobody are made first and alone.

    Its runs are no shortest ones.
    """

    def __init__(self, system: System, *, quiet: Check, stuck: Check, every: bool = False) -> None:
        """Stand at the start, with nothing taken on trust."""
        super().__init__(system, quiet=quiet, stuck=stuck, every=every)
        self._notes: list[Note] = []
        self._doubtful: list[Note] = []
        self._knowledge = system.knowledge
        self._looping = self._loops()
        self._touching: dict[tuple[Memo, int, int, bool], bool] = {}
        self._touching_knowledge = -1

    def _descend(self) -> None:
        super()._descend()
        if not self.frontier and not self.over:
            self.frontier = self._broken()

    def _expand(self, states: list[int]) -> None:
        """Follow a chain from each state that has one; then expand all others in full."""
        system = self.system
        full: list[tuple[int, list[Outcome]]] = []
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
                step = outcome[3]
                if (
                    step.watched == system.knowledge
                    and (watch := step.watch) is not None
                    and memos[watch.task] is watch
                ):
                    continue
                if self._follow(state, memo, memos):
                    break
            else:
                full.append((state, outcomes))
            if self.over:
                return
        self._expand_in_full(full)

    def _expand_in_full(self, full: list[tuple[int, list[Outcome]]]) -> None:
        parent, append = self.parent, self._next.append
        prowlers = len(self.system.specs) - self.system.prowlers_from
        for state, outcomes in full:
            self.transitions += len(outcomes)
            for keep, put, look, _ in outcomes:
                successor = state & keep | put
                if successor not in parent:
                    parent[successor] = state
                    append(successor)
                if look is not None and self._look(state, look):
                    return
            if len(outcomes) <= prowlers and self._is_stuck(state):
                return

    def _follow(self, state: int, memo: Memo, memos: list[Memo | None]) -> bool:
        """Make a task's steps for as long as they concern nobody; False when there is none."""
        system, parent = self.system, self.parent
        others = [other for other in memos if other is not None and other is not memo]
        moved = False
        while True:
            outcome = memo.get(state & memo.mask)
            if outcome is None:
                outcome = system.perform(memo, state)
            if not outcome:
                break
            keep, put, look, transition = outcome
            successor = state & keep | put
            known = successor in parent
            if self._concerns(transition, others, state) or not self._may_go_on(memo, known=known):
                break
            moved = True
            self._note(state, transition)
            self.transitions += 1
            if look is not None and self._look(state, look):
                return True
            if known:
                return True
            parent[successor] = state
            state = successor
            after = system.memo(transition.after)
            if after is None:
                break
            memo = after
        if moved:
            self._next.append(state)
        return moved

    def _may_go_on(self, memo: Memo, *, known: bool) -> bool:
        """Whether a step may be made alone: one of a task that loops, only to new states."""
        return not (known and memo.task in self._looping)

    def _concerns(self, transition: Transition, others: list[Memo], state: int) -> bool:
        """Whether anything that the other tasks can do before it conflicts with a step."""
        reads, writes = transition.reads, transition.writes
        inert: set[Memo] | None = None
        for other in others:
            conflict = writes & (other.future_reads | other.future_writes) | (
                reads & other.future_writes
            )
            if not (conflict and self._can_touch(other, conflict, transition, state)):
                continue
            if state & other.mask in other.blocked:
                if inert is None:
                    inert = inert_tasks(others, state, reads | writes)
                if other in inert:
                    continue
            transition.watch = other
            transition.watched = self.system.knowledge
            return True
        return False

    def _can_touch(self, memo: Memo, cells: int, transition: Transition, state: int) -> bool:
        """Whether a task can come to touch one of some cells while all hold what they hold now."""
        if cells & ~transition.reads:
            return True  # Written without being read: what it holds now is not the step's matter.
        knowledge = self.system.knowledge
        if self._touching_knowledge != knowledge:
            self._touching_knowledge = knowledge
            self._touching.clear()
        while cells:
            number = (cells & -cells).bit_length() - 1
            cells &= cells - 1
            bits = state & self.system.cells.masks[number]
            reading = bool(transition.writes >> number & 1)
            key = memo, number, bits, reading
            touching = self._touching.get(key)
            if touching is None:
                touching = self._touching[key] = reaches(memo, number, bits, reading=reading)
            if touching:
                return True
        return False

    def _note(self, state: int, transition: Transition) -> None:
        if self._knowledge != self.system.knowledge:
            self._doubt()
        self._notes.append((state, transition))

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
        system = self.system
        if self._knowledge != system.knowledge:
            self._doubt()
        new_loops = self._loops() - self._looping
        self._looping |= new_loops
        if new_loops:
            self._doubt()
        others_of: dict[tuple[int, int], list[Memo]] = {}
        broken = []
        for state, transition in self._doubtful:
            key = state & system.nodes_mask, transition.task
            others = others_of.get(key)
            if others is None:
                memos = system.memos(state)
                others = [m for m in memos if m is not None and m.task != transition.task]
                others_of[key] = others
            if transition.task in new_loops or self._concerns(transition, others, state):
                broken.append(state)
            else:
                self._notes.append((state, transition))
        self._doubtful.clear()
        return broken


def inert_tasks(others: list[Memo], state: int, held: int) -> set[Memo]:
    """Blocked tasks that nobody lets go on, as long as the cells ``held`` are left alone.

    What such a task's guard read is held, or nobody writes it who is not inert himself.
    """
    blocked = {
        memo: reads & ~held
        for memo in others
        if (reads := memo.blocked.get(state & memo.mask)) is not None
    }
    moved = True
    while moved:
        written = 0
        for memo in others:
            if memo not in blocked:
                written |= memo.future_writes
        freed = [memo for memo, reads in blocked.items() if reads & written]
        for memo in freed:
            del blocked[memo]
        moved = bool(freed)
    return set(blocked)


def reaches(memo: Memo, number: int, bits: int, *, reading: bool) -> bool:
    """Whether a task can come to write a cell (or, ``reading``, to touch it) that holds a value.

    Nodes where the step is known to be blocked by that value are not passed.
    """
    seen = {memo}
    waiting = [memo]
    while waiting:
        memo = waiting.pop()
        if (number, bits) in memo.shut:
            continue
        touched = memo.writes | memo.reads if reading else memo.writes
        if touched >> number & 1:
            return True
        for after in memo.after:
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return False
