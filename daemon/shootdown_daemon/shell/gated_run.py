"""A replay: one instance whose every step is granted, here and in the agents, as a schedule says.

The daemon makes the kernel's steps and asks a gated agent for each of its devices' steps. What the
explorer counts as the arrival of a completion is no step here: the message itself is. A step that
is not the expected one, or whose guard stays false, is a divergence.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from shootdown_daemon.machine.columns import column_task, completion_server
from shootdown_daemon.machine.host_faults import (
    MEMORY_PRESSURE,
    OF_HOST,
    HostFault,
    overdue,
    press,
    time_out_server,
)
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.resending import is_first
from shootdown_daemon.shell.live_run import Bank, BankState, LiveRun
from shootdown_engine.channels import Completion
from shootdown_engine.fault_step import BUDGET, fault_task
from shootdown_engine.store import Store, deliver, receive
from shootdown_engine.task import Task
from shootdown_protocol.faults import KINDS
from shootdown_protocol.limits import FAULTS_MAX, ITAGS
from shootdown_protocol.messages import ScheduledStep
from shootdown_protocol.program import Program

GRANT_LIMIT_NS = 3_000_000_000
"""How long a granted step's guard may stay false."""
STANDSTILL_NS = 2_000_000_000
"""How long nothing may move, once a schedule is over, before nothing is said to move any more."""
COMPLETION_TASK = "completion"
"""Beginning of the names of the tasks that take completions in; a device's number follows."""

SPECULATION_TASK = "speculation"
"""Beginning of the names of prefetchers; their number follows."""


TIMEOUT_TASK = "timeout."
"""Beginning of the names of the tasks by which time-outs strike; the device's name follows."""


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
        self.by_tasks = any(step.step in KINDS for step in schedule)
        if self.by_tasks:
            self.complete, self._complete_at_once = self._leave, self.complete
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
            if expected.task.startswith(TIMEOUT_TASK):
                self._note_overdue(expected.task)
            return self._step(task, expected)
        if _takes_completions(expected.task):
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
        if self.by_tasks:
            self.store.put(BUDGET, FAULTS_MAX)
            self.tasks.update((task.name, task) for task in self._host_tasks(kslot))
        self.segment.words[kslot.slot.started] = 1

    def _leave(self, device: int, itag: int, count: int) -> bool:
        """Leave a completion to the task whose turn will come."""
        deliver(self.store, ("completion", device), Completion(1 << itag, count % 8))
        return True

    def _host_tasks(self, kslot: KernelSlot) -> Iterator[Task]:
        """Tasks of the host's that a schedule with faults may name."""
        for number, name in enumerate(self.program.devices):
            yield completion_server(number)
            yield time_out_server(number, name)
            for kind, apply in OF_HOST.items():
                yield fault_task(kind, name, partial(_on_host, apply, number))
        for column in self.program.columns:
            if column.device < 0:
                apply_press = partial(_press, kslot.index, column.cpu)
                yield fault_task(MEMORY_PRESSURE, column.name, apply_press)

    def _note_overdue(self, task: str) -> None:
        """What an agent has lost, the host finds out by its time-out: the first that is missing."""
        device = self.program.devices.index(task.removeprefix(TIMEOUT_TASK))
        if self.store.get(("overdue", device)) is None:
            missing = (itag for itag in range(ITAGS) if is_first(self.store, device, itag))
            overdue(self.store, device, tuple(missing)[:1])

    def _finish_freely(self, running: Bank) -> None:
        self.over_schedule = True
        self._since_ns = self.now()
        if self.by_tasks:
            self._take_in_the_rest()
        rest = [task for task in self.tasks.values() if not task.ended and not task.server]
        if rest:
            self.flight.start(running.slots[0].index, rest, 2)
        for task in self.tasks.values():
            if task.server:
                self.flight.adopt(task)

    def _take_in_the_rest(self) -> None:
        """The schedule is over: take completions in as they come, those that wait at once."""
        self.by_tasks, self.complete = False, self._complete_at_once
        for device in range(len(self.program.devices)):
            while (waiting := receive(self.store, ("completion", device))) is not None:
                assert isinstance(waiting, Completion)
                for itag in waiting.numbers:
                    self.completion(device, itag, waiting.due)
        self.tasks = {name: task for name, task in self.tasks.items() if task.owner is not None}

    def park(self, kslot: KernelSlot, server: Task) -> None:
        """Keep a server for the schedule instead of parking it."""
        self.servers.setdefault(kslot.index, []).append(server)


def device_of_task(program: Program, task: str) -> int:
    """The program's device that a device's server or prefetcher belongs to, by its name."""
    for name in (task.partition(".")[0], task.rpartition(".")[2]):
        if name in program.devices:
            return program.devices.index(name)
    number = task.removeprefix(SPECULATION_TASK)
    if number.isdigit() and int(number) < len(program.speculation):
        return program.speculation[int(number)].device
    message = f"no task of this scenario is called {task}"
    raise Divergence(message)


def _takes_completions(task: str) -> bool:
    """Whether a task takes a device's completions in: its name is no fault's that begins so."""
    return task.startswith(COMPLETION_TASK) and task.removeprefix(COMPLETION_TASK).isdigit()


def _on_host(apply: HostFault, device: int, store: Store) -> str:
    return apply(store, device)


def _press(slot: int, cpu: int, store: Store) -> str:
    return press(store, slot, cpu)
