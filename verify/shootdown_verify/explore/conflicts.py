"""Which tasks can come to conflict with which steps, by what was measured so far.

"Can come to" is over the nodes that can be reached from a task's present one, over edges followed
so far. What cells hold matters only as far as the step in question has read them, so what was
judged once of a step and a node is kept with the step; `System` voids it when it learns more of
what follows that node.
"""

from __future__ import annotations

from collections.abc import Sequence

from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo, Pending

Memos = Sequence[Memo | None]
"""The nodes of some tasks in a state; None where one has ended."""


def is_alone(system: System, step: Pending, memos: Memos, state: int) -> bool:
    """Whether nothing that the other tasks can do before it conflicts with a step."""
    friends = step.friends
    if friends.issuperset(memos):
        return True
    tried = []
    foes = step.foes
    for memo in memos:
        if memo in friends or memo is None:
            continue
        if memo not in foes and not is_foe(system, memo, step, state):
            continue
        blocked = memo.blocked.get(state & memo.mask)
        if blocked is None:
            return False
        tried.append(blocked)
    return stay_blocked(system, tried, step.task, memos, state)


def stay_blocked(
    system: System, tried: list[Pending], mover: int, memos: Memos, state: int
) -> bool:
    """Whether nobody lets blocked tasks go on before one task has moved.

    Nobody does if all who can come to write what their guards read are blocked as well, and so on.
    """
    seen = set(tried)
    while tried:
        step = tried.pop()
        friends, foes = step.friends, step.foes
        if friends.issuperset(memos):
            continue
        for memo in memos:
            if memo in friends or memo is None or memo.task == mover:
                continue
            if memo not in foes and not is_foe(system, memo, step, state):
                continue
            blocked = memo.blocked.get(state & memo.mask)
            if blocked is None:
                return False
            if blocked not in seen:
                seen.add(blocked)
                tried.append(blocked)
    return True


def is_foe(system: System, memo: Memo, step: Pending, state: int) -> bool:
    """Judge whether what a task can do from its node on conflicts with another's step."""
    cells = step.writes & memo.future_touches | step.reads & memo.future_writes
    foe = memo.task != step.task and bool(cells) and _can_touch(system, memo, cells, step, state)
    (step.foes if foe else step.friends).add(memo)
    memo.judges.append(step)
    system.judging = True
    return foe


def _can_touch(system: System, memo: Memo, cells: int, step: Pending, state: int) -> bool:
    """Whether a task can come to touch one of some cells while all hold what they hold now."""
    if cells & ~step.reads:
        return True  # Written without being read: what it holds now is not the step's matter.
    while cells:
        number = (cells & -cells).bit_length() - 1
        cells &= cells - 1
        key = memo, number, state & system.cells.masks[number], bool(step.writes >> number & 1)
        reached = system.reached.get(key)
        if reached is None:
            reached = system.reached[key] = reaches(*key)
        if reached:
            return True
    return False


def reaches(memo: Memo, number: int, bits: int, reading: bool) -> bool:
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


class Crowd:
    """All tasks in one state, each with the step that it is at.

    Sets of tasks are integers here, with a bit for each. ``able`` can move.
    """

    __slots__ = ("able", "asleep", "memos", "rows", "state", "steps", "system")

    def __init__(self, system: System, memos: Memos, state: int) -> None:
        """Look at every task's step."""
        self.system = system
        self.memos = memos
        self.state = state
        self.able = 0
        self.asleep: list[int] = []
        self.steps: list[Pending | None] = [None] * len(memos)
        self.rows = [-1] * len(memos)
        for task, memo in enumerate(memos):
            if memo is None:
                continue
            key = state & memo.mask
            outcome = memo.get(key)
            if outcome:
                self.able |= 1 << task
                self.steps[task] = outcome[3]
            else:
                self.asleep.append(task)
                self.steps[task] = memo.blocked.get(key)

    def smallest(self, enough: int) -> int:
        """A smallest set that concerns nobody else, of which one of ``enough`` can move.

        0 if there is none but all that can move. A set that has grown to all is not worth finding
        again by way of another task.
        """
        able = self.able
        best, least, hopeless = 0, able.bit_count(), 0
        rest = able
        while rest and least > 1:
            first = rest & -rest
            rest &= rest - 1
            tasks = self.closed(first, least, hopeless)
            if not tasks:
                hopeless |= 0 if best else first
            elif tasks & able & enough:
                best, least = tasks, (tasks & able).bit_count()
        return best

    def closed(self, tasks: int, limit: int = 1 << 30, hopeless: int = 0) -> int:
        """The smallest set around some tasks that concerns nobody else.

        0 if one without hope belongs to it, or if ``limit`` of it can move.
        """
        waiting, awake = tasks, -1
        rows, able = self.rows, self.able
        while waiting:
            task = (waiting & -waiting).bit_length() - 1
            waiting &= waiting - 1
            row = rows[task]
            joining = (row if row >= 0 else self._row(task)) & ~tasks
            if joining & ~able:
                if awake < 0:
                    awake = self._awake(tasks)
                joining &= awake
            if joining:
                tasks |= joining
                waiting |= joining
                if joining & hopeless or (tasks & able).bit_count() >= limit:
                    return 0
        return tasks

    def _row(self, task: int) -> int:
        """Tasks that can come to conflict with the step that a task is at."""
        step = self.steps[task]
        row = 0
        if step is None:
            row = (1 << len(self.memos)) - 1
        else:
            friends, foes = step.friends, step.foes
            for memo in self.memos:
                if memo in friends or memo is None:
                    continue
                if memo in foes or is_foe(self.system, memo, step, self.state):
                    row |= 1 << memo.task
        self.rows[task] = row
        return row

    def _awake(self, tasks: int) -> int:
        """Those outside a set that can move, or are let go on by others outside it."""
        awake = self.able & ~tasks
        rows = self.rows
        asleep = [task for task in self.asleep if not tasks >> task & 1]
        before = 0
        while before != awake:
            before = awake
            still = []
            for task in asleep:
                row = rows[task]
                if (row if row >= 0 else self._row(task)) & awake:
                    awake |= 1 << task
                else:
                    still.append(task)
            asleep = still
        return awake
