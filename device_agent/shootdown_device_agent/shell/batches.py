"""An agent's part of a run: its devices, the batches they are in, and when each column begins.

A batch is made ready (caches warm) as soon as it is announced and runs once the board's ``GO`` word
names it. A column begins some ticks of the batch clock after its instance, drawn by seed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from shootdown_device_agent.machine.atc import issued_cell, walking_cell
from shootdown_device_agent.machine.columns import (
    PAUSE,
    column_task,
    device_threads,
    invalidation_server,
    run_prefetches,
    speculation_task,
    warm,
)
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_device_agent.machine.device_faults import fault_tasks, lose_everything
from shootdown_device_agent.machine.function import function_servers
from shootdown_device_agent.machine.own_threads import own_task, own_threads
from shootdown_device_agent.shell.injecting import DeviceFaults
from shootdown_device_agent.shell.legacy import take_up, take_up_registers
from shootdown_device_agent.shell.registers import Registers
from shootdown_engine.channels import request_of
from shootdown_engine.fault_step import BUDGET
from shootdown_engine.live_store import LiveStore
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.runner import Log, Runner
from shootdown_engine.slot import Slot
from shootdown_engine.store import deliver
from shootdown_engine.task import Task
from shootdown_protocol import ats_range, board, messages
from shootdown_protocol import layout as at
from shootdown_protocol.board import SlotLayout
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.device_options import ON
from shootdown_protocol.errors import ErrorCode, RemoteProtocolError
from shootdown_protocol.history import AnyRecord, Invalidation
from shootdown_protocol.limits import FAULTS_MAX
from shootdown_protocol.memory import Pfn
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.program import Program
from shootdown_protocol.restart_messages import Legacy
from shootdown_protocol.segment import Segment

Threads = tuple[tuple[DeviceThread, ...], tuple[DeviceThread, ...], tuple[DeviceThread, ...]]
DeviceMaker = Callable[[DeviceConfig, PhysicalMemory], Device]
REMOTE_CHANNELS = frozenset(("completion", "page_request"))
CROWD = 192
"""Tasks beyond which servers of invalidations have a share of the steps that is theirs alone."""
SERVERS_SHARE = 0.3
"""That share; without it they would starve among all who only look what has become of others."""
HOLD_SHARE = 0.02
"""How often a device's thread is held up between two steps."""
HOLD_TICKS = 400
BEGINNINGS = frozenset(("atc_lookup", PAUSE))
"""Steps with which a thread begins an access."""
EAGER_SHARE = 0.85
"""Share of columns that begin at a uniform time; the others at a log-uniform one."""


class Batch:
    """One announced batch: its slots in their order, and what has not ended."""

    def __init__(
        self, begin: messages.BatchBegin, slots: list[tuple[Slot, tuple[int, ...]]]
    ) -> None:
        """Keep slots with the devices served in each; ``tasks`` are those that have begun."""
        self.number = begin.batch
        self.window = begin.window
        self.slots = slots
        self.next_slot = 0
        self.tasks: list[Task] = []
        self.warm = False
        self.unfinished = 0


class AgentRun:
    """One loaded program at an agent; the caller moves messages and calls `make_steps`."""

    def __init__(
        self,
        segment: Segment | PlainSegment,
        load: messages.LoadProgram,
        welcome: messages.Welcome,
        makers: tuple[DeviceMaker, ...],
        *,
        now: Callable[[], int],
        fence: Callable[[], None],
        log: Log,
    ) -> None:
        """Make the devices, each of its class; no slot is bound yet."""
        self.segment = segment
        self.program: Program = load.program
        self.number = load.program_number
        self.agent = welcome.agent
        self.random = Random(f"{welcome.seed}:{self.number}:{welcome.agent}")
        self.store = self._new_store()
        self.store.foreign = range(segment.layout.words)
        self.runner = self._new_runner(now, fence, log)
        memory = self._new_memory()
        self.devices = {
            number: make_device(self._config(number, welcome), memory)
            for number, make_device in zip(load.devices, makers, strict=True)
        }
        slot_layout = SlotLayout.of(self.program)
        self._first_word = segment.layout.board + load.slot_base
        self._slot_words = slot_layout.words
        self.slots: dict[int, Slot] = {}
        self._threads: dict[tuple[int, int], Threads] = {}
        self._slot_of_pasid: dict[int, Slot] = {}
        self._servers = {number: invalidation_server(each) for number, each in self.devices.items()}
        self._straight = {
            number: (device.serve_at_once, self._servers[number].name)
            for number, device in self.devices.items()
            if device.is_straight
        }
        """Devices that can do without their servers, and those servers' names."""
        self.ready: list[Task] = list(self._servers.values())
        self.again: list[Task] = []
        self.registers = Registers(segment.words, self.store)
        self._due: list[tuple[int, int, Task]] = []
        self._pushes = 0
        self._board = segment.layout.board
        self.on_batch_end: Callable[[], None] = lambda: None
        self.gated = load.gated
        self.leaving = False
        self._gated_tasks: dict[str, Task] = {}
        self._ahead: set[str] = set()
        self.announced: list[Batch] = []
        self.running: Batch | None = None
        self.faults: DeviceFaults | None = None
        self.legacy: Legacy | None = None
        self._is_slow = False
        self.is_hosted = False
        """Whether it has more to send than its channels say: see `outgoing`."""
        self.idle_rounds = 0
        """Rounds since there was last anything that could go, or will by itself."""

    # Over memory that is mapped; a run whose memory is elsewhere says otherwise

    def _new_store(self) -> LiveStore:
        store = LiveStore(self.segment.words, REMOTE_CHANNELS)
        if self.program.options.get("ad_bits") == ON:
            store.share_entries()
        return store

    def _new_runner(self, now: Callable[[], int], fence: Callable[[], None], log: Log) -> Runner:
        return Runner(self.store, now, fence, log, self._instance_of)

    def _new_memory(self) -> PhysicalMemory:
        return PhysicalMemory(self.segment.layout, Pfn(self.segment.words[at.H_ZERO_PFN]))

    def _config(self, number: int, welcome: messages.Welcome) -> DeviceConfig:
        return DeviceConfig(
            device=number,
            name=self.program.devices[number],
            directory=self.segment.words[at.H_PASID_DIRECTORY],
            iotlb=welcome.iotlb,
            atc_entries=welcome.atc_entries,
            walk_by_level=welcome.walk_by_level,
        ).with_options(self.program.options)

    # Batches

    def begin_batch(self, begin: messages.BatchBegin) -> None:
        """Bind the batch's slots, warm their caches, and say so on the board.

        One that may run is taken up where the last process was: nothing can be made warm any more.
        """
        self.random = Random(f"{begin.seed}:{begin.batch}:{self.agent}")
        slots = [(self._slot(item), item.devices) for item in begin.slots]
        if self._may_run(begin.batch):
            self._take_up(Batch(begin, slots))
            return
        for slot, devices in slots:
            for number in devices:
                self._bind(slot, number)
        self.store.changed.clear()
        self.announced.append(Batch(begin, slots))
        self._say(board.A_WARM, begin.batch)

    def _take_up(self, batch: Batch) -> None:
        """Go on with a batch that this agent's last process was killed in, or behind.

        Its kernel may need the devices' registers for longer than the columns went on.
        """
        done = self.segment.words[self._board + board.agent_word(self.agent, board.A_DONE)]
        legacy, ended = self.legacy, done >= batch.number
        if not ended and (legacy is None or legacy.batch != batch.number):
            raise RemoteProtocolError(
                ErrorCode.OUT_OF_RANGE,
                seen=f"{batch.number}, which runs already",
                expected="one that has not begun, for its caches are to be made warm",
                where="BatchBegin.batch",
            )
        for slot, devices in batch.slots:
            for number in devices:
                self._bind_threads(slot, number)
        if legacy is not None:
            take_up_registers(self, batch, legacy)
        if ended:
            self._watch(batch.slots)
        elif legacy is not None:
            self.legacy = None
            take_up(self, batch, legacy)
            self.announced.append(batch)

    def _slot(self, item: messages.BatchSlot) -> Slot:
        slot = self.slots.get(item.slot)
        if slot is None:
            first = self._first_word + item.slot * self._slot_words
            slot = self.slots[item.slot] = Slot(self.program, item.slot, first, item.pasids)
            for pasid in item.pasids:
                self._slot_of_pasid[pasid] = slot
        slot.instance = item.instance
        return slot

    def _bind(self, slot: Slot, number: int) -> None:
        warm(self.store, self._bind_threads(slot, number), self.program, slot, number)

    def _bind_threads(self, slot: Slot, number: int) -> Device:
        """Give a device a slot's PASIDs, with its caches empty."""
        device = self.devices[number]
        if (slot.index, number) not in self._threads:
            device.bind(slot, sum(self._threads_of(slot, number), ()))
        device.reset(self.store, slot)
        return device

    def _threads_of(self, slot: Slot, number: int) -> Threads:
        """A device's threads in a slot: columns, prefetchers, and those that its class declares.

        They are the same in every batch.
        """
        threads = self._threads.get((slot.index, number))
        if threads is None:
            columns, prefetchers = device_threads(self.program, slot, number)
            threads = columns, prefetchers, self._own_threads(slot, number)
            self._threads[slot.index, number] = threads
        return threads

    def _own_threads(self, slot: Slot, number: int) -> tuple[DeviceThread, ...]:
        return own_threads(self.devices[number], slot)

    def _may_run(self, batch: int) -> bool:
        """Whether a batch may run: instances of it may have begun, and nothing can be made warm."""
        return self.segment.words[self._board + board.GO] >= batch

    def _go(self) -> None:
        if self.announced and self._may_run(self.announced[0].number):
            self._end_servers_of_slots()
            batch = self.running = self.announced.pop(0)
            self.ready += batch.tasks
            self._watch(batch.slots[: batch.next_slot])  # Taken up as they were.
            batch.unfinished = len(batch.tasks) + sum(
                sum(map(len, self._threads_of(slot, device)))
                for slot, devices in batch.slots[batch.next_slot :]
                for device in devices
            )

    def _watch(self, slots: list[tuple[Slot, tuple[int, ...]]]) -> None:
        for slot, devices in slots:
            for number in devices:
                self.registers.watch(self.devices[number], slot)

    def _end_servers_of_slots(self) -> None:
        """End those of the last batch, which its kernel may have needed longer than its columns."""
        self.registers.clear()
        for tasks in (self.ready, self.again):
            tasks[:] = [task for task in tasks if not task.server or task.owner is None]

    # Steps

    def make_steps(self, count: int) -> int:
        """Make up to so many steps; fewer when nothing can go now. Gives how many."""
        if self.running is None:
            if self.announced:
                self._go()
            if self.is_at_rest:
                self.idle_rounds += 1
                return 0
        if self.gated:
            return 0
        if self.running is not None and self.running.next_slot < len(self.running.slots):
            self._start_slots(self.running)
        if self._due:
            self._release()
        self.ready += self.registers.changed()
        if self.again:
            self.ready += self.again
            self.again.clear()
        if self.faults is not None:
            self.ready += self.faults.release()
        made = 0
        ready = self.ready
        alone = self.faults is None and not self.is_hosted
        for _ in range(count):
            if not ready:
                break
            if len(ready) == 1 and alone and ready[0].server and ready[0].owner is None:
                made += self._serve(ready[0], count)
            else:
                made += self._one_step()
        if self.running is not None:
            self._end_batch(self.running)
        waits = made or self.ready or self._due or (self.faults is not None and self.faults.holds)
        self.idle_rounds = 0 if waits else self.idle_rounds + 1
        return made

    def _serve(self, server: Task, count: int) -> int:
        """Make the steps of a server, one after the other as long as nobody else can go."""
        made = self.runner.serve(server, count)
        woken = self.runner.woken
        if made < count and not woken:
            self.ready.clear()
            if not self.runner.park(server):
                self.again.append(server)
        elif woken:
            self.ready += woken
            woken.clear()
        return made

    # Gates

    def grant(self, name: str, step: str) -> tuple[str, bool]:
        """Make a task's pending step if it is the one granted; gives what it was, and if made."""
        self._go()
        if not self._gated_tasks:
            self._start_gated()
        task = self._gated_tasks.get(name)
        if task is None or task.request is None:
            return "", False
        pending = task.request.full_name
        return pending, pending == step and self.runner.step(task)

    def grant_rest(self) -> None:
        """Make all further steps freely; prefetchers stay where they are."""
        if not self._gated_tasks:
            self._start_gated()
        self.gated = False
        tasks = list(self._gated_tasks.values())
        self.ready = [task for task in tasks if not task.ended and task.name not in self._ahead]
        if self.running is not None:
            self.running.unfinished = sum(not task.server for task in self.ready)

    def _start_gated(self) -> None:
        batch = self.running
        if batch is None:
            return
        batch.next_slot = len(batch.slots)
        tasks = [invalidation_server(device) for device in self.devices.values()]
        for slot, devices in batch.slots:
            for number in devices:
                device = self.devices[number]
                columns, prefetchers = device_threads(self.program, slot, number)
                tasks += [self._column(thread, number) for thread in columns]
                for thread in prefetchers:
                    what = self.program.speculation[thread.number - len(self.program.columns)]
                    tasks.append(speculation_task(device, thread, what))
                    self._ahead.add(thread.name)
                tasks += [own_task(device, thread) for thread in self._own_threads(slot, number)]
                tasks += function_servers(device, slot)
        for device in self.devices.values():
            faults = list(fault_tasks(device))
            self._ahead.update(task.name for task in faults)
            tasks += faults
        self.store.put(BUDGET, FAULTS_MAX)
        self._gated_tasks = {task.name: task for task in tasks}

    def _one_step(self) -> int:
        ready = self.ready
        position = int(self.random.random() * len(ready))
        if len(ready) > CROWD and self.random.random() < SERVERS_SHARE:
            position = self._server_among(ready, position)
        task = ready[position]
        if self.leaving and not task.server and _is_outside_access(task):
            ready.remove(task)
            return 0
        made = self._step(task)
        if not made or task.ended or self._hold(task):
            last = ready.pop()
            if last is not task:
                ready[position] = last
            if task.ended:
                self.runner.forget(task)
                self._ended(task)
            elif not made and not self.registers.rest(task) and not self.runner.park(task):
                self.again.append(task)
        if self.runner.woken:
            ready += self.runner.woken
            self.runner.woken.clear()
        return made

    def _ended(self, _task: Task) -> None:
        assert self.running is not None
        self.running.unfinished -= 1

    def _server_among(self, ready: list[Task], position: int) -> int:
        """Where a server is that can go, by chance which; the position given if none can."""
        servers = [place for place, task in enumerate(ready) if task.server]
        return self.random.choice(servers) if servers else position

    def _step(self, task: Task) -> bool:
        """Make a task's step, by way of whatever fault is meant for it."""
        if self.faults is None:
            return self.runner.step(task)
        self.faults.before_step(self.store, task)
        assert task.request is not None
        name = task.request.name
        made = self.runner.step(task)
        self._is_slow = made and self.faults.after_step(task, name)
        return made

    def _hold(self, task: Task) -> bool:
        assert task.request is not None
        if self._is_slow:
            self._is_slow = False
            return True
        if task.request.name == PAUSE:
            ticks = self._delay(self.running.window if self.running else HOLD_TICKS)
            self._push(self._clock() + ticks, task)
            return True
        if task.server or self.random.random() > HOLD_SHARE:
            return False
        self._push(self._clock() + int(HOLD_TICKS ** self.random.random()), task)
        return True

    def _start_slots(self, batch: Batch) -> None:
        words = self.segment.words
        while batch.next_slot < len(batch.slots):
            slot, devices = batch.slots[batch.next_slot]
            started = words[slot.started] & ~board.CUT_OFF
            if not started:
                return
            batch.next_slot += 1
            for number in devices:
                self.registers.watch(self.devices[number], slot)
                tasks = self.tasks_of(slot, number)
                batch.tasks += tasks
                for task in tasks:
                    self._push(started + self._delay(batch.window), task)

    def tasks_of(self, slot: Slot, number: int) -> list[Task]:
        """Columns, prefetchers and own threads of a device in a slot, none of them begun."""
        device = self.devices[number]
        columns, prefetchers, own = self._threads_of(slot, number)
        tasks = [self._column(thread, number) for thread in columns]
        for thread in prefetchers:
            what = self.program.speculation[thread.number - len(self.program.columns)]
            body = partial(run_prefetches, device, thread, what)
            tasks.append(Task(thread.name, body, owner=slot))
        tasks += [own_task(device, thread) for thread in own]
        return tasks

    def _column(self, thread: DeviceThread, number: int) -> Task:
        return column_task(self.devices[number], thread)

    def _delay(self, window: int) -> int:
        if self.random.random() < EAGER_SHARE:
            return int(self.random.random() * window)
        return int(window ** self.random.random())

    def _push(self, tick: int, task: Task) -> None:
        self._pushes += 1
        heapq.heappush(self._due, (tick, self._pushes, task))

    def _release(self) -> None:
        """Let tasks go whose tick has come.

        A daemon that can make no step may be waiting for one of them (an access that must drain,
        a column), and its clock stands: then the next one goes as if its tick had come.
        """
        clock = self._clock()
        due = self._due
        if due[0][0] > clock and self.segment.words[self._board + board.IDLE]:
            self.ready.append(heapq.heappop(due)[2])
        while due and due[0][0] <= clock:
            self.ready.append(heapq.heappop(due)[2])

    def _clock(self) -> int:
        return self.segment.words[self._board + board.CLOCK]

    def _end_batch(self, batch: Batch) -> None:
        if not batch.unfinished and batch.next_slot == len(batch.slots):
            self.running = None
            self.on_batch_end()
            self._say(board.A_DONE, batch.number)

    def _say(self, word: int, value: int) -> None:
        self.segment.words[self._board + board.agent_word(self.agent, word)] = value

    # What comes from the daemon

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing can go but servers of invalidations, when some come."""
        return self.running is None and not (
            self.ready or self.again or self._due or self.faults or self.registers.waiting
        )

    def invalidate(self, asked: Iterable[messages.InvalidateRequest]) -> bool:
        """Hand invalidations to their devices; True when these were at rest, and have obeyed."""
        at_once = self.is_at_rest and not (self.gated or self.is_hosted)
        straight = self._straight
        for each in asked:
            number, instance = each.device, each.instance
            address, size = ats_range.decode(each.address)
            request = request_of((each.itag, each.pasid, address, size, instance, each.flags))
            if at_once and number in straight:
                steps, task = straight[number]
                at_once = self.runner.make_at_once(steps, request, task, instance)
                if at_once:
                    continue
            at_once = False
            deliver(self.store, ("invalidate", number), request)
        if at_once:
            self.idle_rounds = 0
        else:
            self._wake()
        return at_once

    def respond(self, number: int, slot: int, prgi: int, answer: str) -> None:
        """Hand a page response to the thread that waits for it."""
        deliver(self.store, ("page_response", number, slot, prgi), answer)
        self._wake()

    def go(self, batch: int) -> None:
        """A batch may run: where memory is mapped, the board says so."""

    def take(self, message: messages.DeviceFromDaemon) -> None:
        """Take in what only an agent without shared memory is sent."""

    def outgoing(self) -> list[DeviceMessage]:
        """What only an agent without shared memory has to send."""
        return []

    def _wake(self) -> None:
        self.runner.wake()
        self.ready += self.runner.woken
        self.runner.woken.clear()

    def drop_everything(self) -> None:
        """Drop every translation, those under way too, as after messages were lost."""
        for device in self.devices.values():
            lose_everything(self.store, device)
            for slot in self.slots.values():
                device.forget(self.store, slot)  # what a class of one's own keeps, too
        self._wake()

    def begin_no_access(self) -> None:
        """Keep every thread from beginning another access, as a device that is to leave does."""
        self.leaving = True

    def is_drained(self) -> bool:
        """Whether no access and no translation is under way."""
        return all(
            self.store.get(cell(device.number, thread)) is None
            for device in self.devices.values()
            for threads in device.threads.values()
            for thread in threads
            for cell in (issued_cell, walking_cell)
        )

    def slot_with(self, pasid: int) -> Slot | None:
        """The slot that a PASID was granted for."""
        return self._slot_of_pasid.get(pasid)

    def _instance_of(self, record: AnyRecord) -> int:
        """The instance of a record of an invalidation; -1 when it is of none that has begun.

        One that was sent again may come when its slot is being made ready for another instance.
        """
        if isinstance(record, Invalidation):
            slot = self._slot_of_pasid.get(record.pasid)
            if slot is not None and self.segment.words[slot.started]:
                return slot.instance
        return -1


def _is_outside_access(task: Task) -> bool:
    """Whether what a task does next is no part of an access that it has begun."""
    request = task.request
    assert request is not None
    return request.name in BEGINNINGS or request.operation != "device"
