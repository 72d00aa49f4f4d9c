"""The live chooser: which task of an instance goes next, and how long it is held up.

A uniform walk meets the two-page COW bug once in 700,000 runs; random priorities with a few change
points (PCT) once in about 330, POS once in about 750. Each instance draws its own.
"""

from __future__ import annotations

from random import Random

from shootdown_engine.task import Task

PCT_SHARE = 0.7
"""Share of instances that run under PCT; the others under POS."""
DEPTH_MAX = 4
CHOOSE_ANEW = -1
BURST_STEPS = 6
"""Steps that a PCT instance's task may make before another instance has its turn."""
UNIFORM_SHARE = 0.5
"""Share of holds drawn uniformly; the others are log-uniform."""
HOLD_SHARE = 0.9
"""How often a change point also holds the task up for a log-uniform time."""


class Chooser:
    """Priorities of one instance's tasks, drawn from ``random``.

    ``steps`` is about how many steps an instance makes, ``hold_ticks`` the longest hold.
    """

    __slots__ = ("_change_points", "_hold_ticks", "_pct", "_priorities", "_random", "burst", "made")

    def __init__(self, random: Random, steps: int, hold_ticks: int) -> None:
        """Draw the strategy and its change points."""
        self._random = random
        self._pct = random.random() < PCT_SHARE
        self.burst = BURST_STEPS if self._pct else 1
        self._hold_ticks = max(2, hold_ticks)
        self.made = 0
        self._priorities: dict[Task, float] = {}
        depth = random.randint(2, DEPTH_MAX)
        self._change_points = {random.randrange(1, max(2, steps)) for _ in range(depth - 1)}

    def choose(self, tasks: list[Task]) -> Task:
        """The task of highest priority; a new one draws its priority at random."""
        try:
            return max(tasks, key=self._priorities.__getitem__)
        except KeyError:
            for task in tasks:
                if task not in self._priorities:
                    self._priorities[task] = 1 + self._random.random()
            return self.choose(tasks)

    def stepped(self, task: Task) -> int:
        """Note a step; gives for how many ticks its task is held up now.

        0: it may go on; `CHOOSE_ANEW`: it is not held up, but no longer the first.
        """
        self.made += 1
        if not self._pct:
            self._priorities[task] = 1 + self._random.random()
        if self.made not in self._change_points:
            return 0
        self._priorities[task] = -float(self.made)
        if self._random.random() > HOLD_SHARE:
            return CHOOSE_ANEW
        draw = self._random.random()
        if draw < UNIFORM_SHARE:
            return 1 + int(self._hold_ticks * draw / UNIFORM_SHARE)
        return 1 + int(self._hold_ticks ** self._random.random())
