"""Agents without shared memory: the daemon walks tables and makes accesses on their behalf.

Nothing that they say is believed. A translation is made only for a PASID of a slot in which the
agent plays the device; an access only for an instruction of a column of such a device, and only
through a page that this device was answered in this batch. What they do is recorded here, so they
write no history.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple, TypeVar

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.hosted_translations import HostedTranslations
from shootdown_daemon.shell.links import AgentLink
from shootdown_daemon.shell.live_run import UNDER_WAY, Bank, BankState, LiveRun
from shootdown_daemon.shell.remote_registers import RemoteRegisters
from shootdown_engine.access import Intent, Target, begin, kept_from, take_effect
from shootdown_engine.channels import InvalidateRequest, PageRequest
from shootdown_engine.column import await_column, deny, end_column, sync_column, wait_until
from shootdown_engine.slot import Site
from shootdown_engine.translation_cache import Cached
from shootdown_engine.trap import BLOCKED
from shootdown_protocol import ats_range, board, messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.fence import full_fence
from shootdown_protocol.history import AnyRecord, Fault, Kind
from shootdown_protocol.limits import INVALIDATIONS_PER_MESSAGE_MAX, REMOTE_PER_MESSAGE_MAX
from shootdown_protocol.program import Instruction, Op, Program, When

UNSUPPORTED = "unsupported-request"
"""In place of an answer to a fault: the device asked where it has no domain."""
OWN_THREAD = -1
"""In place of a column's number, for a thread that a device has of its own."""


class Place(NamedTuple):
    """What an agent may speak of: an instruction of a column that it plays, or a thread of its own.

    ``task`` is whose records it makes; ``line`` of a thread is the access that it wants.
    """

    kslot: KernelSlot
    task: str
    line: Instruction
    device: int
    column: int = OWN_THREAD

    @property
    def intent(self) -> Intent:
        """What a load or store wants."""
        line = self.line
        kind = Kind.LOAD if line.op is Op.LOAD else Kind.STORE
        return Intent(kind, line.location, line.value, line.register)

    @property
    def site(self) -> Site:
        """Where it is wanted."""
        return self.kslot.slot.sites[self.line.location]


class Waiting(NamedTuple):
    """A column that waits; ``tag`` is what its agent calls the wait."""

    link: AgentLink
    tag: int
    place: Place


def is_confined(link: AgentLink) -> bool:
    """Whether an agent has no shared memory."""
    return messages.SHARED_MEMORY not in link.capabilities


def check_memory(program: Program, links: Iterable[AgentLink]) -> None:
    """Refuse agents that can reach no registers where devices have some (`UsageError`)."""
    if not program.has_functions:
        return
    for link in links:
        if is_confined(link) and messages.REGISTERS not in link.capabilities:
            raise UsageError(
                ErrorCode.USAGE,
                seen=f"{link.name}, an agent without shared memory",
                expected="shared memory, or the capability 'registers': the scenario attaches, "
                "detaches or resets devices",
                where=f"the scenario {program.name}",
            )


class ConfinedAgents:
    """What the agents without shared memory do in one run; the caller moves the messages."""

    def __init__(
        self,
        live: LiveRun,
        links: dict[int, AgentLink],
        config: DaemonConfig,
        complete: Callable[[int, int], None],
    ) -> None:
        """Begin with no batch; ``complete`` hears of invalidations that were the IOMMU's alone."""
        self.live = live
        self.links = {number: link for number, link in links.items() if is_confined(link)}
        self.translations = HostedTranslations(live, config, self._report, complete)
        self.registers = RemoteRegisters(live)
        if self.links:
            self.translations.park_servers(frozenset(self.links))
        self._waiting: dict[tuple[int, int, int], Waiting] = {}
        self._faults: dict[tuple[int, int, int], tuple[int, bool]] = {}
        self._answers: list[tuple[AgentLink, DeviceMessage]] = []
        self.live.notes_starts = bool(self.links)

    # From agents

    def take(
        self, link: AgentLink, message: messages.DeviceToDaemon
    ) -> Iterator[messages.ErrorReport]:
        """Do what an agent asks for; gives what it had no right to."""
        if isinstance(message, remote.TranslationRequests):
            yield from self._translate(link, message)
        elif isinstance(message, remote.AccessRequests):
            yield from self._accesses(link, message)
        elif isinstance(message, remote.ThreadAccessRequests):
            yield from self._thread_accesses(link, message)
        elif isinstance(message, remote.ColumnWaits):
            yield from self._wait(link, message)
        elif isinstance(message, remote.ColumnsEnded):
            yield from self._end(link, message)
        elif isinstance(message, remote.AccessGivenUp):
            place = self._place(link, message.slot, message.column, message.line)
            yield from self._give_up(place, retried=message.retried)
        elif isinstance(message, remote.ThreadAccessGivenUp):
            yield from self._give_up(self._thread(link, message), retried=message.retried)
        elif isinstance(message, remote.RegisterStatuses):
            yield from self._obeyed(link, message)
        elif isinstance(message, remote.BatchWarm):
            self._say(link, board.A_WARM, message.batch)
        elif isinstance(message, remote.BatchDone):
            yield from self._done(link, message.batch)

    def _translate(
        self, link: AgentLink, message: remote.TranslationRequests
    ) -> Iterator[messages.ErrorReport]:
        for asked in message.requests:
            kslot = self.live.slot_with(asked.pasid)
            if kslot is None or not self._serves(link, asked.device, kslot):
                yield _not_granted(f"PASID {asked.pasid:#x} for device {asked.device}")
                self.translations.refuse(link.number, asked.tag)
            else:
                number = self.live.device_number(link.number, asked.device)
                self.translations.request(number, asked, kslot)

    def _accesses(
        self, link: AgentLink, message: remote.AccessRequests
    ) -> Iterator[messages.ErrorReport]:
        answers = []
        for asked in message.requests:
            place = self._place(link, asked.slot, asked.column, asked.line)
            what = f"slot {asked.slot}, column {asked.column}, instruction {asked.line}"
            answers.append((yield from self._access(place, asked, what)))
        self._answers.append((link, remote.AccessAnswers(0, tuple(answers))))

    def _thread_accesses(
        self, link: AgentLink, message: remote.ThreadAccessRequests
    ) -> Iterator[messages.ErrorReport]:
        answers = []
        for asked in message.requests:
            what = f"slot {asked.slot}, device {asked.device}, location {asked.location}"
            answers.append((yield from self._access(self._thread(link, asked), asked, what)))
        self._answers.append((link, remote.AccessAnswers(0, tuple(answers))))

    def _access(
        self,
        place: Place | None,
        asked: remote.AccessRequest | remote.ThreadAccessRequest,
        what: str,
    ) -> Generator[messages.ErrorReport, None, remote.AccessAnswer]:
        """Make an access, if it is the agent's to make and its page one that was answered."""
        through = None
        if place is not None and place.line.op in (Op.LOAD, Op.STORE) and self._may_begin(place):
            slot = place.kslot.index
            through = self.translations.through(place.device, slot, place.site, asked.page)
            if through is None:
                self._keep_from(place, asked.page)
        if place is None or through is None:
            yield _not_granted(f"an access of {what} through page {asked.page:#x}")
            return remote.AccessAnswer(asked.tag, made=False, value=0)
        value = self._take_effect(place, through, asked.page, hit=asked.hit)
        return remote.AccessAnswer(asked.tag, made=True, value=value)

    def _may_begin(self, place: Place) -> bool:
        """Whether a column has begun and not ended; a thread may go while its instance does."""
        slot, load = place.kslot.slot, self.live.store.load
        if self.live.bank_of(slot.index).state not in UNDER_WAY or not load(slot.started):
            return False
        return place.column == OWN_THREAD or load(slot.ended[place.column]) != slot.instance + 1

    def _keep_from(self, place: Place, page: int) -> None:
        """Record an access that the device had no translation for: it is wrong, and not made."""
        began = self.live.now()
        slot, memory = place.kslot.slot, place.kslot.kernel.memory
        kept_from(self.live.store, memory, slot, place.intent, page)
        self._report(place.kslot, place.task, began)

    def _take_effect(self, place: Place, through: Cached, page: int, *, hit: bool) -> int:
        store, slot = self.live.store, place.kslot.slot
        began = self.live.now()
        begun = begin(store, place.site)
        stale = hit and self.translations.is_stale(place.site, through)
        target = Target(page, through.generation, hit, stale)
        value = take_effect(store, place.kslot.kernel.memory, slot, place.intent, begun, target)
        full_fence()
        self._report(place.kslot, place.task, began)
        return value

    def _wait(self, link: AgentLink, message: remote.ColumnWaits) -> Iterator[messages.ErrorReport]:
        for asked in message.waits:
            place = self._place(link, asked.slot, asked.column, asked.line)
            if place is None:
                yield _not_granted(f"a wait of slot {asked.slot}, column {asked.column}")
                continue
            key = link.number, asked.slot, asked.column
            self._waiting[key] = Waiting(link, asked.tag, place)

    def _end(self, link: AgentLink, message: remote.ColumnsEnded) -> Iterator[messages.ErrorReport]:
        for ended in message.columns:
            place = self._place(link, ended.slot, ended.column, 0)
            if place is None or not self._may_begin(place):
                yield _not_granted(f"the end of slot {ended.slot}, column {ended.column}")
                continue
            began = self.live.now()
            end_column(self.live.store, place.kslot.slot, ended.column)
            self._report(place.kslot, place.task, began)

    def _give_up(self, place: Place | None, *, retried: bool) -> Iterator[messages.ErrorReport]:
        if place is None or place.line.op not in (Op.LOAD, Op.STORE) or not self._may_begin(place):
            yield _not_granted("an access that was given up")
            return
        store, began = self.live.store, self.live.now()
        if retried:
            write = place.line.op is Op.STORE
            store.emit(Fault(place.line.location, write, "retried", exhausted=True))
        elif self.translations.was_unsupported(place.device, place.site):
            write = place.line.op is Op.STORE
            store.emit(Fault(place.line.location, write, UNSUPPORTED, exhausted=False))
            deny(store, place.kslot.slot, place.intent, UNSUPPORTED)
        else:
            deny(store, place.kslot.slot, place.intent, "invalid request")
        self._report(place.kslot, place.task, began)

    def _obeyed(
        self, link: AgentLink, message: remote.RegisterStatuses
    ) -> Iterator[messages.ErrorReport]:
        for said in message.statuses:
            kslot = self.live.slots[said.slot] if said.slot < len(self.live.slots) else None
            serves = kslot is not None and self._serves(link, said.device, kslot)
            if kslot is None or not serves or not self.registers.obeyed(kslot, said):
                yield _not_granted(f"status {said.status} of device {said.device}")

    def _done(self, link: AgentLink, batch: int) -> Iterator[messages.ErrorReport]:
        """A batch is done when its columns have ended, whatever the agent says."""
        if all(self._have_ended(link, bank) for bank in self.live.banks if bank.batch == batch):
            self._say(link, board.A_DONE, batch)
        else:
            yield _not_granted(f"the end of batch {batch}, of which columns have not ended,")

    def _have_ended(self, link: AgentLink, bank: Bank) -> bool:
        if bank.state not in UNDER_WAY:
            return bank.state is BankState.EMPTY
        live = self.live
        return all(
            live.store.load(kslot.slot.ended[index]) == kslot.slot.instance + 1
            for kslot in bank.used
            for index, column in enumerate(live.program.columns)
            if column.device >= 0 and live.serving(kslot.index)[column.device] == link.number
        )

    # Page requests, of which the device's side is recorded here too

    def note_request(self, link: AgentLink, slot: int, request: PageRequest) -> None:
        """Remember what a page request was for, until it is answered."""
        if link.number in self.links:
            key = request.device, slot, request.prgi
            self._faults[key] = (request.location, request.write)

    def note_response(self, device: int, slot: int, prgi: int, answer: str) -> None:
        """Record the answer, as an agent with a history does."""
        asked = self._faults.pop((device, slot, prgi), None)
        if asked is not None:
            location, write = asked
            kslot = self.live.slots[slot]
            _, number = self.live.agent_and_device(device)
            task = self.live.program.devices[number]
            self._log(kslot, task, self.live.now(), Fault(location, write, answer, exhausted=False))

    # To agents

    def forget(self, bank: Bank) -> None:
        """A bank's slots get new instances: nothing that was answered before holds."""
        if self.links:
            self.translations.forget(bank)
            self.registers.begin(bank)

    def to_send(self) -> list[tuple[AgentLink, DeviceMessage]]:
        """Invalidations, answers, waits that are over, instances that have begun: all that is new.

        Invalidations are first: one that walks have held up comes before their answers, and voids
        them.
        """
        told = [
            *self._register_writes(),
            *self._invalidations(),
            *self._translated(),
            *self._answers,
        ]
        self._answers = []
        started, self.live.just_started = self.live.just_started, []
        if started:
            told += self._started(started)
        over: dict[int, list[int]] = {}
        for key, waiting in list(self._waiting.items()):
            if self._may_proceed(waiting.place):
                del self._waiting[key]
                over.setdefault(waiting.link.number, []).append(waiting.tag)
        for number, tags in over.items():
            for some in _portions(tags, REMOTE_PER_MESSAGE_MAX):
                told.append((self.links[number], remote.Proceed(0, some)))
        return told

    def _invalidations(self) -> Iterator[tuple[AgentLink, DeviceMessage]]:
        requests: dict[int, list[messages.InvalidateRequest]] = {}
        for number, request in self.translations.release():
            agent, device = self.live.agent_and_device(number)
            requests.setdefault(agent, []).append(invalidate_request(device, request))
        for agent, some in requests.items():
            if agent in self.links:
                for portion in _portions(some, INVALIDATIONS_PER_MESSAGE_MAX):
                    yield self.links[agent], messages.Invalidate(0, portion)

    def _register_writes(self) -> Iterator[tuple[AgentLink, DeviceMessage]]:
        going = [bank for bank in self.live.banks if bank.state in UNDER_WAY]
        for agent, write in self.registers.written(going):
            if agent in self.links:
                yield self.links[agent], remote.RegisterWrites(0, (write,))

    def _translated(self) -> Iterator[tuple[AgentLink, DeviceMessage]]:
        completions: dict[int, list[remote.TranslationCompletion]] = {}
        for agent, completion in self.translations.take_answers():
            completions.setdefault(agent, []).append(completion)
        for agent, some in completions.items():
            if agent in self.links:
                for portion in _portions(some, REMOTE_PER_MESSAGE_MAX):
                    yield self.links[agent], remote.TranslationCompletions(0, portion)

        for agent, tag in self.translations.take_unsupported():
            if agent in self.links:
                yield self.links[agent], remote.Unsupported(0, (tag,))

    def lost(self, number: int) -> None:
        """An agent is gone: nobody waits for its answers."""
        if self.links.pop(number, None) is not None:
            self._answers = [each for each in self._answers if each[0].number != number]
            for key in [key for key in self._waiting if key[0] == number]:
                del self._waiting[key]

    def _started(self, started: list[int]) -> list[tuple[AgentLink, DeviceMessage]]:
        batch = next(b.batch for b in self.live.banks if b.state is not BankState.EMPTY)
        batch = next((b.batch for b in self.live.banks if b.state in UNDER_WAY), batch)
        told: list[tuple[AgentLink, DeviceMessage]] = []
        for number, link in self.links.items():
            mine = tuple(slot for slot in started if number in self.live.serving(slot))
            if mine:
                clock = self.live.flight.clock
                told.append((link, remote.SlotsStarted(0, batch, clock, mine)))
        return told

    def _may_proceed(self, place: Place) -> bool:
        store, slot, line = self.live.store, place.kslot.slot, place.line
        began = self.live.now()
        if line.op is Op.AWAIT:
            answer = await_column(store, slot, line.target)
        elif line.op is Op.SYNC:
            answer = sync_column(store, slot, line.target)
        elif line.when is not When.NOW:
            kernel = place.kslot.kernel
            answer = wait_until(store, kernel.memory, kernel.directory, slot, line)
        else:
            answer = None
        self._report(place.kslot, place.task, began)
        return answer is not BLOCKED

    # Inside

    def _place(self, link: AgentLink, slot: int, column: int, line: int) -> Place | None:
        """An instruction that this agent may speak of; None for any other."""
        columns = self.live.program.columns
        if slot >= len(self.live.slots) or column >= len(columns):
            return None
        kslot, declared = self.live.slots[slot], columns[column]
        if declared.device < 0 or not self._serves(link, declared.device, kslot):
            return None
        if line >= max(1, len(declared.instructions)):
            return None
        number = self.live.device_number(link.number, declared.device)
        instruction = declared.instructions[line] if declared.instructions else _NOTHING
        return Place(kslot, declared.name, instruction, number, column)

    def _thread(
        self, link: AgentLink, asked: remote.ThreadAccessRequest | remote.ThreadAccessGivenUp
    ) -> Place | None:
        """An access of a thread that a device of this agent has of its own; None for any other."""
        program = self.live.program
        if asked.slot >= len(self.live.slots) or asked.location >= len(program.locations):
            return None
        kslot = self.live.slots[asked.slot]
        if not self._serves(link, asked.device, kslot):
            return None
        value = asked.value if isinstance(asked, remote.ThreadAccessRequest) else 0
        wanted = Instruction(Op.STORE if asked.write else Op.LOAD, asked.location, value)
        number = self.live.device_number(link.number, asked.device)
        return Place(kslot, f"{program.devices[asked.device]}.{asked.thread}", wanted, number)

    def _serves(self, link: AgentLink, device: int, kslot: KernelSlot) -> bool:
        """Whether an agent plays a device in a slot that has an instance now."""
        serving = self.live.serving(kslot.index)
        if device >= len(serving) or serving[device] != link.number:
            return False
        bank = self.live.bank_of(kslot.index)
        return bank.state is not BankState.EMPTY and kslot in bank.used

    def _say(self, link: AgentLink, word: int, batch: int) -> None:
        """Set a board word for an agent that cannot; no batch that is not announced yet."""
        if batch <= self.live.batches:
            words = self.live.segment.words
            index = self.live.segment.layout.board + board.agent_word(link.number, word)
            words[index] = max(words[index], batch)

    def _report(self, kslot: KernelSlot, task: str, began: int) -> None:
        """Record what a step has made, and wake who waits for what it changed."""
        store, runner = self.live.store, self.live.runner
        for record in store.records:
            self._log(kslot, task, began, record)
        store.records.clear()
        if store.changed:
            runner.wake()
            self.live.flight.wake()

    def _log(self, kslot: KernelSlot, task: str, began: int, record: AnyRecord) -> None:
        self.live.runner.log((began, self.live.now(), kslot.slot.instance, task, record))


P = TypeVar("P")
_NOTHING = Instruction(Op.DELAY)


def _not_granted(what: str) -> messages.ErrorReport:
    return messages.ErrorReport(0, ErrorCode.NOT_GRANTED, f"{what} is not this agent's")


def _portions(some: list[P], most: int) -> Iterator[tuple[P, ...]]:
    for first in range(0, len(some), most):
        yield tuple(some[first : first + most])


def invalidate_request(device: int, request: InvalidateRequest) -> messages.InvalidateRequest:
    """A request as it goes to an agent, which calls the device by the program's number."""
    itag, pasid, address, size, instance, flags = request
    return messages.InvalidateRequest(
        device, itag, pasid, ats_range.encode(address, size), flags, instance
    )
