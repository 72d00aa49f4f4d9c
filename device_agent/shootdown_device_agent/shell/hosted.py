"""A run of an agent without shared memory: walks and accesses are asked of the daemon.

The machine is the same: a step that needs an answer of the daemon's is undone when it finds that
the answer is not there, asked for once, and made again when it has come. Meanwhile other steps are
made, invalidations among them, as on a device whose requests are on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

from shootdown_device_agent.machine.columns import (
    PREFETCHER,
    end_column_of,
    run_instruction,
    warm_one,
)
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import DeviceThread
from shootdown_device_agent.shell.batches import REMOTE_CHANNELS, AgentRun, DeviceMaker
from shootdown_engine.access import Intent, Target
from shootdown_engine.live_store import LiveStore
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.runner import Log, Runner
from shootdown_engine.slot import Slot
from shootdown_engine.task import Stage, Task
from shootdown_engine.trap import trap
from shootdown_engine.walker import Translation, Walked, WalkFault
from shootdown_protocol import board, messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.board import ATS_ENABLE, F_CONTROL, F_STATUS, SlotLayout
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.history import Denied, Ended, Entry, Fault, Kind
from shootdown_protocol.layout import Layout
from shootdown_protocol.limits import REMOTE_PER_MESSAGE_MAX, REMOTE_TAG_MAX
from shootdown_protocol.memory import LEVELS, PAGE_SHIFT, PRESENT, RW, USER, Pfn
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.program import Op, Program, Warm, When

NO_WORD = -1
"""Where the entry of a translation lies, for those who cannot look at it."""
R = TypeVar("R")
TICKS_A_NS = 1e-5
"""How fast the batch clock is taken to go before that is known."""
LEARNING = 0.2
"""Weight of one observation of that."""
WARMER = "warm"
"""Beginning of the names of tasks that warm a device's caches; its number follows."""


class NotYet(Exception):  # noqa: N818 - no error: it ends a step whose answer has not come
    """The step is to be made again when the daemon has answered."""


class Asked:
    """What the daemon was asked and has answered, by the task whose step it is for."""

    def __init__(self, program: Program) -> None:
        """Ask nothing yet."""
        self.program = program
        self.task: Task | None = None
        self.lines: dict[tuple[int, str], tuple[int, ...]] = {}
        """For each column in a slot the instruction that each of its stages belongs to."""
        self.translations: list[remote.TranslationRequest] = []
        self.accesses: list[remote.AccessRequest] = []
        self.thread_accesses: list[remote.ThreadAccessRequest] = []
        self.waits: list[remote.ColumnWait] = []
        self.parked: dict[int, Task] = {}
        self._tag = 0
        self._tags: dict[tuple[Task, Hashable], int] = {}
        self._keys: dict[int, tuple[Task, Hashable]] = {}
        self._answers: dict[tuple[Task, Hashable], object] = {}

    # For steps, which are made while `task` is set

    def walk(self, pasid: int, va: int, *, write: bool) -> Walked:
        """Translate one page (`shootdown_engine.memory.Host`)."""
        address = va >> PAGE_SHIFT << PAGE_SHIFT
        answer = self._answer(
            ("walk", pasid, address, write),
            lambda tag: self.translations.append(
                remote.TranslationRequest(tag, self._device(), pasid, address, write)
            ),
        )
        if answer is None:
            return WalkFault("unsupported", LEVELS + 1)
        assert isinstance(answer, remote.TranslationCompletion)
        if not answer.read:
            return WalkFault("not-present", 1)
        entry = PRESENT | USER | RW * answer.write
        return Translation(Pfn(answer.page), answer.write, 0, NO_WORD, entry, answer.shift)

    def access(self, slot: Slot, intent: Intent, target: Target) -> int:
        """Load or store through a translation (`shootdown_engine.memory.Host`)."""
        answer = self._answer("access", partial(self._ask_access, slot, intent, target))
        assert isinstance(answer, remote.AccessAnswer)
        return answer.value if intent.kind is Kind.LOAD else intent.value

    def _ask_access(self, slot: Slot, intent: Intent, target: Target, tag: int) -> None:
        if self.is_column():
            place = self.place(slot)
            self.accesses.append(remote.AccessRequest(tag, *place, target.pfn, target.hit))
            return
        self.thread_accesses.append(
            remote.ThreadAccessRequest(
                tag,
                slot.index,
                *self.thread(),
                intent.location,
                write=intent.kind is Kind.STORE,
                value=intent.value,
                page=target.pfn,
                hit=target.hit,
            )
        )

    def proceed(self, slot: Slot) -> None:
        """Guard: the instruction at hand may go on."""
        self._answer(
            "wait", lambda tag: self.waits.append(remote.ColumnWait(tag, *self.place(slot)))
        )

    def _answer(self, key: Hashable, ask: Callable[[int], None]) -> object:
        assert self.task is not None
        asked = self.task, key
        if asked in self._answers:
            return self._answers[asked]
        if asked not in self._tags:
            self._tag = (self._tag + 1) % REMOTE_TAG_MAX
            self._tags[asked] = self._tag
            self._keys[self._tag] = asked
            ask(self._tag)
        raise NotYet

    def is_column(self) -> bool:
        """Whether the step at hand is a column's, and not of a thread that a device declares."""
        assert self.task is not None
        return any(column.name == self.task.name for column in self.program.columns)

    def thread(self) -> tuple[int, str]:
        """Device and name of the thread, which its class declares, whose step is at hand."""
        assert self.task is not None
        device, _, name = self.task.name.rpartition(".")
        return self.program.devices.index(device), name

    def place(self, slot: Slot) -> tuple[int, int, int]:
        """Slot, column and instruction of the step at hand."""
        assert self.task is not None
        names = [column.name for column in self.program.columns]
        column = names.index(self.task.name)
        return slot.index, column, self.lines[slot.index, self.task.name][self.task.stage]

    def _device(self) -> int:
        assert self.task is not None
        name = self.task.name
        for column in self.program.columns:
            if column.name == name:
                return column.device
        if name.startswith(WARMER) and name.removeprefix(WARMER).isdigit():
            return int(name.removeprefix(WARMER))
        if name.rpartition(".")[0] in self.program.devices:
            return self.thread()[0]
        return self.program.speculation[int(name.removeprefix(PREFETCHER))].device

    # For the runner

    def hold(self, task: Task) -> bool:
        """Keep a task until what it has asked for is answered; False when it has asked nothing."""
        tags = [tag for (asker, _), tag in self._tags.items() if asker is task]
        for tag in tags:
            self.parked[tag] = task
        return bool(tags)

    def forget(self, task: Task) -> None:
        """A step was made: its answers are used up."""
        for asked in [asked for asked in self._answers if asked[0] is task]:
            del self._answers[asked]

    def answer(self, tag: int, answer: object) -> Task | None:
        """Take an answer in; gives the task that waits for it. One not asked for is passed over."""
        asked = self._keys.pop(tag, None)
        if asked is None:
            return None
        self._tags.pop(asked, None)
        self._answers[asked] = answer
        return self.parked.pop(tag, None)


class HostedStore(LiveStore):
    """A live store that can undo the step at hand."""

    def __init__(self, words: memoryview, remote_channels: frozenset[str]) -> None:
        """Keep no journal until a step begins."""
        super().__init__(words, remote_channels)
        self._cells_before: list[tuple[tuple[Hashable, ...], object]] = []
        self._words_before: list[tuple[int, int]] = []
        self._lengths = (0, 0, 0)
        self.statuses: dict[int, tuple[int, int]] = {}
        """Slot and device of each word that says what a device has obeyed."""
        self.told: list[int] = []

    def begin(self) -> None:
        """Begin a step."""
        self._cells_before.clear()
        self._words_before.clear()
        self._lengths = len(self.outbox), len(self.records), len(self.changed)

    def undo(self) -> None:
        """Take back what the step has done."""
        for cell, before in reversed(self._cells_before):
            if before is None:
                self.cells.pop(cell, None)
            else:
                assert isinstance(before, Hashable)
                self.cells[cell] = before
        for word, value in reversed(self._words_before):
            self.words[word] = value
        outbox, records, changed = self._lengths
        del self.outbox[outbox:]
        del self.records[records:]
        del self.changed[changed:]

    def put(self, cell: tuple[Hashable, ...], value: Hashable) -> None:
        """Note what was there and write."""
        self._cells_before.append((cell, self.cells.get(cell)))
        super().put(cell, value)

    def store(self, word: int, value: int) -> None:
        """Note what was there and write."""
        self._words_before.append((word, self.words[word]))
        super().store(word, value)
        if word in self.statuses:
            self.told.append(word)


class HostedRunner(Runner):
    """A runner whose steps may have to wait for an answer of the daemon's."""

    asked: Asked

    def step(self, task: Task) -> bool:
        """Make a task's step, if all that it needs is there."""
        store = self.store
        assert isinstance(store, HostedStore)
        store.begin()
        self.asked.task = task
        try:
            made = super().step(task)
        except NotYet:
            store.undo()
            return False
        if made:
            self.asked.forget(task)
        return made

    def park(self, task: Task) -> bool:
        """Park a task until its answer comes, or as any other."""
        if self.asked.hold(task):
            return True
        self.asked.task = task
        return super().park(task)

    def answer(self, tag: int, answer: object) -> None:
        """Take an answer in and wake who waits for it."""
        task = self.asked.answer(tag, answer)
        if task is not None:
            self.woken.append(task)


class HostedRun(AgentRun):
    """One loaded program at an agent whose memory the daemon keeps; its board is a copy."""

    runner: HostedRunner

    def __init__(
        self,
        load: messages.LoadProgram,
        welcome: messages.Welcome,
        makers: tuple[DeviceMaker, ...],
        *,
        now: Callable[[], int],
        fence: Callable[[], None],
        log: Log,
    ) -> None:
        """Make the devices, over memory that is the daemon's."""
        self.asked = Asked(load.program)
        words = SlotLayout.of(load.program).words
        self.to_send: list[DeviceMessage] = []
        self._denied: list[DeviceMessage] = []
        self._ends: list[remote.ColumnEnd] = []
        self._unwarmed: dict[int, int] = {}
        self._log = log
        self._now = now
        self._told = 0, now()
        self._ticks_a_ns = TICKS_A_NS
        segment = PlainSegment(Layout(1, load.slot_base + load.slots * words, 1))
        super().__init__(segment, load, welcome, makers, now=now, fence=fence, log=self._take)
        self.is_hosted = True

    def _new_store(self) -> LiveStore:
        return HostedStore(self.segment.words, REMOTE_CHANNELS)

    def _new_runner(self, now: Callable[[], int], fence: Callable[[], None], log: Log) -> Runner:
        runner = HostedRunner(self.store, now, fence, log, self._instance_of)
        runner.asked = self.asked
        return runner

    def _new_memory(self) -> PhysicalMemory:
        return PhysicalMemory(self.segment.layout, Pfn(0), self.asked)

    def _config(self, number: int, welcome: messages.Welcome) -> DeviceConfig:
        config = super()._config(number, welcome)
        return replace(
            config,
            iotlb=False,
            walk_cache=False,
            walk_by_level=False,
            ad_bits=False,
            watch_stale=False,
        )

    # What comes from the daemon

    def take(self, message: messages.DeviceFromDaemon) -> None:
        """Take in an answer, or that instances have begun."""
        if isinstance(message, remote.TranslationCompletions):
            for completion in message.completions:
                self.runner.answer(completion.tag, completion)
        elif isinstance(message, remote.AccessAnswers):
            for answer in message.answers:
                self.runner.answer(answer.tag, answer)
        elif isinstance(message, remote.Proceed | remote.Unsupported):
            for tag in message.tags:
                self.runner.answer(tag, None)
        elif isinstance(message, remote.RegisterWrites):
            for write in message.writes:
                if write.slot in self.slots:
                    first = self.slots[write.slot].functions[write.device]
                    self.segment.words[first + F_CONTROL] = write.control
        elif isinstance(message, remote.SlotsStarted):
            self._learn_clock(message.clock)
            for index in message.slots:
                if index in self.slots:
                    self.segment.words[self.slots[index].started] = message.clock + 1
        self._wake()

    def _learn_clock(self, clock: int) -> None:
        """Note what the batch clock says, and how fast it goes."""
        before, then = self._told
        now = self._now()
        if before and clock > before:
            rate = (clock - before) / max(1, now - then)
            self._ticks_a_ns += LEARNING * (rate - self._ticks_a_ns)
        self._told = clock, now

    def _clock(self) -> int:
        """The batch clock as it should be by now: it is told with each start, and goes on."""
        clock, since = self._told
        return clock + int((self._now() - since) * self._ticks_a_ns)

    def go(self, batch: int) -> None:
        """A batch may run."""
        self._set(board.GO, batch)

    def _set(self, word: int, value: int) -> None:
        self.segment.words[self._board + word] = value

    # What goes to the daemon

    def outgoing(self) -> list[DeviceMessage]:
        """What is to be sent after a round of steps."""
        asked = self.asked
        told: list[DeviceMessage] = [
            *(remote.TranslationRequests(0, some) for some in _portions(asked.translations)),
            *(remote.AccessRequests(0, some) for some in _portions(asked.accesses)),
            *(remote.ThreadAccessRequests(0, some) for some in _portions(asked.thread_accesses)),
            *(remote.ColumnWaits(0, some) for some in _portions(asked.waits)),
            *self._statuses(),
            *self._denied,
            *(remote.ColumnsEnded(0, some) for some in _portions(self._ends)),
            *self.to_send,
        ]
        for spent in (asked.translations, asked.accesses, asked.thread_accesses, asked.waits):
            spent.clear()
        for told_of in (self._denied, self._ends, self.to_send):
            told_of.clear()
        return told

    def _take(self, entry: Entry) -> None:
        """Tell the daemon what it cannot know; all else it records itself."""
        record = entry[-1]
        running = self.runner.asked.task
        if isinstance(record, (Ended, Denied)) or (isinstance(record, Fault) and record.exhausted):
            assert running is not None
            assert running.owner is not None
            slot = running.owner
            if isinstance(record, Ended):
                self._ends.append(remote.ColumnEnd(slot.index, record.column))
            else:
                self._denied.append(self._given_up(slot, record))
        self._log(entry)

    def _statuses(self) -> Iterator[DeviceMessage]:
        """What devices have obeyed of their registers since the last round."""
        store = self.store
        assert isinstance(store, HostedStore)
        written, store.told = store.told, []
        said = [
            remote.RegisterStatus(*store.statuses[word], self.segment.words[word])
            for word in dict.fromkeys(written)
        ]
        for some in _portions(said):
            yield remote.RegisterStatuses(0, some)

    def _given_up(self, slot: Slot, record: Denied | Fault) -> DeviceMessage:
        retried = isinstance(record, Fault)
        if self.asked.is_column():
            return remote.AccessGivenUp(0, *self.asked.place(slot), retried)
        write = record.write if isinstance(record, Fault) else record.kind is Kind.STORE
        device, thread = self.asked.thread()
        return remote.ThreadAccessGivenUp(
            0, slot.index, device, thread, record.location, write, retried
        )

    # Steps

    def make_steps(self, count: int) -> int:
        """Make steps; under a schedule only those that warm caches, which is no part of it."""
        if not self.gated:
            return super().make_steps(count)
        return sum(map(self._warm_step, [task for task in self.ready if _is_warmer(task)]))

    def _warm_step(self, task: Task) -> bool:
        made = self.runner.step(task)
        if task.ended:
            self.ready.remove(task)
            self._ended(task)
        return made

    # Batches

    def _bind(self, slot: Slot, number: int) -> None:
        """Bind, and warm by tasks, for translations take a while."""
        self._begin_registers(slot)
        device = self._bind_threads(slot, number)
        self.segment.words[slot.started] = 0
        wanted = [warm for warm in self.program.warm if warm.device == number]
        if wanted:
            self._unwarmed[slot.index] = self._unwarmed.get(slot.index, 0) + len(wanted)
        for warm in wanted:

            async def body(warm: Warm = warm) -> None:
                to_write = partial(warm_one, write=warm.write_intent)
                await trap("warm", to_write, device, slot, warm.location)

            self.ready.append(Task(f"{WARMER}{number}", body, owner=slot))

    def _begin_registers(self, slot: Slot) -> None:
        """Registers say what they do as an instance begins."""
        assert isinstance(self.store, HostedStore)
        control = ATS_ENABLE if self.program.begins_attached else 0
        for device, first in enumerate(slot.functions):
            self.segment.words[first + F_CONTROL] = control
            self.segment.words[first + F_STATUS] = control
            self.store.statuses[first + F_STATUS] = slot.index, device

    def _ended(self, task: Task) -> None:
        if _is_warmer(task):
            assert task.owner is not None
            self._unwarmed[task.owner.index] -= 1
            self._say_warm()
        else:
            super()._ended(task)

    def _say_warm(self) -> None:
        """Say which batches are warm, in their order: a later number stands for all before it."""
        for batch in self.announced:
            if batch.warm:
                continue
            if any(self._unwarmed.get(slot.index) for slot, _ in batch.slots):
                return
            batch.warm = True
            self.to_send.append(remote.BatchWarm(0, batch.number))

    def _say(self, word: int, value: int) -> None:
        if word == board.A_DONE:
            self.to_send.append(remote.BatchDone(0, value))
        else:
            self._say_warm()

    def _column(self, thread: DeviceThread, number: int) -> Task:
        """A column whose waits are the daemon's: a stage to wait, one to do what comes then."""
        device = self.devices[number]
        stages: list[Stage] = []
        lines: list[int] = []
        for line, instruction in enumerate(self.program.columns[thread.number].instructions):
            if instruction.op in _WAITS or instruction.when is not When.NOW:
                name = _WAITS.get(instruction.op, "when")
                stages.append(partial(self._proceed, name, thread.slot))
                lines.append(line)
            if instruction.op not in _WAITS:
                stages.append(partial(run_instruction, device, thread, instruction))
                lines.append(line)
        stages.append(partial(end_column_of, device, thread))
        self.asked.lines[thread.slot.index, thread.name] = (*lines, 0)
        return Task(thread.name, *stages, owner=thread.slot)

    async def _proceed(self, name: str, slot: Slot) -> None:
        await trap(name, lambda _store: self.asked.proceed(slot))


_WAITS = {Op.AWAIT: "await", Op.SYNC: "sync"}
"""Instructions that are nothing but a wait, with the name of its step."""


def _is_warmer(task: Task) -> bool:
    return task.name.startswith(WARMER) and task.name.removeprefix(WARMER).isdigit()


def _portions(requests: list[R]) -> Iterator[tuple[R, ...]]:
    for first in range(0, len(requests), REMOTE_PER_MESSAGE_MAX):
        yield tuple(requests[first : first + REMOTE_PER_MESSAGE_MAX])
