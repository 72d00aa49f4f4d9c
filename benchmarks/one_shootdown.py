"""One shootdown, sent to all and completed by all: daemon and agents against bare ZeroMQ.

The whole goes all the way: the daemon's own loop around an invalidation of the kernel machine, and
agents as `shootdown up` starts them, whose device machines apply, drain and complete it and record
that in a history. The links alone are the same daemon and agents without their machines: messages
are numbered, encoded, sent, checked and answered. The floor is a ROUTER and DEALERs that exchange
the same messages in the same encoding, drop an entry of a dict, and do nothing else.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import zmq
from benchmarks.measure import Effort, Row, children, cores, fork, in_child, pin, seconds
from benchmarks.scenarios import VA, one_page

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mutant import RIGHT
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.running import Running
from shootdown_daemon.shell.server import Daemon
from shootdown_device_agent.shell.agent import Agent
from shootdown_device_agent.shell.batches import AgentRun, DeviceMaker
from shootdown_device_agent.shell.config import AgentConfig
from shootdown_engine.channels import Completion
from shootdown_engine.trap import BLOCKED
from shootdown_protocol import ats_range, board, messages
from shootdown_protocol.fence import full_fence
from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE
from shootdown_verify.testbed import Testbed

AGENTS = (1, 2, 4, 8)
TARGET = 1.5
SHOOTDOWNS = 400
"""How many are made one after the other in a round; the median of their times is the round's."""
WARM_UP_SHARE = 8
SILENT_MS = 5000
"""How long a bare DEALER waits before it looks whether its ROUTER is still there."""
END = b""
PASID = 0x100


Times = dict[str, list[float]]
"""Microseconds a shootdown, one number a round, of ``whole``, ``links`` and ``floor``."""


def rows(effort: Effort) -> Iterator[Row]:
    """Two rows for each number of agents and each placement that this machine allows."""
    usable = cores()
    placements = {"one core": usable[:1], "two cores": usable[:2]}
    for where, taken in placements.items():
        if where == "two cores" and len(taken) < 2:  # noqa: PLR2004 - as it says
            continue
        for agents in AGENTS:
            times: Times = in_child(partial(compare, agents, taken, effort))
            for what, text in (("whole", "the whole"), ("links", "the links alone")):
                name = f"{agents} agent{'s' * (agents > 1)}, {where}, {text}"
                yield Row("one-shootdown", name, times[what], times["floor"], "us", TARGET)


def compare(agents: int, taken: Sequence[int], effort: Effort) -> Times:
    """Measure all by turns; the daemon's side is this process, on the first core."""
    with tempfile.TemporaryDirectory() as folder, children() as pids:
        whole, links = (_config(Path(folder) / what, agents) for what in ("whole", "links"))
        bare_endpoint = f"ipc://{folder}/bare"
        for number in range(agents):
            for agent in (
                partial(_agent, Agent, whole, number, taken[-1]),
                partial(_agent, _Completing, links, number, taken[-1]),
                partial(_bare_agent, bare_endpoint, number, taken[-1]),
            ):
                pids.append(fork(agent))
        pin(taken[0])
        with (
            _bare(bare_endpoint, agents) as floor,
            _testbed(whole, _whole_shootdown) as through_machines,
            _testbed(links, _links_exchange) as through_links,
        ):
            variants = {"whole": through_machines, "links": through_links, "floor": floor}
            return _by_turns(variants, effort.of(SHOOTDOWNS), effort.rounds)


def _by_turns(variants: dict[str, Callable[[], None]], count: int, rounds: int) -> Times:
    times: Times = {name: [] for name in variants}
    for shootdown in variants.values():
        for _ in range(count // WARM_UP_SHARE):
            shootdown()
    for _ in range(rounds):
        for name, shootdown in variants.items():
            median_s = statistics.median(seconds(shootdown) for _ in range(count))
            times[name].append(median_s * 1e6)
    return times


def bare_exchange_us(agents: int, count: int) -> float:
    """Microseconds of the floor alone, unpinned; the median of so many."""
    with tempfile.TemporaryDirectory() as folder, children() as pids:
        endpoint = f"ipc://{folder}/bare"
        pids += [fork(partial(_bare_agent, endpoint, n, None)) for n in range(agents)]
        with _bare(endpoint, agents) as exchange:
            return _by_turns({"floor": exchange}, count, 1)["floor"][0]


# Ours


class _Still(Running):
    """A run whose columns never begin: its caches are warm, and nothing else happens."""

    announced = False

    def round(self, steps: int) -> bool:
        """Send what the machine has for the agents."""
        del steps
        if not self.announced:
            self.announced = True
            for what, bank in self.live.advance():
                self._tell(what, bank)
        self._send_outbox()
        return False

    @property
    def warm(self) -> bool:
        """Whether every agent holds the page."""
        words, first = self.live.segment.words, self.live.segment.layout.board
        return all(words[first + board.agent_word(n, board.A_WARM)] for n in self.live.agents)


@contextmanager
def _testbed(
    config: DaemonConfig, make: Callable[[Daemon, _Still], Callable[[], None]]
) -> Iterator[Callable[[], None]]:
    """A daemon with its agents, warm; gives what makes one shootdown."""
    daemon = Daemon(config, generation=1)
    try:
        while len(daemon.agents()) < config.agents:
            daemon.go_round()
        run = _start(daemon, config)
        while not run.warm:
            daemon.go_round()
        yield make(daemon, run)
    finally:
        daemon.close()


def _whole_shootdown(daemon: Daemon, run: _Still) -> Callable[[], None]:
    store, report = run.live.store, run.live.runner.report_outside
    span = InvalidateRange(PASID, VA, VA + PAGE_SIZE, 0)

    def shootdown() -> None:
        tickets = iommu.send_invalidate(store, span, 0, iommu.State.WAITED)
        assert isinstance(tickets, tuple)
        report("iommu")
        daemon.go_round()
        while iommu.wait_completion(store, tickets) is BLOCKED:
            daemon.go_round()

    return shootdown


def _links_exchange(daemon: Daemon, _run: _Still) -> Callable[[], None]:
    router = daemon.devices.router
    request = messages.InvalidateRequest(0, 0, PASID, ats_range.encode(VA, PAGE_SIZE), 0, 0)

    def exchange() -> None:
        waiting = len(router.links)
        for link in router.links.values():
            router.send(link, messages.Invalidate(0, (request,)))
        while waiting:
            received = router.await_message()
            if received is not None:
                waiting -= isinstance(received[2], messages.InvalidateCompletion)

    return exchange


class _CompletingRun(AgentRun):
    """Completes what it is sent at once, without asking its devices."""

    def invalidate(self, asked: Iterable[messages.InvalidateRequest]) -> bool:
        """Complete it."""
        for each in asked:
            self.store.send(("completion", each.device), Completion(1 << each.itag, 1))
        return True


class _Completing(Agent):
    """An agent whose runs do nothing but complete."""

    def _new_run(self, load: messages.LoadProgram, makers: tuple[DeviceMaker, ...]) -> AgentRun:
        assert self.segment is not None
        return _CompletingRun(
            self.segment,
            load,
            self.welcome,
            makers,
            now=time.monotonic_ns,
            fence=full_fence,
            log=lambda *_: None,
        )


def _start(daemon: Daemon, config: DaemonConfig) -> _Still:
    request = messages.RunScenario(
        request=1,
        protocol_version=messages.PROTOCOL_VERSION,
        program=one_page(config.agents),
        discipline="clear_flush",
        instances=1,
        seed=1,
        history=str(config.logs),
    )
    discipline = DISCIPLINES[request.discipline]
    router = daemon.devices.router
    run = _Still(config, daemon.segment, router, request, discipline, RIGHT, 1, b"", daemon.faults)
    daemon.start(run)
    return run


def _config(folder: Path, agents: int) -> DaemonConfig:
    folder.mkdir()
    return DaemonConfig(
        directory=folder,
        logs=folder,
        name="benchmark",
        token="benchmark",  # noqa: S106 - the folder is ours alone
        segment=f"shootdown-benchmark-{folder.name}-{os.getpid()}",
        agents=agents,
        frames=1024,
        board_words=4096,
        instances_per_batch=1,
        atc_entries=Testbed("benchmark", agents).atc_entries,
        heartbeat_limit_ms=60_000,
    )


class _NoLog:
    """Keeps nothing of what an agent says."""

    def info(self, event: str, **fields: object) -> None:
        """Forget it."""

    def flush(self) -> None:
        """Have nothing to write."""


def _agent(kind: type[Agent], config: DaemonConfig, number: int, core: int) -> None:
    pin(core)
    agent = kind(AgentConfig(config.device_endpoint, f"agent{number}", config.token), _NoLog())
    agent.serve()


# The floor

_encode = msgspec.msgpack.Encoder().encode


@contextmanager
def _bare(endpoint: str, agents: int) -> Iterator[Callable[[], None]]:
    """A ROUTER with its DEALERs; gives what makes one exchange with all of them."""
    decode = msgspec.msgpack.Decoder(messages.InvalidateCompletion).decode
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.LINGER, 1000)
        router.bind(endpoint)
        names = [router.recv_multipart()[0] for _ in range(agents)]
        sequence = 0

        def exchange() -> None:
            nonlocal sequence
            for name in names:
                address = ats_range.encode(VA, PAGE_SIZE)
                request = messages.InvalidateRequest(0, 0, PASID, address, 0, 0)
                message = messages.Invalidate(sequence, (request,))
                router.send_multipart([name, _encode(message)])
            sequence += 1
            waiting = set(names)
            while waiting:
                name, data = router.recv_multipart()
                if decode(data).completions[0].itags == 1:
                    waiting.remove(name)

        yield exchange
        for name in names:
            router.send_multipart([name, END])


def _bare_agent(endpoint: str, number: int, core: int | None) -> None:
    if core is not None:
        pin(core)
    daemon = os.getppid()
    decode = msgspec.msgpack.Decoder(messages.Invalidate).decode
    cached: dict[tuple[int, int], int] = {}
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.RECONNECT_IVL, 1)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.RCVTIMEO, SILENT_MS)
        dealer.connect(endpoint)
        dealer.send(_encode(number))
        sequence = 0
        while True:
            try:
                data = dealer.recv()
            except zmq.Again:
                if os.getppid() != daemon:
                    return
                continue
            if data == END:
                return
            request = decode(data).requests[0]
            cached.pop((request.pasid, request.address >> PAGE_SHIFT), None)
            completion = messages.ItagCompletion(request.device, 1 << request.itag, 1)
            dealer.send(_encode(messages.InvalidateCompletion(sequence, (completion,))))
            sequence += 1
