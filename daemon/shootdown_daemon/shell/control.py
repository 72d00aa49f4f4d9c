"""The control plane: requests of the command line, and events for whoever looks on.

No send blocks; an asker that does not read loses its answers, never the testbed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import zmq

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.fault_set import FaultSet, status
from shootdown_daemon.shell.links import AgentLink
from shootdown_daemon.shell.log import ProcessLog
from shootdown_protocol import codec, fault_messages, messages
from shootdown_protocol.device_options import ON
from shootdown_protocol.errors import (
    ErrorCode,
    RemoteProtocolError,
    ShootdownError,
    UsageError,
)
from shootdown_protocol.faults import FaultStatus
from shootdown_protocol.limits import MESSAGES_A_ROUND_MAX
from shootdown_protocol.messages import RunEnd
from shootdown_protocol.process_status import ProcessRole, ProcessState, ProcessStatus
from shootdown_protocol.program import Program

if TYPE_CHECKING:
    from shootdown_daemon.shell.running import Running
    from shootdown_daemon.shell.server import Daemon

_LOAD_ENDS = frozenset((RunEnd.AGENT_LOST, RunEnd.QUARANTINED, RunEnd.FAILED, RunEnd.STANDSTILL))
"""How a run ends behind which a load may not go on."""
PROGRESS_S = 0.2
"""How often an asker is told how far its run has come."""


class ControlPlane:
    """The control ROUTER and the observers' PUB of one daemon."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: DaemonConfig,
        log: ProcessLog,
    ) -> None:
        """Bind both sockets."""
        self.config = config
        self.log = log
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.bind(config.control_endpoint)
        self.events = context.socket(zmq.PUB)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.bind(config.events_endpoint)
        self.faults: FaultSet | None = None
        self._event_number = 0
        self._progress_s = 0.0
        self._runs = 0
        self.load: messages.RunScenario | None = None
        self._load_ended = ""
        self._queued: tuple[bytes, messages.RunScenario] | None = None

    def handle(self, daemon: Daemon) -> None:
        """Answer requests that are there: so many of them at most."""
        for _ in range(MESSAGES_A_ROUND_MAX):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            asker = frames[0]
            try:
                request = codec.decode_control_to_daemon(b"".join(frames[1:]))
            except RemoteProtocolError as error:
                self.log.error("bad_request", why=str(error))
                self._answer(asker, messages.ErrorReply(0, error.code, str(error)[:2000]))
                continue
            self._obey(daemon, asker, request)

    def _obey(self, daemon: Daemon, asker: bytes, request: messages.ControlToDaemon) -> None:
        if isinstance(request, messages.Status):
            self._answer(asker, self._status(daemon, request.request))
        elif isinstance(request, messages.RunScenario):
            self._start(daemon, asker, request)
        elif isinstance(
            request,
            fault_messages.AddFault | fault_messages.ListFaults | fault_messages.ClearFaults,
        ):
            self._faults(daemon, asker, request)
        elif isinstance(request, messages.Abort):
            if daemon.run is None or daemon.run.number != request.run:
                why = f"run {request.run} is not under way"
                self._error(asker, request.request, ErrorCode.NO_SUCH_RUN, why)
            else:
                daemon.run.abort(RunEnd.ABORTED, "it was asked to end early")
        else:
            daemon.stop(request.reason or "it was asked to stop")
            self._answer(asker, messages.Stopping(request.request))

    def _faults(
        self,
        daemon: Daemon,
        asker: bytes,
        request: fault_messages.AddFault | fault_messages.ListFaults | fault_messages.ClearFaults,
    ) -> None:
        if isinstance(request, fault_messages.AddFault):
            try:
                added = status(daemon.faults.add(request.fault))
            except UsageError as error:
                self._error(asker, request.request, error.code, str(error)[:2000])
                return
            told: tuple[FaultStatus, ...] = (added,)
            self.event("fault_added", number=added.number, fault=str(request.fault))
        elif isinstance(request, fault_messages.ClearFaults):
            told = daemon.clear_faults(request.number, heal=request.heal)
        else:
            told = daemon.faults.statuses()
        self._answer(asker, fault_messages.FaultList(request.request, told))

    def _start(self, daemon: Daemon, asker: bytes, request: messages.RunScenario) -> None:
        members = _own(daemon.agents())
        run = daemon.run
        if run is not None and run.is_load and self._queued is None and not daemon.stopping:
            self._queued = (asker, request)
            run.abort(RunEnd.ABORTED, "a run takes its place for a while")
            return
        waits = self._queued
        if run is not None or waits is not None or daemon.stopping:
            what = run.program.name if run else waits[1].program.name if waits else "its own end"
            self._error(asker, request.request, ErrorCode.TESTBED_BUSY, f"it is busy with {what}")
            return
        if len(members) < max(1, self.config.agents):
            if daemon.devices.restarts.under_way:  # It is welcomed soon, or given up.
                self._queued = (asker, request)
                return
            why = f"{len(members)} of {self.config.agents} agents have joined"
            why += f"; the load has ended: {self._load_ended}" if self._load_ended else ""
            self._error(asker, request.request, ErrorCode.AGENT_LOST, why)
            return
        unable = [link.name for link in members if messages.DEVICE_CLASSES not in link.capabilities]
        if any(request.device_classes) and unable:
            why = f"agent {unable[0]} loads no device classes; attach the device instead"
            self._error(asker, request.request, ErrorCode.WRONG_CLASS, why)
            return
        why = _why_not_gated(self.config, daemon.agents(), request)
        if why:
            self._error(asker, request.request, ErrorCode.NOT_GATED, why)
            return
        living = daemon.devices.router.still_there()
        if living:
            why = f"{', '.join(living)} was shut out and still lives: its memory is not used again"
            self._error(asker, request.request, ErrorCode.AGENT_LOST, why)
            return
        self._runs += 1
        # Not needed to be ready: `Daemon` imports it when it has time, or it is imported here.
        from shootdown_daemon.shell.disciplines import load_discipline  # noqa: PLC0415 - a run does
        from shootdown_daemon.shell.mutants import load_mutant  # noqa: PLC0415 - a run does
        from shootdown_daemon.shell.running import Running  # noqa: PLC0415 - a run does

        try:
            daemon.segment.reserve()
            run = Running(
                self.config,
                daemon.segment,
                daemon.devices.router,
                request,
                load_discipline(request.discipline),
                load_mutant(request.mutant),
                self._runs,
                asker,
                daemon.faults,
                lambda: int(daemon.now() * 1e9),
            )
        except (ShootdownError, OSError) as error:
            code = error.code if isinstance(error, ShootdownError) else ErrorCode.HISTORY_REFUSED
            self._error(asker, request.request, code, str(error)[:2000])
            if request is self.load:
                self.load = None
            return
        if run.is_load:
            self.load, self._load_ended = request, ""
        daemon.start(run)
        self._answer(asker, messages.RunStarted(request.request, run.number))
        self.event("run_started", scenario=run.program.name, run=run.number)

    @property
    def load_program(self) -> Program | None:
        """What the load, if there is one, goes on with between two runs."""
        return None if self.load is None else self.load.program

    def start_next(self, daemon: Daemon) -> None:
        """Start the run that waits for the load to pause or an agent to be back, else the load."""
        if daemon.run is not None or daemon.stopping:
            return
        if self._queued is not None:
            (asker, request), self._queued = self._queued, None
            self._start(daemon, asker, request)
        elif self.load is not None and len(_own(daemon.agents())) >= self.config.agents:
            self._start(daemon, b"", self.load)

    def progress(self, run: Running) -> None:
        """Tell the asker, now and then, how far its run has come."""
        now = time.monotonic()
        if now - self._progress_s < PROGRESS_S:
            return
        self._progress_s = now
        live = run.live
        told = messages.RunProgress(run.request.request, run.number, live.done, live.instances)
        if not self._answer(run.asker, told) and not run.is_load:
            run.abort(RunEnd.ABORTED, "nobody waits for it any more")
        self.event("run_progress", run=run.number, done=live.done)

    def run_ended(self, run: Running) -> None:
        """Tell the asker that its run is over."""
        self._answer(
            run.asker,
            messages.RunEnded(
                request=run.request.request,
                run=run.number,
                end=run.end,
                why=run.why[:2000],
                instances=run.live.done,
                counters={
                    "batches": run.live.batches,
                    "instances_per_batch": len(run.live.banks[0].slots),
                    "steps": run.live.runner.steps,
                    "cpu_ms": time.process_time_ns() // 1_000_000,
                    "invalidations_resent": run.counters()["invalidations_resent"],
                },
                histories=tuple(run.histories),
                faults=run.faults.within(run.faults_before),
            ),
        )
        self.event("run_ended", run=run.number, end=run.end.value)
        if self.load is not None and run.end in _LOAD_ENDS:
            self._load_ended = run.why[:1000]
        if run.is_load and run.end in (RunEnd.FAILED, RunEnd.STANDSTILL):
            self.load = None  # It would fail again, and again.

    def event(self, name: str, **fields: str | float | bool | None) -> None:
        """Publish something for observers; dropped for those who are slow."""
        self._event_number += 1
        if self._is_dropped():
            return
        event = messages.Event(self._event_number, "daemon", name, fields)
        self.events.send(codec.encode_event(event), zmq.NOBLOCK)

    def _is_dropped(self) -> bool:
        """Whether a fault drops an event, as happens to a subscriber that is too slow."""
        kind = "link.slow_subscriber"
        faults = self.faults
        return faults is not None and kind in faults.live and faults.take(kind) is not None

    def close(self) -> None:
        """Close both sockets, giving the last answers a moment to leave."""
        self.socket.close(linger=200)
        self.events.close(linger=0)

    def _status(self, daemon: Daemon, request: int) -> messages.StatusReply:
        run = daemon.run
        state = ProcessState.RUNNING if run is not None else ProcessState.IDLE
        own = {} if run is None else run.counters()
        processes = [ProcessStatus("daemon", os.getpid(), ProcessRole.DAEMON, state, (), own)]
        processes += [
            ProcessStatus(
                link.name,
                link.pid,
                ProcessRole.AGENT,
                ProcessState.RUNNING if link.loaded else ProcessState.IDLE,
                (),
                link.counters,
            )
            for link in daemon.agents()
        ]
        return messages.StatusReply(
            request=request,
            testbed=self.config.name,
            run=0 if run is None else run.number,
            scenario="" if run is None else run.program.name,
            instances=0 if run is None else run.live.done,
            processes=tuple(processes),
            load_ended=self._load_ended,
        )

    def _error(self, asker: bytes, request: int, code: ErrorCode, why: str) -> None:
        self._answer(asker, messages.ErrorReply(request, code, why))

    def _answer(self, asker: bytes, message: messages.ControlFromDaemon) -> bool:
        """Answer, or let it be if that cannot be done at once; False when nobody is there."""
        if not asker:
            return False
        try:
            self.socket.send_multipart([asker, codec.encode_control(message)], zmq.NOBLOCK)
        except zmq.Again:
            return True
        except zmq.ZMQError:
            return False
        return True


def _own(agents: list[AgentLink]) -> list[AgentLink]:
    """The testbed's own agents, without those that have attached to serve one device."""
    return [link for link in agents if not link.serves and not link.leaving]


_OF_IOMMU = ("iotlb", "walk_by_level")
"""Options by which an IOMMU has steps of its own."""


def _why_not_gated(
    config: DaemonConfig, agents: list[AgentLink], request: messages.RunScenario
) -> str:
    """Why a schedule cannot be followed; empty when it can, or when there is none."""
    if not request.schedule:
        return ""
    options = {**config.device, **request.program.options}
    own = [option for option in _OF_IOMMU if options.get(option) == ON]
    for link in agents:
        if messages.GATES not in link.capabilities:
            return f"agent {link.name} makes its steps as it likes, and waits for no grant"
        if own and messages.SHARED_MEMORY not in link.capabilities:
            return (
                f"agent {link.name} has no shared memory, so that its IOMMU (option {own[0]}) is "
                "the daemon's, whose steps no schedule names"
            )
    return ""
