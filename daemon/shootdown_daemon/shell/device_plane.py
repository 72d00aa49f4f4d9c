"""The device plane: welcomes agents, numbers messages, hands what they carry to the run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import zmq

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.links import AgentLink, DeviceRouter, Peer, Received, decoded
from shootdown_daemon.shell.log import ProcessLog
from shootdown_daemon.shell.restarts import Restarts
from shootdown_protocol import messages
from shootdown_protocol.board import AGENTS_MAX
from shootdown_protocol.errors import ErrorCode, RemoteProtocolError
from shootdown_protocol.fault_messages import FAULTS, RESENDS, Resend, SetFaults
from shootdown_protocol.faults import FaultStatus
from shootdown_protocol.limits import AGENT_PATIENCE, MESSAGES_A_ROUND_MAX, RESENDS_MAX
from shootdown_protocol.messages import RunEnd
from shootdown_protocol.program import Program
from shootdown_protocol.restart_messages import Legacy
from shootdown_protocol.segment import Segment
from shootdown_protocol.sequence import Arrival

if TYPE_CHECKING:
    from shootdown_daemon.shell.link_faults import LinkFaults
    from shootdown_daemon.shell.running import Running


_MENDED = frozenset(code for code in ErrorCode if code < ErrorCode.SEQUENCE_GAP) | {
    ErrorCode.SEQUENCE_REPEATED
}
"""What an agent reports of a message that was damaged on its way: the gap that it leaves is mended.

A message that was whole and wrong shows as the same, again and again, until `RESENDS_MAX`.
"""


class DevicePlane:
    """All agents of a testbed, and the socket that they are reached by."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: DaemonConfig,
        segment: Segment,
        log: ProcessLog,
    ) -> None:
        """Bind the socket."""
        local = _router(context)
        local.bind(config.device_endpoint)
        self.router = DeviceRouter(local, _open_remote(context, config))
        self.config = config
        self.segment = segment
        self.log = log
        self.seed = 0
        self.program: Program | None = None
        """Whose devices may be taken over: that of the run, or of the load between two runs."""
        self.joined: list[AgentLink] = []
        self.someone_leaves = False
        """Whether a member has asked to be let go, and may not have been yet."""
        self.count_faults: Callable[[str, Mapping[str, int]], None] = lambda _name, _counters: None
        self.faults_for: Callable[[str], tuple[FaultStatus, ...]] = lambda _name: ()
        self.late_join: Callable[[str], float] = lambda _name: 0.0
        self._knocking: list[tuple[float, Peer, messages.Hello, int]] = []
        self.restarts = Restarts(config, log, time.monotonic)

    def links(self) -> Iterable[AgentLink]:
        """Agents that are members now."""
        return self.router.links.values()

    def handle(self, run: Running | None) -> None:
        """Take in every message that is there."""
        if self.router.faults is not None:
            self._let_go_held(self.router.faults, run)
        for received in self.router.receive():
            self._take(received, run)

    def wait(self, run: Running) -> None:
        """Take in messages for as long as there is nothing else to do for a run, and they come."""
        for _ in range(MESSAGES_A_ROUND_MAX):
            received = self.router.await_message()
            if received is None:
                return
            _, link, message, _ = received
            if link is None or type(message) is not messages.InvalidateCompletion:
                self._take(received, run)
            else:
                link.asked_s = None
                arrival = link.incoming.accept(message.sequence)
                if arrival is not Arrival.NEXT:
                    self._take_out_of_order(link, message, arrival)
                elif errors := run.completions(link, message):
                    self._report(link, errors)
            if not run.only_waits:
                return

    def _take(self, received: Received, run: Running | None) -> None:
        peer, link, message, process = received
        if isinstance(message, RemoteProtocolError):
            self._refuse(peer, message)
        elif isinstance(message, messages.Hello):
            self._hello(peer, message, process)
        elif link is not None:
            self._from_member(link, message, run)
        else:
            why = f"{type(message).__name__} from a peer that was not welcomed"
            self.router.send_raw(peer, messages.Refused(0, ErrorCode.NOT_WELCOMED, why))

    def look_for_members(self) -> None:
        """Let agents in that were made to wait, and look after those that are started anew."""
        if self._knocking:
            self._let_in()
        if self.restarts.under_way:
            self.router.lost += self.restarts.look()

    def ask(self, now: float) -> None:
        """Ask every agent for a sign of life."""
        for link in list(self.links()):
            link.beats += 1
            link.asked_s = link.asked_s or now
            self.router.send(link, messages.Heartbeat(0, link.beats))

    def lose_silent(self, now: float) -> None:
        """Take out every agent that has owed a sign of life for too long.

        To be called when all that came was taken in: what counts is an agent's silence, not how
        long this process itself was busy or stopped.
        """
        limit_ms = self.config.heartbeat_limit_ms
        for link in list(self.links()):
            silent_ms = 0.0 if link.asked_s is None else (now - link.asked_s) * 1000
            if silent_ms > limit_ms:
                why = f"silent for {silent_ms:.0f} ms (limit {limit_ms} ms)"
                self.router.lose(link, why, quarantine=True)

    def lose_ended(self, run: Running | None) -> None:
        """Take out every agent whose connection or process is gone.

        What it sent before is taken in first, for that may say why.
        """
        ended = [link for link in self.links() if link.killed_by is None and link.has_ended()]
        if ended or self.router.gone:
            self.handle(run)
        self.router.lose_gone()
        for link in ended:
            self.router.lose(link, "its process has ended")

    def forgive(self, lost_s: float) -> None:
        """Count a time in which this process did not live, or its clock jumped, against nobody."""
        for link in self.links():
            if link.asked_s is not None:
                link.asked_s += lost_s

    def let_leave(self, run: Running | None) -> list[AgentLink]:
        """Let agents go that have asked to and that no run counts on; gives them."""
        leaving = [link for link in self.links() if link.leaving]
        self.someone_leaves = bool(leaving)
        gone = [link for link in leaving if not (run and run.has(link))]
        for link in gone:
            self.router.send(link, messages.DetachDone(0, ()))
            self.router.let_go(link)
        return gone

    def take_joined(self) -> list[AgentLink]:
        """Agents that have joined since the last call."""
        joined, self.joined = self.joined, []
        return joined

    def take_lost(self) -> list[tuple[AgentLink, str]]:
        """Agents lost since the last call, with the reason."""
        lost, self.router.lost = self.router.lost, []
        return lost

    def tell_faults(self) -> None:
        """Tell every agent that can which faults it is to apply itself."""
        for link in list(self.links()):
            if FAULTS in link.capabilities:
                self.router.send(link, SetFaults(0, self.faults_for(link.name)))

    def heal(self, run: Running | None) -> None:
        """Let all that faults of links hold go on at once."""
        if self.router.faults is not None:
            self._let_go_held(self.router.faults, run, heal=True)

    def _let_go_held(self, faults: LinkFaults, run: Running | None, *, heal: bool = False) -> None:
        self.router.let_go_held(faults, heal=heal)
        for link, message in faults.due_to_obey(heal=heal):
            if link.peer in self.router.links:
                self._obey(link, message, run)
        for link, data in faults.unclogged("in", heal=heal):
            held = decoded(data)
            if isinstance(held, RemoteProtocolError):
                self._refuse(link.peer, held)
            elif not isinstance(held, messages.Hello) and link.peer in self.router.links:
                self._from_member(link, held, run)

    def _let_in(self) -> None:
        """Hear the hellos of agents that were made to wait."""
        due = [each for each in self._knocking if each[0] <= time.monotonic()]
        for each in due:
            self._knocking.remove(each)
            self._welcome(*each[1:])

    def goodbye(self, reason: str) -> None:
        """Tell every agent that the daemon ends."""
        for link in list(self.links()):
            self.router.send(link, messages.Goodbye(0, reason))

    def close(self) -> None:
        """Close the socket, giving goodbyes a moment to leave."""
        for link in list(self.links()):
            link.close()
        for socket in self.router.sockets:
            socket.close(linger=200)

    def _hello(self, peer: Peer, hello: messages.Hello, pid: int) -> None:
        refusal = self._why_not(peer, hello)
        if refusal is not None:
            code, why = refusal
            self.log.error("agent_refused", agent=hello.name, pid=hello.pid, why=why)
            self.router.send_raw(peer, messages.Refused(0, code, why))
            return
        wait_s = self.late_join(hello.name)
        if wait_s:
            self._knocking.append((time.monotonic() + wait_s, peer, hello, pid))
            return
        self._welcome(peer, hello, pid)

    def _welcome(self, peer: Peer, hello: messages.Hello, pid: int) -> None:
        number = self.restarts.number_of(hello.name)
        if number is None:
            taken = {link.number for link in self.links()} | self.restarts.numbers
            number = next(n for n in range(AGENTS_MAX) if n not in taken)
        own_process = pid > 0 and messages.OWN_PROCESS in hello.capabilities
        link = AgentLink(peer, hello.name, number, pid or hello.pid, pid, own_process=own_process)
        confined = messages.SHARED_MEMORY not in hello.capabilities or not peer.is_local
        link.capabilities = frozenset(hello.capabilities)
        if confined:
            link.capabilities -= {messages.SHARED_MEMORY}
        link.serves = hello.serves
        link.legacy = self.restarts.take(hello.name)
        self.joined.append(link)
        link.incoming.accept(hello.sequence)
        self.router.join(link)
        config = self.config
        self.router.send(
            link,
            messages.Welcome(
                sequence=0,
                protocol_version=messages.PROTOCOL_VERSION,
                agent=number,
                segment="" if confined else self.segment.name,
                segment_generation=0 if confined else self.segment.generation,
                heartbeat_ms=config.heartbeat_ms,
                heartbeat_limit_ms=AGENT_PATIENCE * config.heartbeat_limit_ms,
                seed=self.seed,
                iotlb=config.iotlb and not confined,
                atc_entries=config.atc_entries,
                walk_by_level=config.walk_by_level and not confined,
            ),
        )
        faults = self.faults_for(link.name)
        if faults and FAULTS in link.capabilities:
            self.router.send(link, SetFaults(0, faults))
        self.log.info("agent_joined", agent=hello.name, pid=link.pid, number=number)

    def _why_not(self, peer: Peer, hello: messages.Hello) -> tuple[ErrorCode, str] | None:
        if hello.token != self.config.token:
            return ErrorCode.WRONG_TOKEN, "the token is not this testbed's"
        if peer in self.router.links:
            return ErrorCode.NAME_TAKEN, "this connection has said hello before"
        if any(link.name == hello.name for link in self.links()):
            return ErrorCode.NAME_TAKEN, f"an agent named {hello.name} is here already"
        if len(self.router.links) + len(self.restarts.numbers) >= AGENTS_MAX:
            return ErrorCode.AGENTS_FULL, f"{AGENTS_MAX} agents are here already"
        return next(filter(None, map(self._why_not_served, hello.serves)), None)

    def _why_not_served(self, name: str) -> tuple[ErrorCode, str] | None:
        """Why nobody can take over a device of this name now."""
        program = self.program
        if program is None:
            return (
                ErrorCode.NOT_RUNNING,
                f"{self.config.name} runs no scenario with a device {name}",
            )
        number = program.device_called(name)
        if number < 0:
            known = program.device_names()
            import difflib  # noqa: PLC0415 - only a mistake needs it

            like = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {like[0]}?" if like else ""
            have = ", ".join(known) or "none"
            why = f"{program.name} has no device {name}{hint}; it has {have}"
            return ErrorCode.NO_SUCH_DEVICE, why
        for link in self.links():
            if number in (program.device_called(served) for served in link.serves):
                return ErrorCode.DEVICE_BUSY, f"{link.name} serves device {name} already"
        return None

    def _from_member(
        self, link: AgentLink, message: messages.DeviceToDaemon, run: Running | None
    ) -> None:
        link.asked_s = None
        arrival = link.incoming.accept(message.sequence)
        if arrival is not Arrival.NEXT:
            self._take_out_of_order(link, message, arrival)
        elif self.router.faults is None:
            self._obey(link, message, run)
        else:
            for each in self.router.faults.obeyed(link, message):
                self._obey(link, each, run)

    def _take_out_of_order(
        self, link: AgentLink, message: messages.DeviceToDaemon, arrival: Arrival
    ) -> None:
        """Obey nothing but the wish for what has not come; ask for it, or the agent is lost.

        What has been asked for is asked for again with each sign of life, for either may be lost.
        """
        if isinstance(message, Resend):
            self._resend(link, message)
            return
        if arrival is not Arrival.BEHIND:
            self.log.error("sequence", agent=link.name, arrival=arrival.value)
        if arrival is Arrival.DUPLICATE:
            return
        if RESENDS not in link.capabilities:
            # What they said, a completion perhaps, is unknown for good.
            why = f"messages before its number {message.sequence} are missing"
            self.router.lose(link, why, quarantine=True)
        elif arrival is Arrival.GAP or isinstance(message, messages.HeartbeatReply):
            self.router.ask_again(link)

    def _resend(self, link: AgentLink, asked: Resend) -> None:
        """Send an agent again what it has not seen; it is lost if that cannot be done."""
        self.log.error("agent_missed", agent=link.name, first=asked.first)
        link.resends += 1
        why = ""
        if link.resends > RESENDS_MAX:
            why = f"it has missed messages {link.resends} times"
        elif not self.router.resend(link, asked.first):
            why = f"it has not seen message {asked.first}, which is not kept any more"
        if why:
            self.router.lose(link, why, quarantine=True)

    def _obey(self, link: AgentLink, message: messages.DeviceToDaemon, run: Running | None) -> None:
        if run is not None and isinstance(message, messages.InvalidateCompletion):
            self._report(link, run.completions(link, message))
        elif isinstance(message, messages.HeartbeatReply):
            link.counters = message.counters
            self.count_faults(link.name, message.counters)
        elif isinstance(message, messages.Detach):
            link.leaving = self.someone_leaves = True
            self.log.info("agent_leaves", agent=link.name, why=message.reason)
        elif isinstance(message, messages.Goodbye):
            self.router.lose(link, f"it said goodbye: {message.reason}", kill=False)
        elif isinstance(message, Legacy):
            self._handed_over(link, message, run)
        elif isinstance(message, Resend):
            self._resend(link, message)
        elif isinstance(message, messages.ErrorReport) and message.code in _MENDED:
            self.log.error("agent_reports", agent=link.name, code=message.code, why=message.why)
        elif isinstance(message, messages.ErrorReport):
            self.log.error("agent_reports", agent=link.name, code=message.code, why=message.why)
            if link.serves:
                # The testbed goes on without what somebody has attached to it.
                self.router.lose(link, f"it reports: {message.why}")
            elif run is not None:
                run.fail(RunEnd.FAILED, f"agent {link.name} reports: {message.why}")
        elif run is not None:
            self._report(link, run.from_agent(link, message))

    def _report(self, link: AgentLink, errors: Iterable[messages.ErrorReport]) -> None:
        """Tell an agent what it did wrong."""
        for error in errors:
            self.log.error("agent_broke_protocol", agent=link.name, why=error.why)
            self.router.send(link, error)

    def _handed_over(self, link: AgentLink, legacy: Legacy, run: Running | None) -> None:
        """An agent has handed over: it is restarted, and the run waits for it."""
        if not link.restarts:
            self.log.error("agent_broke_protocol", agent=link.name, why="it hands over unasked")
            return
        self.restart(link, legacy)
        if run is not None:
            run.absent.begin(link)

    def restart(self, link: AgentLink, legacy: Legacy) -> None:
        """Send an agent nothing more, kill it, and have its next process take its place."""
        self.router.leave(link)
        link.queue.clear()
        self.restarts.begin(link, legacy)

    def _refuse(self, peer: Peer, error: RemoteProtocolError) -> None:
        link = self.router.links.get(peer)
        self.log.error("bad_message", agent=link.name if link else "unknown", why=str(error))
        if link is None:
            self.router.send_raw(peer, messages.Refused(0, error.code, str(error)[:2000]))
        else:
            self.router.send(link, messages.ErrorReport(0, error.code, str(error)[:2000]))


def _router(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.LINGER, 0)
    return socket


def _open_remote(
    context: zmq.Context[zmq.Socket[bytes]], config: DaemonConfig
) -> zmq.Socket[bytes] | None:
    """The socket for agents of other hosts, encrypted unless it was asked not to be."""
    if config.remote is None:
        return None
    socket = _router(context)
    public = b""
    if config.remote.encrypted:
        public, secret = zmq.curve_keypair()
        socket.curve_server = True
        socket.curve_secretkey = secret
    socket.bind(config.remote.endpoint)
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    told = {"endpoint": endpoint, "server_key": public.decode(), "token": config.token}
    config.key_file.touch(mode=0o600)
    config.key_file.write_text(json.dumps(told) + "\n")
    return socket
