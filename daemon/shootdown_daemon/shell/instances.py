"""Instances in flight: which tasks can go, which are held, parked or tried again by turn.

The batch clock counts steps of this process. A task *held* waits for a tick, one *parked* for a
private cell to be put, and one to be *tried again* for a word that another process may write.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from random import Random

from shootdown_daemon.shell.chooser import Chooser
from shootdown_daemon.shell.cpu_faults import GO, HELD, CpuFaults
from shootdown_engine.runner import Runner
from shootdown_engine.task import Task

LEARNING = 0.02
"""Weight of one instance in what is learned of their lengths."""


class InstanceRun:
    """One instance: its tasks that can go, and how many of its columns have not ended."""

    __slots__ = ("again", "began", "chooser", "columns", "listed", "ready", "unfinished")

    def __init__(self, columns: list[Task], chooser: Chooser, began: int) -> None:
        """Start with every column ready, at a tick."""
        self.began = began
        self.columns = tuple(columns)
        self.ready = columns
        self.again: list[Task] = []
        self.unfinished = len(columns)
        self.chooser = chooser
        self.listed = False


class InFlight:
    """Makes steps of the instances in flight, chosen by seed."""

    def __init__(self, runner: Runner, random: Random) -> None:
        """Start with nothing in flight; ``faults`` is set while some are to be applied."""
        self.runner = runner
        self.faults: CpuFaults | None = None
        self.cut_off: Callable[[Task], None] = lambda _task: None
        self.clock = 0
        self.unfinished = 0
        self.steps_estimate = 48.0
        self.life_ticks = 0.0
        self._random = random
        self._runs: dict[int, InstanceRun] = {}
        self._listed: list[InstanceRun] = []
        self._held: list[tuple[int, int, Task]] = []
        self._trying: dict[InstanceRun, None] = {}
        """Those with tasks that are to be tried again, and some that had such."""
        self._holds = 0

    def start(self, slot: int, columns: list[Task], hold_ticks: int) -> None:
        """Put an instance into flight; a slot's server tasks join it when they are woken."""
        chooser = Chooser(self._random, int(self.steps_estimate), hold_ticks)
        run = InstanceRun(columns, chooser, self.clock)
        self._runs[slot] = run
        self.unfinished += 1
        self._list(run)

    def make_steps(self, count: int) -> int:
        """Make up to so many steps; fewer when nothing more can go now. Gives how many."""
        made = 0
        if self.faults is not None:
            self._release_held(self.faults)
        while made < count:
            if self._listed:
                made += self._burst()
            elif not self._next_tick():
                break
        return made

    def try_again(self) -> None:
        """Let every task be tried whose guard reads other processes' words, or takes an ITag."""
        self.runner.wake_all()
        self.wake()
        for run in self._trying:
            if run.again:
                run.ready += run.again
                run.again.clear()
                self._list(run)
        self._trying.clear()

    @property
    def rests(self) -> bool:
        """Whether nothing can go now, nor without anybody telling."""
        return not (self._listed or self._held or self._trying or self.runner.woken)

    def adopt(self, task: Task) -> None:
        """Make a task that nobody waits for ready in its slot's instance."""
        assert task.owner is not None
        if task.ended:  # It was woken, or held, when its instance was cut off.
            return
        run = self._runs.get(task.owner.index)
        if run is None:
            run = self._runs[task.owner.index] = InstanceRun(
                [], Chooser(self._random, int(self.steps_estimate), 2), self.clock
            )
        run.ready.append(task)
        self._list(run)

    def wake(self) -> None:
        """Take in the tasks that the runner has woken."""
        woken = self.runner.woken
        while woken:
            self.adopt(woken.pop())

    def _burst(self) -> int:
        """A few steps of one instance's chosen task; instances do not depend on each other."""
        listed, held = self._listed, self._held
        position = int(self._random.random() * len(listed))
        run = listed[position]
        runner, faults, chooser, ready = self.runner, self.faults, run.chooser, run.ready
        task = chooser.choose(ready)
        woken, stepped = runner.woken, chooser.stepped
        made = 0
        for _ in range(chooser.burst):
            if faults is not None and self._is_met(run, task):
                break
            if not runner.step(task):
                ready.remove(task)
                if not runner.park(task):
                    if not run.again:
                        self._trying[run] = None
                    run.again.append(task)
                break
            made += 1
            if faults is not None:
                faults.after(task)
            self.clock += 1
            if run.again:
                ready += run.again
                run.again.clear()
            if task.ended:
                self._end(run, task)
                break
            hold = stepped(task)
            if hold > 0 and not task.server:
                self._hold(run, task, hold)
                break
            if held and held[0][0] <= self.clock:
                self._release()
            if hold or woken:
                break
        if not ready:
            self._unlist(position, run)
        if woken:
            self.wake()
        return made

    def _release_held(self, faults: CpuFaults) -> None:
        """Let tasks go that faults have held long enough; meanwhile time passes for devices, too.

        A tick is a step, and so about as long as one: else what begins at a drawn tick would begin
        before the hold, or after it, and never within.
        """
        for task in faults.release():
            self.adopt(task)
        ticks = faults.ticks_passed()
        if faults.holds and not self._listed:
            self.clock += ticks

    def _is_met(self, run: InstanceRun, task: Task) -> bool:
        """Whether a fault keeps a task from its step."""
        assert self.faults is not None
        met = self.faults.before(task)
        if met == GO:
            return False
        run.ready.remove(task)
        if met != HELD:
            self.cut_off(task)
        return True

    def unended(self) -> Iterator[Task]:
        """Columns' tasks of instances in flight that have not ended."""
        for run in self._runs.values():
            yield from (task for task in run.columns if not task.ended)

    def abandon(self, slot: int) -> None:
        """Make no further step of an instance's columns, if any are left; its servers go on."""
        run = self._runs.get(slot)
        if run is None or not run.unfinished:
            return
        for task in run.columns:
            self.runner.forget(task)
            task.close()
        for tasks in (run.ready, run.again):
            tasks[:] = [task for task in tasks if not task.ended]
        run.unfinished = 0
        self.unfinished -= 1

    def unlist_idle(self) -> None:
        """Look no more at instances that have nothing left that could go."""
        for run in self._listed:
            run.listed = bool(run.ready)
        self._listed = [run for run in self._listed if run.listed]

    def _end(self, run: InstanceRun, task: Task) -> None:
        """A task has made its last step."""
        run.ready.remove(task)
        self.runner.forget(task)
        run.unfinished -= 1
        if not run.unfinished:
            self._finished(run)

    def _hold(self, run: InstanceRun, task: Task, ticks: int) -> None:
        """Keep a task from going on for some ticks."""
        run.ready.remove(task)
        self._holds += 1
        heapq.heappush(self._held, (self.clock + ticks, self._holds, task))

    def _finished(self, run: InstanceRun) -> None:
        """Every CPU column has ended: learn how many steps and ticks an instance takes."""
        self.unfinished -= 1
        self.steps_estimate += LEARNING * (run.chooser.made - self.steps_estimate)
        life = self.clock - run.began
        self.life_ticks += LEARNING * (life - self.life_ticks) if self.life_ticks else life

    def _release(self) -> None:
        while self._held and self._held[0][0] <= self.clock:
            self.adopt(heapq.heappop(self._held)[2])

    def _next_tick(self) -> bool:
        """Nothing can go but held tasks: let the clock jump to the first of them."""
        if not self._held:
            return False
        self.clock = max(self.clock, self._held[0][0])
        self._release()
        return True

    def _list(self, run: InstanceRun) -> None:
        if not run.listed:
            run.listed = True
            self._listed.append(run)

    def _unlist(self, position: int, run: InstanceRun) -> None:
        run.listed = False
        last = self._listed.pop()
        if last is not run:
            self._listed[position] = last
