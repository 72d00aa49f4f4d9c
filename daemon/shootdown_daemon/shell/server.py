"""THE MAIN LOOP of the daemon: steps of the run, then messages, then what is due by time.

One thread, no callbacks: `Daemon.serve` goes round until it is told to stop. Heartbeats are asked
and taken by this loop, so an agent that answers is one whose daemon works too.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import zmq

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.control import ControlPlane
from shootdown_daemon.shell.device_plane import DevicePlane
from shootdown_daemon.shell.fault_set import FaultSet, status
from shootdown_daemon.shell.link_faults import LinkFaults
from shootdown_daemon.shell.links import AgentLink, has_ended
from shootdown_daemon.shell.log import ProcessLog
from shootdown_daemon.shell.new_segment import create_segment
from shootdown_daemon.shell.process_faults import ProcessFaults
from shootdown_protocol.errors import SegmentError
from shootdown_protocol.fault_messages import FAULTS
from shootdown_protocol.faults import FaultStatus
from shootdown_protocol.history import Injected
from shootdown_protocol.messages import RunEnd, RunScenario
from shootdown_protocol.restart_messages import NOTHING, Legacy
from shootdown_protocol.segment import Segment

if TYPE_CHECKING:
    from shootdown_daemon.shell.running import Running
    from shootdown_daemon.shell.standstill import Standstill

STEPS_A_ROUND = 96
"""Steps of the run between two looks at the sockets."""
TICK_S = 0.02
"""Time between two looks at what is due, and at the control plane while a run goes on."""
RESERVED_AT_ONCE_BYTES = 16 << 20
"""Shared memory that is reserved in one idle round: some milliseconds' worth."""
IDLE_MS = 50
"""Longest wait of a round when nothing runs."""
BUSY_MS = 1
"""Longest wait of a round while a run waits for agents."""
GARBAGE_OBJECTS = 20_000
"""New objects after which the collector looks for cycles: a run makes many objects and none."""
JUMP_S = 0.5
"""More between two ticks means that this process did not live meanwhile, or its clock jumped."""


class Daemon:
    """One testbed's kernel side."""

    def __init__(self, config: DaemonConfig, generation: int) -> None:
        """Make the segment and bind the sockets; ready when this returns."""
        self.config = config
        self.log = ProcessLog(config.logs, "daemon")
        self.segment: Segment = create_segment(config, generation)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.devices = DevicePlane(self.context, config, self.segment, self.log)
        self.control = ControlPlane(self.context, config, self.log)
        self.run: Running | None = None
        self._set_up_faults()
        self.stopping = ""
        self._poller = zmq.Poller()
        for socket in self.devices.router.sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self.control.socket, zmq.POLLIN)
        self._owner = None if config.owner is None else os.pidfd_open(config.owner)
        self._standstill: Standstill | None = None
        self._beat_s = 0.0
        self._tick_s = 0.0
        self._ticked_s = self.now()
        self.log.info("ready", segment=config.segment, agents_expected=config.agents)

    def _set_up_faults(self) -> None:
        self.faults = FaultSet(time.monotonic, self._names, self.devices.tell_faults, self._sharers)
        timeout_ms = self.config.completion_timeout_ms
        self._links = LinkFaults(self.faults, time.monotonic, timeout_ms, self._injected)
        self._processes = ProcessFaults(
            self.faults, time.monotonic, self._injected, self.devices.router.send
        )
        self.devices.faults_for = self.faults.for_agent
        self.devices.count_faults = self.faults.counted
        self.devices.late_join = self._late_join
        self.control.faults = self.faults
        for fault in self.config.faults:
            self.faults.add(fault)

    def now(self) -> float:
        """The clock by which limits are judged, seconds."""
        return time.monotonic() + self._processes.jumped_s

    def serve(self) -> int:
        """Go round until stopped; gives the process's exit status."""
        gc.set_threshold(GARBAGE_OBJECTS, *gc.get_threshold()[1:])
        with _Signals(self._on_signal):
            try:
                while not self.stopping or self.run is not None:
                    self.go_round()
            finally:
                self.close()
        return 0

    def go_round(self) -> None:
        """One round: steps of the run, messages, and what is looked at by time."""
        run, router = self.run, self.devices.router
        if self.faults.live or router.faults is not None:
            router.faults = self._links if self._links.active else None
        busy = run is not None and run.round(STEPS_A_ROUND)
        may_wait = router.is_local and router.faults is None
        if run is not None and not busy and may_wait and run.only_waits:
            self.devices.wait(run)
        else:
            self._look_at_sockets(busy=busy)
        if self.devices.joined or self.devices.someone_leaves:
            self._watch_members()
        if time.monotonic() >= self._tick_s:
            self._tick()
        if self.run is None:
            self.control.start_next(self)
        elif self.run.ended:
            self._end_run(self.run)

    def _look_at_sockets(self, *, busy: bool) -> None:
        """Take in what has come on either plane; unless ``busy``, wait for it."""
        if not busy:
            readable = self._poller.poll(IDLE_MS if self.run is None else BUSY_MS)
            if any(socket is self.control.socket for socket, _ in readable):
                self.control.handle(self)
            if self.run is None and not readable:
                self._use_spare_time()
        self.devices.handle(self.run)

    def _tick(self) -> None:
        """Look at all that time alone brings about."""
        self._tick_s = time.monotonic() + TICK_S
        self._notice_lost_time()
        self._processes.go_on()
        self.devices.look_for_members()
        now = self.now()
        if now >= self._beat_s:
            self._beat_s = now + self.config.heartbeat_ms / 1000
            self.faults.heal_due()
            self._beat(now)
            self._notice_lost_time()  # A fault may have made the clock jump.
        if self.run is not None:
            self.run.watch_limits()
            self.control.progress(self.run)
            self.control.handle(self)

    def start(self, run: Running) -> None:
        """Take up a run."""
        assert self.run is None
        self.run = run
        self.devices.program = run.program
        if self.stopping:  # A signal came while the run was made.
            run.abort(RunEnd.STOPPED, self.stopping)
        self.log.info("run_started", scenario=run.program.name, instances=run.live.instances)

    def stop(self, reason: str) -> None:
        """End the testbed once the run under way has come to its next batch's end."""
        self.stopping = self.stopping or reason
        if self.run is not None:
            self.run.abort(RunEnd.STOPPED, reason)

    def clear_faults(self, number: int, *, heal: bool) -> tuple[FaultStatus, ...]:
        """Apply a fault (0: any) no more, and end what they do now if they are to heal."""
        cleared = self.faults.clear(lambda fault: number in {0, fault.number})
        if heal:
            self._processes.go_on(heal=True)
            self.devices.heal(self.run)
            if self.run is not None:
                self.run.heal()
            cleared += [fault for fault in self.faults.heal() if fault not in cleared]
        cleared.sort(key=lambda fault: fault.number)
        return tuple(status(fault) for fault in cleared)

    def _notice_lost_time(self) -> None:
        """Count the time in which this process was stopped, or its clock jumped, against nobody."""
        now = self.now()
        lost_s, self._ticked_s = now - self._ticked_s, now
        if lost_s < JUMP_S:
            return
        self.log.info("time_lost", ms=round(lost_s * 1000))
        self.devices.forgive(lost_s)
        if self.run is not None:
            self.run.forgive(lost_s)

    def _late_join(self, name: str) -> float:
        found = self.faults.take("agent.late_join", agent=name)
        if found is None:
            return 0.0
        self.log.info("fault", kind="agent.late_join", agent=name, ms=found.fault.ms)
        return found.lasts_s(self.faults.random)

    def _injected(self, record: Injected) -> None:
        """A fault was applied: it goes into the history of the run under way, else into the log."""
        if self.run is not None:
            self.run.injected(-1, record.target, record)
        else:
            self.log.info("fault", kind=record.kind, target=record.target, what=record.detail)

    def _names(self) -> dict[int, str]:
        return {link.number: link.name for link in self.agents()}

    def _sharers(self) -> int:
        """How many agents apply faults themselves, those that are still to join among them."""
        own = sum(not link.serves for link in self.agents())
        able = sum(FAULTS in link.capabilities for link in self.agents())
        return able + max(0, self.config.agents - own)

    def close(self) -> None:
        """Say goodbye, close sockets, remove the segment."""
        self._processes.go_on(heal=True)
        self.devices.goodbye(self.stopping or "the daemon ends")
        self.control.close()
        self.devices.close()
        self.devices.restarts.close()
        self.context.term()
        self.segment.close()
        self.segment.unlink()
        self.log.info("ended", reason=self.stopping)
        self.log.close()

    def _use_spare_time(self) -> None:
        """Do what can wait until nobody waits: write the log, import what a run needs."""
        self.log.flush()
        with suppress(SegmentError):  # It is said when a run is to start.
            self.segment.reserve(RESERVED_AT_ONCE_BYTES)
        import shootdown_daemon.shell.running  # noqa: F401, PLC0415

    def _watch_members(self) -> None:
        """Agents come and go at a batch boundary: the run under way ends there, a load goes on."""
        for link in self.devices.take_joined():
            if link.legacy is not None:
                self._readmit(link, link.legacy)
            elif link.serves:
                self.control.event("agent_attached", agent=link.name)
                if self.run is not None and self.run.is_load:
                    self.run.abort(RunEnd.ABORTED, f"agent {link.name} attaches")
        for link in self.agents():
            if link.leaving and self.run is not None and self.run.has(link):
                self.run.abort(RunEnd.ABORTED, f"agent {link.name} detached")
        for link in self.devices.let_leave(self.run):
            self.log.info("agent_left", agent=link.name)
            self.control.event("agent_detached", agent=link.name)

    def _readmit(self, link: AgentLink, legacy: Legacy) -> None:
        """An agent was started anew: it goes on with the run if that waits for it."""
        self.control.event("agent_restarted", agent=link.name)
        if self.run is None or not self.run.absent.readmit(link, legacy):
            self.devices.router.send(link, legacy)

    def _end_run(self, run: Running) -> None:
        self.faults.clear(lambda fault: fault.of_run)
        self.control.run_ended(run)
        self.log.info("run_ended", end=run.end.value, why=run.why, instances=run.live.done)
        self.run = None
        self.devices.program = self.control.load_program

    def _beat(self, now: float) -> None:
        if self.run is not None:
            can = self.devices.restarts.can
            self._processes.beat(self.agents(), restarts=can, races=self.run.live.races)
        self.devices.lose_silent(now)
        self._look_for_standstill()
        self.devices.ask(now)
        self._watch_processes()
        for link, why in self.devices.take_lost():
            quarantined = link.quarantined or link.name in self._processes.killed
            event = "agent_quarantined" if quarantined else "agent_lost"
            self.log.error(event, agent=link.name, pid=link.pid, why=why)
            self.control.event(event, agent=link.name, why=why)
            if self.run is not None:
                self.run.agent_lost(link.name, why, quarantined=quarantined)

    def _look_for_standstill(self) -> None:
        if self.run is None or not self.run.live.races:
            return
        if self._standstill is None:
            from shootdown_daemon.shell.standstill import Standstill  # noqa: PLC0415 - only a run does

            self._standstill = Standstill()
        if self._standstill.look(self.run, self.faults):
            self.run.stand_still()

    def _watch_processes(self) -> None:
        if self._owner is not None and has_ended(self._owner) and not self.stopping:
            self.stop("the command that started it has ended")
        for link in self.agents():
            if link.has_ended() and link.killed_by is not None:
                self._replace(link, link.killed_by)
        self.devices.lose_ended(self.run)

    def _replace(self, link: AgentLink, fault: Injected) -> None:
        """A fault has killed an agent: quarantine it, and have its next process take its place.

        It is dead, so nothing that it held is held any more, and the run goes on.
        """
        self.devices.restart(link, NOTHING)
        self.log.error("agent_quarantined", agent=link.name, pid=link.pid, why=fault.kind)
        self.control.event("agent_quarantined", agent=link.name, why=fault.kind)
        if self.run is not None:
            self.run.absent.killed(link, fault)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.stop(f"signal {signal.Signals(number).name}")

    def agents(self) -> list[AgentLink]:
        """Agents that are members now."""
        return list(self.devices.links())


class _Signals:
    """Sends SIGTERM and SIGINT to a function for as long as the loop runs."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self.handler = handler

    def __enter__(self) -> None:
        self.before = {
            number: signal.signal(number, self.handler)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def serve(
    config: DaemonConfig,
    generation: int,
    ready: Callable[[], None],
    load: RunScenario | None = None,
) -> int:
    """Run a daemon in this process; ``ready`` is called once agents may connect.

    ``load`` is run over and over, as soon as the agents expected have joined.
    """
    daemon = Daemon(config, generation)
    daemon.control.load = load
    ready()
    return daemon.serve()
