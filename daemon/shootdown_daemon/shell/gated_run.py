"""A replay: one instance whose every step is granted, here and in the agents, as a schedule says.

The daemon makes the kernel's steps and asks a gated agent for each of its devices' steps. What the
explorer counts as the arrival of a completion is no step here: the message itself is. A step that
is not the expected one, or whose guard stays false, is a divergence.
"""

from __future__ import annotations

from shootdown_daemon.machine.columns import column_task
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.live_run import Bank, BankState, LiveRun
from shootdown_engine.task import Task
from shootdown_protocol.messages import ScheduledStep
from shootdown_protocol.program import Program

GRANT_LIMIT_NS = 3_000_000_000
"""How long a granted step's guard may stay false."""
STANDSTILL_NS = 2_000_000_000
"""How long nothing may move, once a schedule is over, before nothing is said to move any more."""
COMPLETION_TASK = "completion"
"""Beginning of the names of the tasks that take completions in."""

SPECULATION_TASK = "speculation"
"""Beginning of the names of prefetchers; their number follows."""


class Divergence(Exception):  # noqa: N818 - what it is called in the field
    """The real processes did not follow the schedule; says where and what could go instead."""


class GatedRun(LiveRun):
    """One instance under a schedule; ``grants`` are the steps to ask agents for."""

    schedule: tuple[ScheduledStep, ...] = ()
    position = 0
    asked = False
    grants: list[ScheduledStep]
    over_schedule = False

    def follow(self, schedule: tuple[ScheduledStep, ...]) -> None:
        """Take up a schedule, before the first step."""
        self.schedule = schedule
        self.grants = []
        self.tasks: dict[str, Task] = {}
        self._since_ns = self.now()

    def make_steps(self, count: int) -> int:
        """Make or ask for the schedule's next steps; freely once it is over."""
        running = next((b for b in self.banks if b.state is BankState.RUNNING), None)
        if running is None or self.over_schedule:
            made = super().make_steps(count)
            if made:
                self._since_ns = self.now()
            return made
        if not self.tasks:
            self._start_gated(running.slots[0])
            running.started = running.count
        made = 0
        while made < count and self.position < len(self.schedule) and not self.asked:
            if not self._take(self.schedule[self.position]):
                break
            made += 1
        if self.position == len(self.schedule):
            self._finish_freely(running)
        return made

    @property
    def stands_still(self) -> bool:
        """Whether the schedule is over and nothing has moved for long."""
        return self.over_schedule and self.now() - self._since_ns > STANDSTILL_NS

    def declare_ended(self) -> None:
        """Count instances that never end for ended: what they have done is all that they will."""
        self.done += sum(bank.count for bank in self.banks if bank.state is BankState.RUNNING)

    def granted(self, step: str, *, made: bool) -> None:
        """Take in an agent's answer to the grant that was asked for."""
        self.asked = False
        expected = self.schedule[self.position]
        if made:
            self._advance()
        elif step != expected.step:
            self._diverge(f"{expected.task} is at {step or 'its end'}")

    def _take(self, expected: ScheduledStep) -> bool:
        """Make the expected step if it is ours; False when there is something to wait for."""
        task = self.tasks.get(expected.task)
        if task is not None:
            return self._step(task, expected)
        if expected.task.startswith(COMPLETION_TASK):
            self._advance()
            return True
        self._check_limit(expected)
        self.asked = True
        self.grants.append(expected)
        return False

    def _step(self, task: Task, expected: ScheduledStep) -> bool:
        pending = "" if task.request is None else task.request.full_name
        if task.request is None or pending != expected.step:
            self._diverge(f"{task.name} is at {pending or 'its end'}")
        if self.runner.step(task):
            self.flight.clock += 1
            self._advance()
            return True
        self._check_limit(expected)
        return False

    def _advance(self) -> None:
        self.position += 1
        self._since_ns = self.now()

    def _check_limit(self, expected: ScheduledStep) -> None:
        if self.now() - self._since_ns > GRANT_LIMIT_NS:
            seconds = GRANT_LIMIT_NS // 10**9
            self._diverge(f"the guard of {expected.task}'s step stays false for {seconds} s")

    def _diverge(self, seen: str) -> None:
        expected = self.schedule[self.position]
        pending = ", ".join(
            f"{name}: {task.request.full_name}"
            for name, task in self.tasks.items()
            if task.request is not None
        )
        message = (
            f"step {self.position + 1} of {len(self.schedule)}: "
            f"expected {expected.task} {expected.step}, but {seen}; enabled {{{pending}}}"
        )
        raise Divergence(message)

    def _start_gated(self, kslot: KernelSlot) -> None:
        for index in self._cpu_columns:
            task = column_task(kslot, index)
            self.tasks[task.name] = task
        self.tasks.update((server.name, server) for server in self.servers[kslot.index])
        self.segment.words[kslot.slot.started] = 1

    def _finish_freely(self, running: Bank) -> None:
        self.over_schedule = True
        self._since_ns = self.now()
        rest = [task for task in self.tasks.values() if not task.ended and not task.server]
        if rest:
            self.flight.start(running.slots[0].index, rest, 2)
        for task in self.tasks.values():
            if task.server:
                self.flight.adopt(task)

    def _park(self, kslot: KernelSlot, server: Task) -> None:
        """Keep a server for the schedule instead of parking it."""
        self.servers.setdefault(kslot.index, []).append(server)


def device_of_task(program: Program, task: str) -> int:
    """The program's device that a device's server or prefetcher belongs to, by its name."""
    name, _, _ = task.partition(".")
    if name in program.devices:
        return program.devices.index(name)
    number = task.removeprefix(SPECULATION_TASK)
    if number.isdigit() and int(number) < len(program.speculation):
        return program.speculation[int(number)].device
    message = f"no task of this scenario is called {task}"
    raise Divergence(message)
