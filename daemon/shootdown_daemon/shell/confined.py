"""Agents without shared memory: the daemon walks tables and makes accesses on their behalf.

Nothing that they say is believed. A translation is made only for a PASID of a slot in which the
agent plays the device; an access only for an instruction of a column of such a device, and only
through a page that this device was answered in this batch. What they do is recorded here, so they
write no history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.links import AgentLink
from shootdown_daemon.shell.live_run import Bank, BankState, LiveRun
from shootdown_engine.access import Intent, Target, begin, take_effect
from shootdown_engine.channels import PageRequest
from shootdown_engine.column import await_column, deny, end_column, sync_column, wait_until
from shootdown_engine.trap import BLOCKED
from shootdown_engine.walker import Translation, walk
from shootdown_protocol import board, messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fence import full_fence
from shootdown_protocol.history import AnyRecord, Fault, Kind, Step
from shootdown_protocol.limits import REMOTE_PER_MESSAGE_MAX
from shootdown_protocol.memory import PAGE_SHIFT, USER, hardware_bits
from shootdown_protocol.program import Column, Instruction, Op, When

NO_PAGE = 0


class Place(NamedTuple):
    """An instruction of a column that an agent plays, in a slot that has an instance."""

    kslot: KernelSlot
    column: Column
    line: Instruction
    device: int

    @property
    def intent(self) -> Intent:
        """What a load or store wants."""
        line = self.line
        kind = Kind.LOAD if line.op is Op.LOAD else Kind.STORE
        return Intent(kind, line.location, line.value, line.register)


class Waiting(NamedTuple):
    """A column that waits; ``tag`` is what its agent calls the wait."""

    link: AgentLink
    tag: int
    place: Place


def is_confined(link: AgentLink) -> bool:
    """Whether an agent has no shared memory."""
    return messages.SHARED_MEMORY not in link.capabilities


class ConfinedAgents:
    """What the agents without shared memory do in one run; the caller moves the messages."""

    def __init__(self, live: LiveRun, links: dict[int, AgentLink]) -> None:
        """Begin with no batch."""
        self.live = live
        self.links = {number: link for number, link in links.items() if is_confined(link)}
        self._granted: dict[int, dict[tuple[int, int, int], Translation]] = {}
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
            yield from self._access(link, message)
        elif isinstance(message, remote.ColumnWaits):
            yield from self._wait(link, message)
        elif isinstance(message, remote.ColumnsEnded):
            yield from self._end(link, message)
        elif isinstance(message, remote.AccessGivenUp):
            yield from self._give_up(link, message)
        elif isinstance(message, remote.BatchWarm):
            self._say(link, board.A_WARM, message.batch)
        elif isinstance(message, remote.BatchDone):
            self._say(link, board.A_DONE, message.batch)

    def _translate(
        self, link: AgentLink, message: remote.TranslationRequests
    ) -> Iterator[messages.ErrorReport]:
        completions = []
        for asked in message.requests:
            kslot = self.live.slot_with(asked.pasid)
            found = None
            if kslot is None or not self._serves(link, asked.device, kslot):
                yield _not_granted(f"PASID {asked.pasid:#x} for device {asked.device}")
            else:
                found = self._walk(link, asked, kslot)
            completions.append(
                remote.TranslationCompletion(
                    asked.tag,
                    NO_PAGE if found is None else found.pfn,
                    PAGE_SHIFT if found is None else found.shift,
                    read=found is not None,
                    write=found is not None and found.writable,
                )
            )
        self._answers.append((link, remote.TranslationCompletions(0, tuple(completions))))

    def _walk(
        self, link: AgentLink, asked: remote.TranslationRequest, kslot: KernelSlot
    ) -> Translation | None:
        """Walk the tables; a translation found is one that the device may use in this batch."""
        live, kernel = self.live, kslot.kernel
        began = live.now()
        found = walk(live.store, kernel.memory, kernel.directory, asked.pasid, asked.address)
        vpn = asked.address >> PAGE_SHIFT
        sites = kslot.slot.sites
        site = next((s for s in sites if (s.pasid, s.vpn) == (asked.pasid, vpn)), None)
        location = -1 if site is None else site.index
        task = live.program.devices[asked.device]
        if live.bank_of(kslot.index).state in _GOING:  # what is warmed is not recorded
            for name in ("atc_miss", "walk"):
                self._log(kslot, task, began, Step("device", name, location, ""))
        self._report(kslot, task, began)
        if not isinstance(found, Translation) or not found.entry & USER:
            return None
        number = live.device_number(link.number, asked.device)
        base = found.pfn - vpn % (1 << found.shift - PAGE_SHIFT)
        self._granted.setdefault(kslot.index, {})[number, asked.pasid, base] = found
        return found

    def _access(
        self, link: AgentLink, message: remote.AccessRequests
    ) -> Iterator[messages.ErrorReport]:
        answers = []
        for asked in message.requests:
            place = self._place(link, asked.slot, asked.column, asked.line)
            through = place and self._translation(place, asked.page)
            if place is None or place.line.op not in (Op.LOAD, Op.STORE) or through is None:
                yield _not_granted(
                    f"an access of slot {asked.slot}, column {asked.column}, "
                    f"instruction {asked.line} through page {asked.page:#x}"
                )
                answers.append(remote.AccessAnswer(asked.tag, made=False, value=0))
                continue
            value = self._take_effect(place, through, hit=asked.hit)
            answers.append(remote.AccessAnswer(asked.tag, made=True, value=value))
        self._answers.append((link, remote.AccessAnswers(0, tuple(answers))))

    def _translation(self, place: Place, page: int) -> Translation | None:
        """The translation by which a device knows a page, if it was ever answered that."""
        pasid = place.kslot.slot.sites[place.line.location].pasid
        for (device, granted_pasid, base), found in self._granted.get(
            place.kslot.index, {}
        ).items():
            pages = 1 << found.shift - PAGE_SHIFT
            if (device, granted_pasid) == (place.device, pasid) and base <= page < base + pages:
                return found._replace(pfn=page)
        return None

    def _take_effect(self, place: Place, through: Translation, *, hit: bool) -> int:
        store, slot = self.live.store, place.kslot.slot
        began = self.live.now()
        begun = begin(store, slot.sites[place.line.location])
        stale = hit and hardware_bits(store.load(through.word)) != through.entry
        target = Target(through.pfn, through.generation, hit, stale)
        value = take_effect(store, place.kslot.kernel.memory, slot, place.intent, begun, target)
        full_fence()
        self._report(place.kslot, place.column.name, began)
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
            if place is None:
                yield _not_granted(f"the end of slot {ended.slot}, column {ended.column}")
                continue
            began = self.live.now()
            end_column(self.live.store, place.kslot.slot, ended.column)
            self._report(place.kslot, place.column.name, began)

    def _give_up(
        self, link: AgentLink, message: remote.AccessGivenUp
    ) -> Iterator[messages.ErrorReport]:
        place = self._place(link, message.slot, message.column, message.line)
        if place is None or place.line.op not in (Op.LOAD, Op.STORE):
            yield _not_granted(f"an access of slot {message.slot}, column {message.column}")
            return
        store, began = self.live.store, self.live.now()
        if message.retried:
            write = place.line.op is Op.STORE
            store.emit(Fault(place.line.location, write, "retried", exhausted=True))
        else:
            deny(store, place.kslot.slot, place.intent, "invalid request")
        self._report(place.kslot, place.column.name, began)

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
            for kslot in bank.slots:
                self._granted.pop(kslot.index, None)

    def to_send(self) -> list[tuple[AgentLink, DeviceMessage]]:
        """Answers, waits that are over, and instances that have begun, since the last call."""
        told, self._answers = self._answers, []
        started, self.live.just_started = self.live.just_started, []
        if started:
            told += self._started(started)
        over: dict[int, list[int]] = {}
        for key, waiting in list(self._waiting.items()):
            if self._may_proceed(waiting.place):
                del self._waiting[key]
                over.setdefault(waiting.link.number, []).append(waiting.tag)
        for number, tags in over.items():
            for first in range(0, len(tags), REMOTE_PER_MESSAGE_MAX):
                some = tuple(tags[first : first + REMOTE_PER_MESSAGE_MAX])
                told.append((self.links[number], remote.Proceed(0, some)))
        return told

    def lost(self, number: int) -> None:
        """An agent is gone: nobody waits for its answers."""
        if self.links.pop(number, None) is not None:
            self._answers = [each for each in self._answers if each[0].number != number]
            for key in [key for key in self._waiting if key[0] == number]:
                del self._waiting[key]

    def _started(self, started: list[int]) -> list[tuple[AgentLink, DeviceMessage]]:
        batch = next(b.batch for b in self.live.banks if b.state is not BankState.EMPTY)
        batch = next((b.batch for b in self.live.banks if b.state in _GOING), batch)
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
        self._report(place.kslot, place.column.name, began)
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
        return Place(kslot, declared, instruction, number)

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
        self.live.runner.log(began, self.live.now(), kslot.slot.instance, task, record)


_GOING = (BankState.RUNNING, BankState.DRAINING)
_NOTHING = Instruction(Op.DELAY)


def _not_granted(what: str) -> messages.ErrorReport:
    return messages.ErrorReport(0, ErrorCode.NOT_GRANTED, f"{what} is not this agent's")
