"""One run of a scenario: batches made ready, raced and settled, two banks of slots by turns.

A bank is made ready while the other one runs. A batch may start when every agent's caches are
warm, and is over when every CPU column has ended and every agent says that its columns have ended
and drained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from random import Random
from types import MappingProxyType

from shootdown_daemon.machine import iommu, resending
from shootdown_daemon.machine.columns import column_task
from shootdown_daemon.machine.command_queue import command_servers, error_servers
from shootdown_daemon.machine.cpu_tlb import ipi_servers
from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.flush_queue import flush_queue_servers
from shootdown_daemon.machine.hosted_iommu import TRANSLATED
from shootdown_daemon.machine.kernel import KernelSlot, prepare, settle
from shootdown_daemon.machine.lock_cells import break_locks, lock_cells
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_daemon.machine.page_requests import page_request_server
from shootdown_daemon.shell.cpu_faults import CpuFaults
from shootdown_daemon.shell.instances import InFlight
from shootdown_daemon.shell.physical import BANKS, RunMemory
from shootdown_engine.channels import PageRequest
from shootdown_engine.column import HOPES, hopes
from shootdown_engine.live_store import LiveStore
from shootdown_engine.runner import Log, Runner
from shootdown_engine.store import deliver
from shootdown_engine.task import Task
from shootdown_protocol import board
from shootdown_protocol.board import F_STATUS
from shootdown_protocol.device_options import ON
from shootdown_protocol.history import AnyRecord, Invalidation
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.messages import BatchSlot
from shootdown_protocol.program import Program
from shootdown_protocol.segment import Segment

REMOTE_CHANNELS = frozenset(("invalidate", "page_response", TRANSLATED))
WINDOW_FACTOR = 1.2
"""Device columns begin within so many times an instance's expected length."""
HELD_WINDOW_FACTOR = 0.6
"""The same while faults hold threads: most of that length is a hold, and it is to be met."""


class BankState(Enum):
    """Where a bank's batch is."""

    EMPTY = "empty"
    WARMING = "warming"
    READY = "ready"
    RUNNING = "running"
    DRAINING = "draining"


UNDER_WAY = (BankState.RUNNING, BankState.DRAINING)
"""Of a bank whose instances may have begun."""


class Bank:
    """Slots of one batch at a time; those ``cut_off``, with the agents that died, begin no more."""

    def __init__(self, slots: list[KernelSlot]) -> None:
        """Hold no batch."""
        self.slots = slots
        self.state = BankState.EMPTY
        self.batch = 0
        self.count = 0
        self.started = 0
        self.since_ns = 0
        self.cut_off: dict[int, set[int]] = {}

    @property
    def used(self) -> list[KernelSlot]:
        """Slots that have an instance in the present batch."""
        return self.slots[: self.count]

    def has_lost(self, agent: int) -> bool:
        """Whether instances of its batch were cut off with an agent."""
        return any(agent in agents for agents in self.cut_off.values())


class LiveRun:
    """A run on the daemon's side; the caller moves messages and calls `advance` and `make_steps`.

    ``agents`` share out the devices that none of ``attached`` (device to agent) serves;
    ``instances`` 0 means until `stop`.
    """

    by_tasks = False
    """Whether completions are taken in by tasks, as faults of a schedule need it."""

    def __init__(
        self,
        segment: Segment,
        program: Program,
        discipline: Discipline,
        *,
        agents: tuple[int, ...],
        attached: Mapping[int, int] = MappingProxyType({}),
        instances: int,
        instances_per_batch: int,
        window: int,
        seed: int,
        now: Callable[[], int],
        fence: Callable[[], None],
        log: Log,
        mutant: Mutant = RIGHT,
    ) -> None:
        """Lay out memory and start the slots' page request servers."""
        self.segment = segment
        self.program = program
        self.devices = len(program.devices)
        self.agents = agents
        self.attached = attached
        self.members = (*agents, *dict.fromkeys(attached.values()))
        self.instances = instances
        self.window = window
        self.now = self.limits_ns = now
        self.random = Random(f"{seed}:daemon")
        self.store = LiveStore(segment.words, REMOTE_CHANNELS)
        self.complete: Callable[[int, int, int], bool] = partial(iommu.complete, self.store)
        """As `completion`, of which nobody hears before `tell_completed`."""
        if program.options.get("ad_bits") == ON:
            self.store.share_entries()
        memory = self.memory = RunMemory(
            segment, self.store, program, discipline, instances_per_batch, mutant
        )
        self.runner = Runner(self.store, now, fence, log, self._instance_of)
        self.runner.taken = frozenset({"itag"})
        self.flight = InFlight(self.runner, self.random)
        self.flight.cut_off = self.cut_off
        self.faults: CpuFaults | None = None
        self.banks = [
            Bank(memory.slots[index * memory.bank : (index + 1) * memory.bank])
            for index in range(BANKS)
        ]
        self.slots = memory.slots
        self.servers: dict[int, list[Task]] = {}
        self._begins: dict[int, list[tuple[Task, str]]] = {}
        self._slot_of_pasid = {
            pasid: kslot for kslot in memory.slots for pasid in kslot.slot.pasids
        }
        self._instances: dict[int, int] = {}
        """Of the PASIDs whose batches are under way."""
        self._cpu_columns = tuple(
            index for index, column in enumerate(program.columns) if column.device < 0
        )
        self.store.foreign = self._foreign_words()
        self.batches = 0
        self.begun = 0
        self.done = 0
        self.stopping = False
        self.notes_starts = False
        self.just_started: list[int] = []
        """Slots whose instances have begun, kept while ``notes_starts``."""
        self._clear_board()
        for kslot in memory.slots:
            self._join_devices(kslot)
            self._park_servers(kslot)

    def _foreign_words(self) -> frozenset[int]:
        """Words that agents write: of the ends of their columns, and of registers."""
        devices = [i for i, column in enumerate(self.program.columns) if column.device >= 0]
        slots = [kslot.slot for kslot in self.slots]
        ends = {slot.ended[index] for slot in slots for index in devices}
        return frozenset(ends | {first + F_STATUS for slot in slots for first in slot.functions})

    def _join_devices(self, kslot: KernelSlot) -> None:
        """Publish which devices may hold translations of a slot's PASIDs."""
        for device, agent in enumerate(self.serving(kslot.index)):
            for pasid in kslot.slot.pasids:
                number = self.device_number(agent, device)
                iommu.join(self.store, pasid, number, self.program.devices[device])

    def _park_servers(self, kslot: KernelSlot) -> None:
        """Let a slot's servers wait for their first messages."""
        self.park(kslot, page_request_server(kslot))
        for servers in (flush_queue_servers, command_servers, error_servers, ipi_servers):
            for server in servers(kslot):
                self.park(kslot, server)

    # Who serves what

    def serving(self, slot: int) -> tuple[int, ...]:
        """The agent that serves each device in a slot."""
        count = len(self.agents)
        devices = self.devices
        return tuple(
            self.attached.get(device, self.agents[(slot * devices + device) % count])
            for device in range(devices)
        )

    def device_number(self, agent: int, device: int) -> int:
        """The kernel's number of a program's device at an agent."""
        return agent * self.devices + device

    def agent_and_device(self, number: int) -> tuple[int, int]:
        """Agent and program device of a kernel's device number."""
        return divmod(number, self.devices)

    def slot_with(self, pasid: int) -> KernelSlot | None:
        """The slot that a PASID belongs to."""
        return self._slot_of_pasid.get(pasid)

    def bank_of(self, slot: int) -> Bank:
        """The bank that a slot lies in."""
        return self.banks[slot // len(self.banks[0].slots)]

    # Batches

    @property
    def over(self) -> bool:
        """Whether every batch begun has been settled and no other will begin."""
        return not self._more and all(bank.state is BankState.EMPTY for bank in self.banks)

    @property
    def _more(self) -> bool:
        return not self.stopping and (not self.instances or self.begun < self.instances)

    def advance(self) -> list[tuple[str, Bank]]:
        """Move every bank on as far as it can go; gives what to tell the agents.

        Each item is ``("begin", bank)`` or ``("go", bank)``, or ``("settled", bank)``.
        """
        events: list[tuple[str, Bank]] = []
        for bank in self.banks:
            drained = bank.state is BankState.DRAINING
            if drained and self._agents_at(board.A_DONE, bank.batch) and self._rests(bank):
                self._settle(bank)
                events.append(("settled", bank))
            if bank.state is BankState.EMPTY and self._more:
                self._begin(bank)
                events.append(("begin", bank))
            if bank.state is BankState.WARMING and self._agents_at(board.A_WARM, bank.batch):
                bank.state = BankState.READY
        ready = [bank for bank in self.banks if bank.state is BankState.READY]
        busy = any(bank.state in UNDER_WAY for bank in self.banks)
        if ready and not busy:
            bank = min(ready, key=lambda candidate: candidate.batch)
            self._go(bank)
            events.append(("go", bank))
        return events

    def _go(self, bank: Bank) -> None:
        bank.state = BankState.RUNNING
        bank.since_ns = self.limits_ns()
        for kslot in bank.used:
            self._instances.update(dict.fromkeys(kslot.slot.pasids, kslot.slot.instance))
        self.segment.words[self._word(board.GO)] = bank.batch

    def make_steps(self, count: int) -> int:
        """Start instances up to the window and make up to so many steps."""
        running = next((b for b in self.banks if b.state is BankState.RUNNING), None)
        flight = self.flight
        if running is not None:
            while flight.unfinished < self.window and running.started < running.count:
                kslot = running.slots[running.started]
                running.started += 1
                if kslot.index not in running.cut_off:
                    self._start(kslot)
        made = flight.make_steps(count)
        words = self.segment.words
        words[self._word(board.CLOCK)] = flight.clock
        # Held by a fault is not idle: it waits for time to pass, and for no agent.
        held = self.faults is not None and self.faults.holds
        words[self._word(board.IDLE)] = not made and not held
        if running is not None and running.started == running.count and not flight.unfinished:
            running.state = BankState.DRAINING
        return made

    def batch_slots(self, bank: Bank, agent: int) -> tuple[BatchSlot, ...]:
        """What an agent is told of a batch: the slots in which it serves a device."""
        slots = []
        for kslot in bank.used:
            devices = tuple(d for d, a in enumerate(self.serving(kslot.index)) if a == agent)
            if devices:
                slot = kslot.slot
                slots.append(BatchSlot(kslot.index, slot.instance, devices, slot.pasids))
        return tuple(slots)

    def device_window(self) -> int:
        """Ticks within which a device column begins after its instance."""
        held = 0 if self.faults is None else self.faults.hold_ticks
        steps = self.flight.steps_estimate * min(self.window, self.banks[0].count)
        life = self.flight.life_ticks or steps + held
        return max(2, int(life * (HELD_WINDOW_FACTOR if held else WINDOW_FACTOR)))

    def stop(self) -> None:
        """Begin no other batch."""
        self.stopping = True
        self.segment.words[self._word(board.STOP)] = 1

    def cut_off(self, task: Task) -> None:
        """End a task's instance: it died, and what it held is broken so that others go on.

        Devices go on, and wait no more for what those who died were to do.
        """
        assert task.owner is not None
        self._cut_off(self.slots[task.owner.index])

    def cut_off_agent(self, agent: int) -> list[KernelSlot]:
        """End every instance under way in which a dead agent serves a device; gives their slots.

        What it held has gone with it, so what it was asked to drop counts as dropped. Of a batch
        that it has come to the end of, those go on whose kernels have, too: others may wait for
        what it said last, or for a register.
        """
        done = self._word(board.agent_word(agent, board.A_DONE))
        lost = []
        for bank in self.banks:
            if bank.state in UNDER_WAY:
                served = [kslot for kslot in bank.used if agent in self.serving(kslot.index)]
                if bank.batch <= self.segment.words[done]:
                    served = [kslot for kslot in served if not self._kernel_has_ended(kslot)]
                self.segment.words[done] = max(bank.batch, self.segment.words[done])
                lost += served
        for kslot in lost:
            self.bank_of(kslot.index).cut_off.setdefault(kslot.index, set()).add(agent)
            self._cut_off(kslot, agent)
        self.flight.unlist_idle()
        for device in range(self.devices):
            self._forgive(self.device_number(agent, device))
        cut = {kslot.index for kslot in lost}
        for cell in [c for c in self.store.cells if c[0] == "page_group" and c[1] in cut]:
            self.store.put(cell, None)
        return lost

    def _kernel_has_ended(self, kslot: KernelSlot) -> bool:
        slot = kslot.slot
        words = [self.store.load(slot.ended[index]) for index in self._cpu_columns]
        return all(word == slot.instance + 1 for word in words)

    def is_cut_off(self, agent: int, slot: int) -> bool:
        """Whether an agent died while it played a part in the instance of a slot."""
        return agent in self.bank_of(slot).cut_off.get(slot, ())

    def _forgive(self, device: int) -> None:
        """Count everything that a device was asked for as completed."""
        for itag in range(ITAGS):
            held = iommu.outstanding(self.store, device, itag)
            if held is not None and held.state in iommu.AWAITED:
                self.completion(device, itag, held.due if held.left else 1)

    def _cut_off(self, kslot: KernelSlot, agent: int = -1) -> None:
        """End an instance's CPU columns, and those of a dead agent."""
        slot = kslot.slot
        columns = [self.program.columns[index] for index in self._cpu_columns]
        self.flight.abandon(kslot.index)
        for column in columns:
            resending.abandon(self.store, (kslot.index, column.name))
        owners = {column.name: column.cpu for column in columns}
        break_locks(self.store, lock_cells(kslot), owners)
        began = self.segment.words[slot.started] or self.flight.clock + 1
        self.store.store(slot.started, began | board.CUT_OFF)
        serving = self.serving(kslot.index)
        for index, column in enumerate(self.program.columns):
            if column.device < 0 or serving[column.device] == agent:
                self.store.store(slot.ended[index], slot.instance + 1)
        self.runner.wake()

    def waits(self) -> list[str]:
        """Tasks of the batch that runs and have not ended, each with the step that it waits at."""
        return [
            f"{task.name} of instance {task.owner.instance} waits at {task.request.full_name}"
            for task in self.flight.unended()
            if task.owner is not None and task.request is not None
        ]

    def only_hopes(self) -> bool:
        """Whether all that is left may be columns that wait for what their scenario hopes for.

        What a device's column waits for its agent alone knows: it counts if it ever hopes.
        """
        steps = {task.request.name for task in self.flight.unended() if task.request is not None}
        if steps:
            return steps <= HOPES
        devices = (column for column in self.program.columns if column.device >= 0)
        return any(hopes(line) for column in devices for line in column.instructions)

    def block(self, agent: int) -> None:
        """Take the PASIDs of every slot that an agent serves out of the PASID table."""
        for kslot in self.slots:
            if agent in self.serving(kslot.index):
                for pasid in kslot.slot.pasids:
                    self.memory.builder.clear_pasid(kslot.kernel.directory, pasid)

    # What comes from agents

    def awaits(self, device: int, itag: int) -> bool:
        """Whether a completion of an ITag is still missing."""
        held = iommu.outstanding(self.store, device, itag)
        return held is not None and held.state is not iommu.State.DONE

    def completion(self, device: int, itag: int, count: int = 1) -> bool:
        """Take a completion in; False when it was not expected."""
        expected = self.complete(device, itag, count)
        self.tell_completed()
        return expected

    def tell_completed(self) -> None:
        """Record what the IOMMU has made of completions, or of others, and wake who waited."""
        runner = self.runner
        runner.report_outside("iommu")
        if runner.woken:
            self.flight.wake()

    def page_request(self, slot: int, request: PageRequest) -> None:
        """Hand a page request to its slot's server."""
        deliver(self.store, ("page_request", slot), request)
        self.runner.wake()
        self.flight.wake()

    # Inside

    def _word(self, offset: int) -> int:
        return self.segment.layout.board + offset

    def _clear_board(self) -> None:
        first = self.segment.layout.board
        for word in range(first, first + board.BOARD_FIXED):
            self.segment.words[word] = 0

    def _agents_at(self, word: int, batch: int) -> bool:
        words = self.segment.words
        return all(
            words[self._word(board.agent_word(agent, word))] >= batch for agent in self.members
        )

    def behind(self, bank: Bank) -> list[int]:
        """Agents that a bank waits for."""
        word = board.A_WARM if bank.state is BankState.WARMING else board.A_DONE
        words = self.segment.words
        return [
            agent
            for agent in self.members
            if words[self._word(board.agent_word(agent, word))] < bank.batch
        ]

    @property
    def races(self) -> bool:
        """Whether a batch is under way, between its first step and its last."""
        return any(bank.state in UNDER_WAY and bank.started for bank in self.banks)

    def declare_ended(self) -> None:
        """Count instances that never end for ended: what they have done is all that they will."""
        self.done += sum(bank.count for bank in self.banks if bank.state in UNDER_WAY)

    def cool(self, agent: int) -> None:
        """An agent's process is gone: batches that it had made ready are to be made so again."""
        warm = self.segment.words[self._word(board.agent_word(agent, board.A_DONE))]
        for bank in self.banks:
            if bank.state in (BankState.WARMING, BankState.READY):
                bank.state = BankState.WARMING
            elif bank.state is not BankState.EMPTY:
                warm = max(warm, bank.batch)
        self.segment.words[self._word(board.agent_word(agent, board.A_WARM))] = warm

    def unfinished_at(self, agent: int) -> list[Bank]:
        """Banks whose batches an agent has not come to the end of, in the batches' order.

        Where devices have registers, its part goes on for as long as a kernel may write to them.
        """
        done = self.segment.words[self._word(board.agent_word(agent, board.A_DONE))]
        banks = [
            bank
            for bank in self.banks
            if bank.state is not BankState.EMPTY
            and (bank.batch > done or (self.program.has_functions and not bank.has_lost(agent)))
        ]
        return sorted(banks, key=lambda bank: bank.batch)

    def _begin(self, bank: Bank) -> None:
        count = len(bank.slots)
        if self.instances:
            count = min(count, self.instances - self.begun)
        self.batches += 1
        bank.batch = self.batches
        bank.count = count
        bank.started = 0
        bank.cut_off.clear()
        for offset, kslot in enumerate(bank.used):
            prepare(self.store, kslot, self.begun + offset)
        self.store.changed.clear()
        self.begun += count
        bank.state = BankState.WARMING
        bank.since_ns = self.limits_ns()

    def _start(self, kslot: KernelSlot) -> None:
        columns = [column_task(kslot, index) for index in self._cpu_columns]
        if self.faults is not None and self.faults.presses:
            declared = (self.program.columns[index] for index in self._cpu_columns)
            self.faults.start(kslot.index, [(column.name, column.cpu) for column in declared])
        hold = int(self.flight.steps_estimate * self.window)
        self.flight.start(kslot.index, columns, hold)
        self.segment.words[kslot.slot.started] = self.flight.clock + 1
        if self.notes_starts:
            self.just_started.append(kslot.index)

    def _settle(self, bank: Bank) -> None:
        for kslot in bank.used:
            settle(self.store, kslot)
            begin = self.now()
            for record in self.store.records:
                self.runner.log((begin, begin, kslot.slot.instance, "settle", record))
            self.store.records.clear()
            for pasid in kslot.slot.pasids:
                self._instances.pop(pasid, None)
        self.store.changed.clear()
        self.done += bank.count
        bank.state = BankState.EMPTY

    def _rests(self, bank: Bank) -> bool:
        """Whether no server has left the step at which it begins, for an agent that died.

        Any other batch is drained only when its devices have had their answers.
        """
        return all(
            server.request is not None
            and server.request.name == begins
            and self.runner.is_parked(server)
            for slot in bank.cut_off
            for server, begins in self._begins[slot]
        )

    def park(self, kslot: KernelSlot, server: Task) -> None:
        """Let a server wait for its first message."""
        parked = self.runner.park(server)
        assert parked, "a server waits for its channel"
        assert server.request is not None
        self._begins.setdefault(kslot.index, []).append((server, server.request.name))

    def _instance_of(self, record: AnyRecord) -> int:
        """The instance of a record that a completion makes; -1 when it is no instance's any more.

        Of a posted invalidation it may come when the slot is another instance's, being made ready.
        """
        if type(record) is Invalidation and record.state != "late":
            return self._instances.get(record.pasid, -1)
        return -1


def response_address(kslot: KernelSlot, location: int) -> int:
    """Page address that a location's page request names, in bytes."""
    return kslot.slot.sites[location].vpn << PAGE_SHIFT
