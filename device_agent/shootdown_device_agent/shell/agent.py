"""THE MAIN LOOP of an agent: messages from the daemon, then steps of its devices.

One thread. A round that has something to do never waits; an idle one sleeps until a message comes.
The loop that makes the steps also answers heartbeats, so an answer means that the devices work.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from shootdown_device_agent.shell.config import AgentConfig, AgentEnd, Log
from shootdown_device_agent.shell.page_request_groups import PageRequestGroups
from shootdown_engine.channels import Completion, PageRequest
from shootdown_protocol import codec, messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode, RemoteProtocolError, ShootdownError, UsageError
from shootdown_protocol.fault_messages import FAULTS, RESENDS, Resend, SetFaults
from shootdown_protocol.fence import full_fence
from shootdown_protocol.history import Entry, Injected
from shootdown_protocol.peer import peer_process
from shootdown_protocol.restart_messages import NOTHING, RESTARTS, HandOver, Legacy
from shootdown_protocol.segment import Segment
from shootdown_protocol.sequence import Arrival, KeptMessages, SequenceCheck

if TYPE_CHECKING:
    from shootdown_device_agent.shell.batches import AgentRun, DeviceMaker
    from shootdown_device_agent.shell.injecting import DeviceFaults
    from shootdown_protocol.history_file import HistoryWriter

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_READABLE = int(zmq.POLLIN)
"""Plain numbers, for ZeroMQ turns its own enums into such at every call."""

_NEXT = Arrival.NEXT
_Invalidate = messages.Invalidate
_InvalidateCompletion = messages.InvalidateCompletion
_ItagCompletion = messages.ItagCompletion
STEPS_A_ROUND = 64
IDLE_MS = 50
"""Longest wait of a round that has nothing to do."""
NAP_S = 0.00003
"""How long a round sleeps at first when a batch runs but nothing of it can go."""
NAPS_A_LENGTH = 8
"""Naps in a row after which the next are longer by one such: others may need the processor."""
NAP_LENGTHS = 8
"""How many times as long as the first ones the longest are."""
ROUNDS_A_LOOK = 64
"""Rounds with work, or messages, between two looks whether this agent is to leave."""
MESSAGES_A_WAIT = 16
"""Most messages that are obeyed one after the other before a round goes on."""
CONNECT_MS = 10_000
"""Longest wait for the daemon's welcome."""


class Agent:
    """One device agent, from its hello to its end."""

    def __init__(self, config: AgentConfig, log: Log) -> None:
        """Connect and wait for the welcome."""
        self.config = config
        self.log = log
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 1)
        self.socket.setsockopt(zmq.LINGER, 200)
        self.socket.setsockopt(zmq.RCVTIMEO, IDLE_MS)
        if config.server_key:
            public, secret = zmq.curve_keypair()
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            self.socket.curve_serverkey = config.server_key.encode()
        self.socket.connect(config.endpoint)
        # ZeroMQ's own: what is around it asks, at every call, for what only draft sockets have.
        self._send = super(zmq.Socket, self.socket).send
        self.sent = 0
        self.incoming = SequenceCheck()
        self.heard_s = time.monotonic()
        self.run: AgentRun | None = None
        self.history: HistoryWriter | None = None
        self.faults: DeviceFaults | None = None
        self.kept: KeptMessages[DeviceMessage] = KeptMessages()
        self._asked_to_leave = False
        self._round = 0
        self._naps = 0
        self._detaching: tuple[int, ...] | None = None
        self._records = 0
        self.groups = PageRequestGroups()
        self._daemon = _watch_process(config.daemon)
        if config.daemon and self._daemon is None:
            raise AgentEnd("the daemon's process has ended", 4)
        self.welcome = self._greet()
        self.segment: Segment | None = None
        if self.welcome.segment:
            welcome = self.welcome
            self.segment = Segment.attach(welcome.segment, welcome.segment_generation)

    def serve(self) -> int:
        """Go round until the daemon ends or is lost; gives the exit status."""
        try:
            while True:
                self.go_round()
        except AgentEnd as end:
            self.log.info("ended", why=end.why)
            return end.status
        except ShootdownError as error:
            self._give_up(str(error))
            return 4
        except (Exception, SystemExit) as error:
            from shootdown_engine.origin import in_words  # noqa: PLC0415 - who ends well does not

            self._give_up(in_words(error))
            raise
        finally:
            self.close()

    def _give_up(self, why: str) -> None:
        """Tell the daemon why this agent cannot go on."""
        self.log.info("gave_up", why=why)
        self.send(messages.Goodbye(0, why[:2000]))

    def go_round(self) -> None:
        """One round: messages, steps, what they send."""
        run = self.run
        busy = run is not None and (run.running is not None or (run.ready and not run.gated))
        heard = self._receive() if busy else self._wait()
        made = self._steps()
        self._round += heard or 1
        if heard:
            self.heard_s = time.monotonic()
        if not (heard or made):
            self._leave()
            self._watch()
            if busy:
                self._naps += 1
                time.sleep(NAP_S * min(NAP_LENGTHS, 1 + self._naps // NAPS_A_LENGTH))
            else:
                self._use_spare_time()
            return
        self._naps = 0
        if self._round >= ROUNDS_A_LOOK:
            self._round = 0
            self._leave()

    def _leave(self) -> None:
        """Ask to be let go, if it is to; until then it is a member and answers as one."""
        why = "" if self._asked_to_leave else self.config.leaves()
        if why:
            self._asked_to_leave = True
            self.send(messages.Detach(0, (), why))

    def _detach(self, message: messages.Detach) -> None:
        """Begin no walk from now on; `DetachDone` follows when all is drained and dropped."""
        self._detaching = message.devices
        if self.run is not None:
            self.run.begin_no_access()

    def _finish_detach(self) -> None:
        if self._detaching is None or (self.run is not None and not self.run.is_drained()):
            return
        if self.run is not None:
            self.run.drop_everything()
        devices, self._detaching = self._detaching, None
        self.send(messages.DetachDone(0, devices))

    def _use_spare_time(self) -> None:
        """Do what can wait until nobody waits: write the log, import what a program needs."""
        self.log.flush()
        import shootdown_device_agent.shell.batches  # noqa: F401, PLC0415
        import shootdown_protocol.history_file  # noqa: F401, PLC0415

    def _steps(self) -> int:
        run = self.run
        if run is None:
            self._finish_detach()
            return 0
        made = run.make_steps(STEPS_A_ROUND)
        if self.history is not None:
            self.history.flush_if_full()
        if run.store.outbox:
            self._send_outbox(run)
        if run.is_hosted:
            for message in run.outgoing():
                self.send(message)
        if self._detaching is not None:
            self._finish_detach()
        return made

    def close(self) -> None:
        """Keep what was recorded and let everything go."""
        if self.history is not None:
            self.history.close()
        self.socket.close()
        self.context.term()
        if self._daemon is not None:
            os.close(self._daemon)
        self.run = None
        if self.segment is not None:
            self.segment.close()

    # Messages

    def send(self, message: DeviceMessage) -> None:
        """Number a message and send it."""
        self._send_numbered(msgspec.structs.replace(message, sequence=self.sent))

    def _send_numbered(self, message: DeviceMessage) -> None:
        self.kept.keep(message)
        self.sent += 1
        self._send(codec.encode_device(message))

    def _greet(self) -> messages.Welcome:
        hello = messages.Hello(
            0,
            messages.PROTOCOL_VERSION,
            self.config.token,
            self.config.name,
            os.getpid(),
            self._capabilities(),
            self.config.serves,
        )
        self.send(hello)
        codec.prepare(codec.decode_device_from_daemon)
        answer, daemon = self._await_welcome()
        if self._daemon is None:
            self._daemon = _watch_process(daemon)
        self.log.info(
            "welcomed",
            number=answer.agent,
            segment=answer.segment,
            daemon=daemon,
        )
        return answer

    def _await_welcome(self) -> tuple[messages.Welcome, int]:
        """The daemon's answer, and its pid if that is known; a lost welcome is asked for again."""
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        if self._daemon is not None:
            poller.register(self._daemon, zmq.POLLIN)
        deadline_s = time.monotonic() + CONNECT_MS / 1000
        while poller.poll(max(0, int((deadline_s - time.monotonic()) * 1000))):
            if not self.socket.poll(0):
                raise AgentEnd("the daemon's process has ended", 4)
            frame = self.socket.recv(copy=False)
            answer = codec.decode_device_from_daemon(frame.bytes)
            if isinstance(answer, messages.Refused):
                raise AgentEnd(f"refused: {answer.why}", 4, answer.code)
            if isinstance(answer, messages.Welcome):
                self.incoming.accept(answer.sequence)
                return answer, self.config.daemon or _sender(frame)
            if not answer.sequence:
                raise AgentEnd(f"saw {type(answer).__name__}; expected Welcome", 4)
            self._mend(answer, self.incoming.accept(answer.sequence))
        why = f"no answer from {self.config.endpoint} within {CONNECT_MS} ms"
        raise AgentEnd(why, 4)

    def _capabilities(self) -> tuple[str, ...]:
        """What this agent can do; one that was given its class loads no other."""
        config = self.config
        own_process = (messages.OWN_PROCESS,) * config.own_process
        classes = (messages.DEVICE_CLASSES,) * (config.make_device is None)
        shared_memory = (messages.SHARED_MEMORY,) * config.shared_memory
        restarts = (RESTARTS,) * bool(shared_memory and own_process and classes)
        can = (FAULTS, RESENDS, messages.GATES, messages.REGISTERS)
        return (*shared_memory, *own_process, *classes, *can, *restarts)

    def _wait(self) -> int:
        """Sleep until messages come, for `IDLE_MS` at most; gives how many were taken in.

        It is one, or some that were obeyed at rest; others are the next round's.
        """
        for heard in range(MESSAGES_A_WAIT):
            try:
                data = self.socket.recv()
            except zmq.Again:
                return heard
            if not self._hear(data):
                return heard + 1
        return MESSAGES_A_WAIT

    def _receive(self) -> int:
        """Take in every message that is there; gives how many."""
        heard = 0
        while True:
            # To ask is cheaper than to be refused, which is an exception.
            events = self.socket.get(_EVENTS)
            assert isinstance(events, int)
            if not events & _READABLE:
                return heard
            self._hear(self.socket.recv(_NOBLOCK))
            heard += 1

    def _hear(self, data: bytes) -> bool:
        """Take a message in; True when devices at rest have done all that it asks for."""
        try:
            message = codec.decode_device_from_daemon(data)
        except RemoteProtocolError as error:
            self.log.info("bad_message", why=str(error))
            self.send(messages.ErrorReport(0, error.code, str(error)[:2000]))
            return False
        arrival = self.incoming.accept(message.sequence)
        if arrival is not _NEXT:
            self._mend(message, arrival)
        elif type(message) is not _Invalidate or self.run is None:
            self._obey(message)
        elif self.run.invalidate(message.requests):
            self._send_outbox(self.run)
            return True
        return False

    def _mend(self, message: messages.DeviceFromDaemon, arrival: Arrival) -> None:
        """Take in a message that does not come next; what is missing is asked for.

        Whatever was lost may have said to drop something, so everything cached is dropped first.
        What has been asked for is asked for again with each sign of life, for either may be lost.
        """
        if isinstance(message, messages.Refused):
            # It has no place in the sequence: to the daemon this agent is nobody now.
            raise AgentEnd(f"no member any more: {message.why}", 4)
        why = f"message {message.sequence} is {arrival.value}"
        if arrival is Arrival.GAP:
            self.log.info("sequence", why=f"{why}: invalidations may be lost")
            if self.run is not None:
                self.run.drop_everything()
        elif arrival is Arrival.DUPLICATE and not isinstance(message, Resend):
            self.log.info("sequence", why=why)
            self.send(messages.ErrorReport(0, ErrorCode.SEQUENCE_REPEATED, why))
        if arrival is Arrival.GAP or (
            arrival is Arrival.BEHIND and isinstance(message, messages.Heartbeat)
        ):
            self._ask_again()
        if isinstance(message, messages.Goodbye | Resend):
            self._obey(message)

    def _ask_again(self) -> None:
        """Ask for what has not come; that has no place in the sequence."""
        self._send(codec.encode_device(Resend(0, self.incoming.expected)))

    def _resend(self, asked: Resend) -> None:
        """Send again what the daemon has not seen, and all after it."""
        missing = self.kept.since(asked.first)
        if missing is None:
            self._give_up(f"message {asked.first} is asked for, and not kept any more")
            raise AgentEnd("a message that was lost is not kept any more", 4)
        for message in missing:
            self._send(codec.encode_device(message))

    def _set_faults(self, message: SetFaults) -> None:
        from shootdown_device_agent.shell.injecting import DeviceFaults  # noqa: PLC0415

        if self.faults is None:
            self.faults = DeviceFaults(time.monotonic, self._injected, self.config.name)
        self.faults.set(message.faults)
        self._apply_faults()

    def _hand_over(self, message: HandOver) -> None:
        """Make no further step: what is left goes to the process that takes this one's place."""
        counters = {} if self.faults is None else self.faults.counters
        legacy = msgspec.structs.replace(NOTHING, counters=counters)
        if self.run is not None:
            from shootdown_device_agent.shell.legacy import legacy_of  # noqa: PLC0415 - only a restart needs it

            keeps = message.keeps_caches
            legacy = legacy_of(self.run, self.groups.unanswered, counters, keeps_caches=keeps)
            self._close_history()
            self.run = None
        self.send(legacy)

    def _take_up(self, legacy: Legacy) -> None:
        """Go on where this agent's last process was killed."""
        if self.faults is not None:
            self.faults.take_up(legacy.counters)
        if self.run is None or legacy.program_number != self.run.number:
            return
        self.run.legacy = legacy
        self.groups.take_up(legacy.requests)

    def _apply_faults(self) -> None:
        """Let the run ask for faults while there are any, and not otherwise."""
        if self.run is not None and self.faults is not None:
            self.run.faults = self.faults if self.faults.active else None

    def _injected(self, record: Injected) -> None:
        now = time.monotonic_ns()
        if self.history is not None:
            self.history.keep((now, now, -1, record.target, record))

    def _counters(self) -> dict[str, int]:
        own = {} if self.faults is None else self.faults.counters
        records = self._records if self.history is None else self.history.kept
        steps, idle = (self.run.runner.steps, self.run.idle_rounds) if self.run else (0, 0)
        return {"records": records, "steps": steps, "idle": idle, **own}

    def _obey(self, message: messages.DeviceFromDaemon) -> None:
        run = self.run
        if isinstance(message, messages.Heartbeat):
            self.send(messages.HeartbeatReply(0, message.beat, self._counters()))
        elif isinstance(message, messages.LoadProgram):
            self._load(message)
        elif isinstance(message, SetFaults):
            self._set_faults(message)
        elif isinstance(message, Resend):
            self._resend(message)
        elif isinstance(message, HandOver):
            self._hand_over(message)
        elif isinstance(message, Legacy):
            self._take_up(message)
        elif isinstance(message, messages.DetachDone):
            raise AgentEnd("detached", 0)
        elif isinstance(message, messages.Detach):
            self._detach(message)
        elif isinstance(message, messages.Goodbye):
            raise AgentEnd(f"the daemon said goodbye: {message.reason}", 0)
        elif isinstance(message, messages.ErrorReport):
            self.log.info("daemon_reports", code=message.code, why=message.why)
        elif run is None and isinstance(message, messages.UnloadProgram):
            self.send(messages.ProgramUnloaded(0, message.program_number, 0, {}))
        elif run is None:
            self.log.info("unexpected", message=type(message).__name__)
        elif isinstance(message, messages.PageResponses):
            for answer in self.groups.take(run, message):
                self.send(answer)
        elif isinstance(message, messages.BatchBegin):
            run.begin_batch(message)
        elif isinstance(message, messages.BatchGo):
            run.go(message.batch)
        elif isinstance(message, messages.Grant):
            self._grant(run, message)
        elif isinstance(message, messages.GrantRest):
            run.grant_rest()
        elif isinstance(message, messages.UnloadProgram):
            self._unload()
        else:
            run.take(message)

    def _load(self, load: messages.LoadProgram) -> None:
        # Not needed to be ready: see `_use_spare_time`.
        from shootdown_protocol.history_file import HistoryWriter  # noqa: PLC0415 - a run does

        if self.run is not None:
            self._close_history()
        if load.history:
            self.history = HistoryWriter(Path(load.history), self.config.name)
        self._records = 0
        try:
            makers = self._makers(load)
        except UsageError as error:
            self.run = None
            self.send(messages.ErrorReport(0, ErrorCode.WRONG_CLASS, str(error)[:2000]))
            return
        self.run = self._new_run(load, makers)
        if self.history is not None:
            self.run.on_batch_end = self.history.flush
        self.groups.begin(load.devices)
        self._apply_faults()
        self.log.info("program_loaded", scenario=load.program.name)

    def _new_run(self, load: messages.LoadProgram, makers: tuple[DeviceMaker, ...]) -> AgentRun:
        now, welcome = time.monotonic_ns, self.welcome
        log = _forget if self.history is None else self.history.keep
        if self.segment is None:
            from shootdown_device_agent.shell.hosted import HostedRun  # noqa: PLC0415 - a run does

            return HostedRun(load, welcome, makers, now=now, fence=full_fence, log=log)
        from shootdown_device_agent.shell.batches import AgentRun  # noqa: PLC0415 - a run does

        return AgentRun(self.segment, load, welcome, makers, now=now, fence=full_fence, log=log)

    def _makers(self, load: messages.LoadProgram) -> tuple[DeviceMaker, ...]:
        """The class of each device that is to be played."""
        from shootdown_device_agent.machine.device import Device  # noqa: PLC0415 - a run does
        from shootdown_device_agent.shell.classes import load_device  # noqa: PLC0415 - a run does

        if self.config.make_device is not None:
            return (self.config.make_device,) * len(load.devices)
        named = load.device_classes or ("",) * len(load.devices)
        loaded = {spec: load_device(spec) if spec else Device for spec in set(named)}
        return tuple(loaded[spec] for spec in named)

    def _unload(self) -> None:
        assert self.run is not None
        counters = self._counters()
        number = self.run.number
        self._close_history()
        self.run = None
        self.send(messages.ProgramUnloaded(0, number, self._records, counters))

    def _close_history(self) -> None:
        if self.history is not None:
            self.history.close()
            self._records = self.history.kept
        self.history = None

    def _grant(self, run: AgentRun, grant: messages.Grant) -> None:
        step, made = run.grant(grant.task, grant.step)
        if run.store.outbox:
            self._send_outbox(run)
        self.send(messages.Granted(0, grant.slot, grant.task, step, made))

    def _send_outbox(self, run: AgentRun) -> None:
        outbox = run.store.outbox
        if len(outbox) == 1 and type(outbox[0][1]) is Completion:
            (_, device), (itags, due) = outbox.pop()
            said = (_ItagCompletion(device, itags, due),)
            self._send_numbered(_InvalidateCompletion(self.sent, said))
        else:
            self._send_mixed(run, outbox)

    def _send_mixed(self, run: AgentRun, outbox: list[tuple[tuple[Any, ...], Any]]) -> None:
        """Send completions and page requests, each kind in one message."""
        completions: list[messages.ItagCompletion] = []
        requests: list[messages.PageRequest] = []
        for channel, message in outbox:
            if isinstance(message, Completion):
                _add_completion(completions, channel[1], message)
            else:
                assert isinstance(message, PageRequest)
                request = self.groups.ask(run, message)
                requests += () if request is None else (request,)
        outbox.clear()
        if completions:
            self.send(messages.InvalidateCompletion(0, tuple(completions)))
        if requests:
            self.send(messages.PageRequests(0, tuple(requests)))

    # Signs of life

    def _watch(self) -> None:
        """End when the daemon's process has ended or it has been silent for too long."""
        silent_ms = (time.monotonic() - self.heard_s) * 1000
        if silent_ms < self.welcome.heartbeat_ms:
            return
        if self._daemon is not None:
            poll = select.poll()
            poll.register(self._daemon, select.POLLIN)
            if poll.poll(0):
                raise AgentEnd("the daemon's process has ended", 4)
        # After a pause of this process the daemon's messages may be here and not yet be told of.
        if silent_ms > self.welcome.heartbeat_limit_ms and not self.socket.poll(
            self.welcome.heartbeat_ms
        ):
            limit = self.welcome.heartbeat_limit_ms
            raise AgentEnd(f"the daemon was silent for {silent_ms:.0f} ms (limit {limit} ms)", 4)


def _forget(_entry: Entry) -> None:
    """Keep no record, as when no history is wanted."""


def _add_completion(
    completions: list[messages.ItagCompletion], device: int, message: Completion
) -> None:
    """Add a completion to those to be sent: to the device's last one, if that may say it too."""
    itags, due = message
    for index in range(len(completions) - 1, -1, -1):
        other = completions[index]
        if other.device == device:
            if other.count == due and not other.itags & itags:
                completions[index] = messages.ItagCompletion(device, other.itags | itags, due)
                return
            break
    completions.append(messages.ItagCompletion(device, itags, due))


def _sender(frame: zmq.Frame) -> int:
    """Pid of who sent a frame; 0 when it is another host's or container's."""
    try:
        return peer_process(str(frame["Peer-Address"]))
    except zmq.ZMQError:
        return 0


def _watch_process(pid: int) -> int | None:
    """A file descriptor that tells of a process's end; None when it cannot be had."""
    try:
        return os.pidfd_open(pid) if pid else None
    except OSError:  # It has ended, or the system has no such descriptors: silence will tell.
        return None


def serve(config: AgentConfig, log: Log, ready: Callable[[], None]) -> int:
    """Run an agent in this process; ``ready`` is called when it is welcome. Gives the status."""
    try:
        agent = Agent(config, log)
    except (AgentEnd, ShootdownError) as error:
        log.info("not_started", why=str(error), code=int(error.code))
        return 4
    ready()
    return agent.serve()
