"""A run under way: moves messages between a `LiveRun` and the agents, and watches its limits."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.hosted_iommu import TRANSLATED
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.shell.absences import Absences
from shootdown_daemon.shell.agent_page_requests import AgentPageRequests
from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.confined import (
    ConfinedAgents,
    check_memory,
    invalidate_request,
    is_confined,
)
from shootdown_daemon.shell.cpu_faults import CpuFaults
from shootdown_daemon.shell.fault_set import SINCE_START, FaultSet
from shootdown_daemon.shell.gated_run import Divergence, GatedRun, device_of_task
from shootdown_daemon.shell.hosting import as_hosted, attached_devices, with_options
from shootdown_daemon.shell.links import AgentLink, DeviceRouter
from shootdown_daemon.shell.live_run import Bank, BankState, LiveRun
from shootdown_daemon.shell.overdue import Invalidations
from shootdown_engine.channels import InvalidateRequest, itags_in
from shootdown_protocol import messages
from shootdown_protocol.board import BOARD_FIXED
from shootdown_protocol.errors import ErrorCode, HistoryError
from shootdown_protocol.fence import full_fence
from shootdown_protocol.history import AnyRecord, Entry
from shootdown_protocol.history_file import HistoryWriter
from shootdown_protocol.messages import RunEnd
from shootdown_protocol.segment import Segment

FACTS_FILE = "run.json"
"""Beside the histories: scenario, discipline, seed, agents, who writes one, instances per batch."""
WAITS_TOLD = 3
"""How many of those that a batch waits for are named."""
UNLOAD_S = 10.0
"""How long agents may take to close their histories."""


_LOST = frozenset({RunEnd.AGENT_LOST, RunEnd.QUARANTINED})


class Running:
    """One run, from its request to its end. ``asker`` is told how it goes."""

    def __init__(
        self,
        config: DaemonConfig,
        segment: Segment,
        router: DeviceRouter,
        request: messages.RunScenario,
        discipline: Discipline,
        mutant: Mutant,
        number: int,
        asker: bytes,
        faults: FaultSet,
        limits_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Lay out memory, open the history, send every agent the program."""
        self.faults = faults
        self.faults_before = faults.before() if config.owner is None else SINCE_START
        self.config = config
        self.router = router
        self.request = request
        self.number = number
        self.asker = asker
        self.program = with_options(config, request.program)
        self.attached = attached_devices(router, self.program)
        self.links = {
            link.number: link
            for link in router.links.values()
            if not link.leaving and (not link.serves or link.number in self.attached.values())
        }
        check_memory(self.program, self.links.values())
        self.folder = Path(request.history) if request.history else None
        self.history: HistoryWriter | None = None
        self.histories: list[str] = []
        kind = GatedRun if request.schedule else LiveRun
        self.live = kind(
            segment,
            as_hosted(config, self.program),
            discipline,
            agents=tuple(sorted(set(self.links) - set(self.attached.values()))),
            attached=self.attached,
            instances=request.instances,
            instances_per_batch=request.instances_per_batch or config.instances_per_batch,
            window=config.window,
            seed=request.seed,
            now=time.monotonic_ns,
            fence=full_fence,
            log=_forget,
            mutant=mutant,
        )
        if isinstance(self.live, GatedRun):
            self.live.follow(request.schedule)
        self.confined = ConfinedAgents(self.live, self.links, config, self._over)
        self.page_requests = AgentPageRequests(self.live, self.confined)
        self.live.limits_ns = limits_ns
        self.end = RunEnd.DONE
        self.why = ""
        self.ended = False
        self.unloading_s = 0.0
        self._freed = False
        self.absent = Absences(self)
        self.invalidations = Invalidations(self.live, config.completion_timeout_ms)
        self.limits_ns = limits_ns
        if self.folder is not None:
            self._open_history(self.folder)
        for link in self.links.values():
            self.load(link)
        if not isinstance(self.live, GatedRun):
            self._take_faults()

    def _take_faults(self) -> None:
        live = self.live
        live.faults = CpuFaults(
            self.faults, live.store, live.slots, time.monotonic, self.injected, self._flush
        )
        self.faults.random.seed(f"{self.request.seed}:faults")
        for fault in self.request.faults:
            self.faults.add(fault, of_run=True)

    @property
    def is_load(self) -> bool:
        """Whether this is a load: no end of its own and no history."""
        return not self.request.instances and self.folder is None

    def has(self, link: AgentLink) -> bool:
        """Whether an agent plays a part in this run."""
        return self.links.get(link.number) is link

    def counters(self) -> dict[str, int]:
        """How far it is, for who asks meanwhile."""
        return {
            "instances": self.live.done,
            "steps": self.live.runner.steps,
            "invalidations_outstanding": len(self.invalidations),
            "invalidations_resent": self.invalidations.resent,
        }

    @property
    def only_waits(self) -> bool:
        """Whether a completion is to come, and nothing can be done before some message does."""
        if not self.invalidations.sent_ns or self.live.store.outbox:
            return False
        return self.live.flight.rests

    def round(self, steps: int) -> bool:
        """One round of the daemon's loop; True when steps were made, so nothing need be awaited."""
        if self.unloading_s:
            self._end_when_unloaded()
            return False
        made = 0
        if self.live.faults is not None:
            self.live.flight.faults = self.live.faults if self.live.faults.active else None
        try:
            for what, bank in self.live.advance():
                self._tell(what, bank)
            made = self.live.make_steps(steps)
            if not made:
                self.live.flight.try_again()
                made = self.live.make_steps(steps)
            if self.history is not None:
                self.history.flush_if_full()
        except Exception as error:  # noqa: BLE001 - see `_failing`
            self._failed(error)
        self._send_outbox()
        if self.confined.links:
            for link, message in self.confined.to_send():
                if isinstance(message, messages.Invalidate):
                    self._pass_on(link, message)
                self.router.send(link, message)
        if isinstance(self.live, GatedRun):
            self._send_grants(self.live)
        if self.live.over and not self.unloading_s:
            self._unload()
        return made > 0

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """An error in here ends the run, never the daemon: it may come from a user's discipline."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and traced
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, HistoryError | Divergence):
            self.fail(RunEnd.FAILED, str(error))
            return
        traceback.print_exception(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error}"
        place = f"{Path(where.filename).name}, line {where.lineno}"
        self.fail(RunEnd.FAILED, f"{what} ({place}; the log has the rest)")

    def abort(self, end: RunEnd, why: str) -> None:
        """Begin no other batch; the run ends when those under way are over."""
        if self.end is RunEnd.DONE:
            self.end, self.why = end, why
        self.live.stop()

    def heal(self) -> None:
        """Let all that faults hold go on at once."""
        if self.live.faults is not None:
            for task in self.live.faults.release(heal=True):
                self.live.flight.adopt(task)

    def forgive(self, lost_s: float) -> None:
        """Count a time in which this process did not live against nobody's limit."""
        lost_ns = int(lost_s * 1e9)
        self.invalidations.forgive(lost_ns)
        for bank in self.live.banks:
            bank.since_ns += lost_ns

    def agent_lost(self, name: str, why: str, *, quarantined: bool = False) -> None:
        """A member is gone: what it holds is unknown, so the run ends here.

        A device that is quarantined can begin no walk any more, and no frame is used again before
        its process has ended.
        """
        gone = [number for number, link in self.links.items() if link.name == name]
        if self.absent.give_up(name) and not self.unloading_s:
            self.fail(RunEnd.AGENT_LOST, f"agent {name} is lost: {why}")
        for number in gone:
            del self.links[number]
            self.confined.lost(number)
        if gone and not (self.unloading_s and self.end in _LOST):
            end = RunEnd.QUARANTINED if quarantined else RunEnd.AGENT_LOST
            how = "quarantined" if quarantined else "lost"
            for number in gone:
                self.live.block(number)
            self.fail(end, f"agent {name} is {how}: {why}")

    def stand_still(self) -> None:
        """Nothing can ever move again: end, and let what was left waiting be judged.

        A column that only hopes is in no deadlock; an instance of such columns is unfinished.
        """
        said = "; ".join(self.live.waits()[:WAITS_TOLD])
        if not self.live.only_hopes():
            self.live.declare_ended()
        self.fail(RunEnd.STANDSTILL, "nothing moves any more" + (f": {said}" if said else ""))

    def fail(self, end: RunEnd, why: str) -> None:
        """End the run at once; histories are kept as far as they go."""
        if self.end not in _LOST:
            self.end, self.why = end, why
        self.live.stop()
        self._unload()

    # From agents

    def from_agent(
        self, link: AgentLink, message: messages.DeviceToDaemon
    ) -> Iterator[messages.ErrorReport]:
        """Take in what an agent sends; gives what it did wrong."""
        if self.links.get(link.number) is not link:
            return  # It joined when this run had begun.
        if isinstance(message, messages.ProgramUnloaded):
            if message.program_number == self.number:
                link.loaded = False
                link.counters = message.counters
                self.faults.counted(link.name, message.counters)
        elif self.unloading_s:
            return
        elif isinstance(message, messages.PageRequests):
            yield from self.page_requests.take(link, message)
        elif isinstance(self.live, GatedRun) and isinstance(message, messages.Granted):
            yield from self._take_granted(link, self.live, message)
        elif is_confined(link):
            with self._failing():
                yield from self.confined.take(link, message)

    def _take_granted(
        self, link: AgentLink, live: GatedRun, message: messages.Granted
    ) -> Iterator[messages.ErrorReport]:
        if not live.asked:
            return
        if link not in self._who_grants(live.schedule[live.position]):
            why = f"a step of {message.task} is not this agent's"
            yield messages.ErrorReport(0, ErrorCode.NOT_GRANTED, why)
            return
        try:
            live.granted(message.step, made=message.made)
        except Divergence as error:
            self.fail(RunEnd.FAILED, str(error))

    def _send_grants(self, live: GatedRun) -> None:
        for step in live.grants:
            for link in self._who_grants(step):
                self.router.send(link, messages.Grant(0, 0, step.task, step.step))
        live.grants.clear()
        if live.over_schedule and not self._freed:
            self._freed = True
            for link in self.links.values():
                self.router.send(link, messages.GrantRest(0))

    def _who_grants(self, step: messages.ScheduledStep) -> list[AgentLink]:
        """The agent that plays a device task; all tasks of one device are at one agent."""
        program = self.program
        device = next((c.device for c in program.columns if c.name == step.task), None)
        if device is None:
            device = device_of_task(program, step.task)
        agent = self.live.serving(0)[device]
        return [self.links[agent]] if agent in self.links else []

    def completions(
        self, link: AgentLink, message: messages.InvalidateCompletion
    ) -> list[messages.ErrorReport]:
        """Take in completions of an agent's devices; gives what was wrong with them."""
        errors: list[messages.ErrorReport] = []
        if self.unloading_s or self.links.get(link.number) is not link:
            return errors
        live = self.live
        confined = self.confined
        try:
            for completion in message.completions:
                device, count = completion.device, completion.count
                number = link.number * live.devices + device
                for itag in itags_in(completion.itags):
                    # A number past the program's devices would be another agent's.
                    if (
                        device >= live.devices
                        or (confined.links and confined.translations.holds(number, itag))
                        or not live.complete(number, itag, count)
                    ):
                        why = f"ITag {itag} of device {device} is not in use"
                        code = ErrorCode.UNEXPECTED_COMPLETION
                        errors.append(messages.ErrorReport(0, code, why))
                    elif (count == 1 and not live.by_tasks) or not live.awaits(number, itag):
                        self.invalidations.completed(number, itag)
            live.tell_completed()
            if self.invalidations.newest_ns:
                self.invalidations.use_lost(self._out_of_order())
        except Exception as error:  # noqa: BLE001 - see `_failing`
            self._failed(error)
        return errors

    def _out_of_order(self) -> set[tuple[int, int]]:
        """Devices and ITags whose completions a fault makes come behind those of later requests."""
        faults = self.router.faults
        late = () if faults is None else faults.out_of_order
        return {(self.live.device_number(agent, device), itag) for agent, device, itag in late}

    # To agents

    def _open_history(self, folder: Path) -> None:
        """Open the history, and write beside it what a judge needs to know of it."""
        self.histories.append(str(folder / "daemon.history"))
        self.history = HistoryWriter(folder / "daemon.history", "daemon")
        facts = {
            "scenario": self.program.name,
            "discipline": self.request.discipline,
            "mutant": self.request.mutant,
            "seed": self.request.seed,
            "agents": [link.name for link in self.links.values()],
            "histories": [
                "daemon",
                *(link.name for link in self.links.values() if not is_confined(link)),
            ],
            "attached": {
                self.program.devices[device]: self.links[agent].name
                for device, agent in self.attached.items()
            },
            "instances_per_batch": len(self.live.banks[0].slots),
        }
        (folder / FACTS_FILE).write_text(json.dumps(facts) + "\n")
        self.live.runner.log = self.history.keep

    def load(self, link: AgentLink, history: str = "") -> None:
        """Send an agent the program, and the file that its records go to."""
        file = f"{history or link.name}.history"
        path = "" if self.folder is None else str(self.folder / file)
        path = "" if is_confined(link) else path
        if path:
            self.histories.append(path)
        link.loaded = True
        devices = tuple(
            device
            for device in range(len(self.program.devices))
            if self.attached.get(device, None if link.serves else link.number) == link.number
        )
        classes = self.request.device_classes
        if messages.DEVICE_CLASSES not in link.capabilities:
            classes = ()
        self.router.send(
            link,
            messages.LoadProgram(
                sequence=0,
                program_number=self.number,
                program=self.program,
                slot_base=BOARD_FIXED,
                slots=len(self.live.slots),
                devices=devices,
                history=path,
                gated=bool(self.request.schedule),
                device_classes=tuple(classes[device] for device in devices) if classes else (),
            ),
        )

    def _tell(self, what: str, bank: Bank) -> None:
        if what == "settled":
            if self.history is not None:
                self.history.flush()
            return
        if what == "begin":
            self.confined.forget(bank)
        for link in list(self.links.values()):
            if what == "go":
                self.router.send(link, messages.BatchGo(0, bank.batch))
                continue
            self.router.send(link, self.batch_begin(bank, link))

    def batch_begin(self, bank: Bank, link: AgentLink) -> messages.BatchBegin:
        """What an agent is told of a batch."""
        return messages.BatchBegin(
            sequence=0,
            program_number=self.number,
            batch=bank.batch,
            seed=self.request.seed,
            window=self.live.device_window(),
            slots=self.live.batch_slots(bank, link.number),
        )

    def _send_outbox(self) -> None:
        outbox = self.live.store.outbox
        if not outbox:
            return
        now, devices = self.limits_ns(), self.live.devices
        sent_ns, confined = self.invalidations.sent_ns, self.confined.links
        told: dict[int, list[messages.InvalidateRequest]] = {}
        answers: list[tuple[tuple[Any, ...], object]] = []
        for channel, message in outbox:
            if type(message) is not InvalidateRequest:
                answers.append((channel, message))
                continue
            number: Any = channel[1]
            sent_ns[number, message.itag] = now
            agent, device = divmod(number, devices)
            if agent in confined:
                self.invalidations.hold(number, message.itag)
                self.confined.translations.invalidate(number, message)
            elif agent in told:
                told[agent].append(invalidate_request(device, message))
            else:
                told[agent] = [invalidate_request(device, message)]
        outbox.clear()
        for agent, requests in told.items():
            link = self.links.get(agent)
            if link is not None:
                self.router.send(link, messages.Invalidate(link.sent, tuple(requests)))
        if answers:
            self._send_answers(answers)

    def _send_answers(self, answers: list[tuple[tuple[Any, ...], object]]) -> None:
        """Answer what devices have asked for: translations, and pages."""
        told: dict[int, list[messages.PageResponse]] = {}
        for channel, answer in answers:
            if channel[0] == TRANSLATED:
                assert isinstance(answer, tuple)
                self.confined.translations.found(*answer)
                continue
            response = self._response(channel, str(answer))
            if response is not None:
                agent, _ = self.live.agent_and_device(channel[1])
                told.setdefault(agent, []).append(response)
        for agent, responses in told.items():
            if agent in self.links:
                self.router.send(self.links[agent], messages.PageResponses(0, tuple(responses)))

    def _over(self, device: int, itag: int) -> None:
        """An invalidation of an IOTLB that is hosted here is complete."""
        with self._failing():
            self.live.completion(device, itag)
        if not self.live.awaits(device, itag):
            self.invalidations.over(device, itag)

    def _pass_on(self, link: AgentLink, message: messages.Invalidate) -> None:
        """Note that an agent without shared memory is asked now for what was held here."""
        now_ns = self.limits_ns()
        for request in message.requests:
            device = self.live.device_number(link.number, request.device)
            self.invalidations.pass_on(device, request.itag, now_ns)

    def _response(self, channel: tuple[Any, ...], answer: str) -> messages.PageResponse | None:
        """The message of a response; None when who asked has died."""
        _, number, slot, prgi = channel
        agent, device = self.live.agent_and_device(number)
        if self.live.is_cut_off(agent, slot):
            return None
        self.confined.note_response(number, slot, prgi, answer)
        return messages.PageResponse(
            device=device,
            pasid=self.live.slots[slot].slot.pasids[0],
            prgi=prgi,
            code=messages.PageResponseCode[answer.upper()],
        )

    # Limits and the end

    def watch_limits(self) -> None:
        """End the run, or shut a device out, when something has taken too long."""
        if self.unloading_s or self.absent:
            return
        now_ns = self.limits_ns()
        if isinstance(self.live, GatedRun) and self.live.stands_still:
            self.stand_still()
        follows = isinstance(self.live, GatedRun) and not self.live.over_schedule
        # With a schedule, time-outs strike when that says so.
        overdue = None if follows else self.invalidations.look(now_ns)
        if overdue is not None:
            self._quarantine(*overdue)
            return
        limit_ns = self.config.drain_timeout_ms * 1_000_000
        for bank in self.live.banks:
            waits = bank.state not in (BankState.EMPTY, BankState.READY)
            if waits and now_ns - bank.since_ns > limit_ns:
                why = f"batch {bank.batch} is still {bank.state.value} after {limit_ns // 10**6} ms"
                why += self._who_waits(bank)
                self._too_late(bank, why)
                return

    def _quarantine(self, device: int, itag: int) -> None:
        """Shut a device out that has not completed, though it was asked twice."""
        agent, number = self.live.agent_and_device(device)
        name = self.program.devices[number]
        limit = self.config.completion_timeout_ms
        why = f"device {name} has not completed ITag {itag} for {limit} ms, and was asked twice"
        link = self.links.get(agent)
        if link is None:
            return
        self.router.lose(link, why, quarantine=True)
        self.agent_lost(link.name, why, quarantined=True)

    def _who_waits(self, bank: Bank) -> str:
        """Who it is that a batch waits for, and at what step, as far as can be seen from here."""
        behind = [self.links[each].name for each in self.live.behind(bank) if each in self.links]
        waits = self.live.waits() if bank.state is BankState.RUNNING else []
        said = [f"{', '.join(behind)} has not ended its part"] if behind and not waits else waits
        return f": {'; '.join(said[:WAITS_TOLD])}" if said else ""

    def _too_late(self, bank: Bank, why: str) -> None:
        """Give the run up; an attached agent that it waits for is what is lost, not the run."""
        behind = [self.links[agent] for agent in self.live.behind(bank) if agent in self.links]
        attached = [link for link in behind if link.serves]
        for link in attached:
            self.router.lose(link, why)
            self.agent_lost(link.name, why)
        if not attached:
            self.fail(RunEnd.FAILED, why)

    def _unload(self) -> None:
        if self.unloading_s:
            return
        self.unloading_s = time.monotonic()
        try:
            if self.history is not None:
                self.history.close()
        except HistoryError as error:
            self.end, self.why = RunEnd.FAILED, str(error)
        self.history = None
        self.live.runner.log = _forget
        for link in list(self.links.values()):
            self.router.send(link, messages.UnloadProgram(0, self.number))

    def _end_when_unloaded(self) -> None:
        waiting = [link for link in self.links.values() if link.loaded]
        if waiting and time.monotonic() - self.unloading_s > UNLOAD_S:
            why = f"it did not close its history within {UNLOAD_S:.0f} s"
            for link in waiting:
                self.router.lose(link, why)
                self.end, self.why = RunEnd.AGENT_LOST, f"agent {link.name} is lost: {why}"
            waiting = []
        self.ended = not waiting

    def injected(self, instance: int, task: str, record: AnyRecord) -> None:
        """Keep a record of a fault that was applied."""
        now = time.monotonic_ns()
        self.live.runner.log((now, now, instance, task, record))

    def _flush(self) -> None:
        if self.history is not None:
            self.history.flush()


def _forget(_entry: Entry) -> None:
    """Keep no record, as when no history is wanted, or when it is closed."""
