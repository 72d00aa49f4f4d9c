"""Starts and ends the processes of a testbed: one daemon and its agents, forked from here.

What a child needs to be ready is imported before its fork, so that a testbed is there in
milliseconds; no ZeroMQ context exists yet at that moment, for one does not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shootdown_cli import places
from shootdown_cli.places import TestbedRecord
from shootdown_daemon.shell.config import DaemonConfig, RemotePlane
from shootdown_daemon.shell.log import ProcessLog
from shootdown_verify.testbed import Testbed

if TYPE_CHECKING:
    from shootdown_device_agent.shell.config import AgentConfig
    from shootdown_protocol.faults import Fault

LOST_S = 1.0
"""How long the others may take to notice, beyond the heartbeat limit, that one has died."""
READY_S = 20.0
"""How long a testbed may take to be ready."""
LOOK_S = 0.05
"""How often the processes are looked at meanwhile."""
END_S = 15.0
"""How long its processes may take to end once asked."""
LAST_LINES = 3
"""How many lines of each process are shown when the testbed has failed."""
FAILED = 0xFF
"""What a process tells that could not start; an agent that is ready tells its number."""


class TestbedFailed(Exception):  # noqa: N818 - the noun of the exit status
    """The testbed itself failed (exit status 4)."""

    __test__ = False


class Processes:
    """The processes of one testbed that this process has started."""

    def __init__(self, record: TestbedRecord, logs: Path) -> None:
        """Start with none."""
        self.record = record
        self.logs = logs
        self.pids: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.killed: set[str] = set()
        self.heartbeat_limit_ms = 0

    def look(self) -> dict[str, int]:
        """See which have ended; gives all that have, with their wait status."""
        for name in self.alive:
            with contextlib.suppress(ChildProcessError):
                done, status = os.waitpid(self.pids[name], os.WNOHANG)
                if done:
                    self.ended[name] = status
        return self.ended

    @property
    def notice_s(self) -> float:
        """How long the others may take to notice that one has died or hangs, and to say so."""
        return self.heartbeat_limit_ms / 1000 + LOST_S

    @property
    def alive(self) -> list[str]:
        """Names of the processes that have not ended."""
        return [name for name in self.pids if name not in self.ended]

    def end(self, patience_s: float = END_S) -> None:
        """Wait until all have ended; kill what does not, by pid; remove what they left."""
        if self.look():
            patience_s = min(patience_s, self.notice_s)
        deadline = time.monotonic() + patience_s
        asked = False
        while self.alive:
            self.look()
            if not self.alive:
                break
            if time.monotonic() > deadline:
                for name in self.alive:
                    number = signal.SIGKILL if asked else signal.SIGTERM
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.pids[name], number)
                    self.killed.add(name)
                asked = True
                deadline = time.monotonic() + 2.0
            time.sleep(0.002)
        places.remove(self.record.path)

    def describe(self) -> str:
        """How the ended processes ended, in words."""
        return ", ".join(
            f"{name} {'did not end and was killed' if name in self.killed else _how(status)}"
            for name, status in sorted(self.ended.items())
        )


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with status {os.waitstatus_to_exitcode(status)}"


def daemon_config(
    testbed: Testbed,
    record: TestbedRecord,
    logs: Path,
    owner: int | None,
    faults: tuple[Fault, ...] = (),
    remote: RemotePlane | None = None,
    *,
    starts_agents: bool = False,
) -> DaemonConfig:
    """A daemon's settings from a testbed file; ``starts_agents``: its agents are of its host."""
    own = ("--on", record.name, "--logs", str(logs.resolve()), "--name")
    agent_command = (sys.executable, "-m", "shootdown_cli.main", "agent", *own)
    return DaemonConfig(
        directory=record.path,
        logs=logs,
        name=record.name,
        token=record.token,
        segment=record.segment,
        agents=testbed.agents,
        frames=testbed.frames,
        instances_per_batch=testbed.instances_per_batch,
        window=testbed.window,
        iotlb=testbed.iotlb,
        atc_entries=testbed.atc_entries,
        walk_by_level=testbed.walk_by_level,
        heartbeat_ms=testbed.heartbeat_ms,
        heartbeat_limit_ms=testbed.heartbeat_limit_ms,
        completion_timeout_ms=testbed.completion_timeout_ms,
        drain_timeout_ms=testbed.drain_timeout_ms,
        device=testbed.device,
        owner=owner,
        faults=faults,
        remote=remote,
        agent_command=agent_command if starts_agents else (),
    )


def new_record(testbed: Testbed, name: str) -> TestbedRecord:
    """Make a testbed's folder and say in it what will be there."""
    folder = places.new_folder(name)
    token = os.urandom(16).hex()
    record = TestbedRecord(
        name=name,
        folder=str(folder),
        segment=f"shootdown-{name}-{token[:8]}",
        token=token,
        agents=testbed.agents,
        pid_namespace=places.pid_namespace(),
    )
    record.save()
    return record


def start(
    testbed: Testbed,
    name: str,
    logs: Path,
    *,
    pids_file: Path,
    stays: bool = False,
    faults: tuple[Fault, ...] = (),
    given_up: Callable[[], bool] = lambda: False,
    remote: RemotePlane | None = None,
) -> Processes:
    """Start a testbed and return when every agent has been welcomed.

    ``pids_file`` is written as soon as the processes exist. A testbed that ``stays`` outlives
    this process; any other ends with it. ``faults`` are there from the start. ``given_up`` says
    whether a person is tired of waiting.
    """
    _import_shared()
    record = new_record(testbed, name)
    processes = Processes(record, logs)
    processes.heartbeat_limit_ms = testbed.heartbeat_limit_ms
    logs.mkdir(parents=True, exist_ok=True)
    owner = None if stays else os.getpid()
    config = daemon_config(testbed, record, logs, owner, faults, remote, starts_agents=True)
    generation = time.time_ns() % (1 << 48)
    ready, tell = os.pipe()
    try:
        gc.freeze()  # What is there now stays: no collection need look at it, here or in a child.
        processes.pids["daemon"] = _fork("daemon", logs, tell, partial(_daemon, config, generation))
        # While the daemon makes the shared memory: what the children need.
        import shootdown_device_agent.shell.agent  # noqa: F401 - the agents' part
        from shootdown_device_agent.shell.config import AgentConfig

        gc.freeze()
        for number in range(testbed.agents):
            agent = f"agent{number}"
            agent_config = AgentConfig(
                config.device_endpoint,
                agent,
                record.token,
                daemon=processes.pids["daemon"],
                shared_memory=testbed.shared_memory,
            )
            main = partial(_agent, agent_config, logs, number)
            processes.pids[agent] = _fork(agent, logs, tell, main)
        os.close(tell)
        record.daemon = processes.pids["daemon"]
        record.pids = dict(processes.pids)
        record.save()
        agents = {name: pid for name, pid in processes.pids.items() if name != "daemon"}
        write_pids(pids_file, record.daemon, agents)
        _wait_ready(processes, ready, testbed.agents, given_up)
    except BaseException:
        processes.end(0.0)
        raise
    finally:
        os.close(ready)
    return processes


def _import_shared() -> None:
    """Import what daemon and agents both need, once; its own part each imports beside the other."""
    import zmq  # noqa: F401 - for those who are forked

    import shootdown_protocol.codec  # noqa: F401 - as above


def write_pids(path: Path, daemon: int, agents: dict[str, int]) -> None:
    """Write ``pids.json`` whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"daemon": daemon, "agents": agents}) + "\n")
    part.replace(path)


def _wait_ready(
    processes: Processes, ready: int, expected: int, given_up: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + READY_S
    told = b""
    while len(told) < expected:
        readable, _, _ = select.select([ready], [], [], LOOK_S)
        data = os.read(ready, 64) if readable else b""
        told += data
        if given_up():
            raise KeyboardInterrupt
        late = time.monotonic() > deadline
        stopped = _stopped(processes, told) if not readable else ""
        if stopped:
            message = f"the testbed did not start: {stopped} is stopped (SIGSTOP)"
            raise TestbedFailed(message)
        if processes.look() or FAILED in told or late or (readable and not data):
            time.sleep(LOOK_S)
            processes.look()
            slow = ", ".join(f"agent{n}" for n in range(expected) if n not in told)
            how = processes.describe() or f"{slow} not ready within {READY_S:.0f} s"
            why = f"the testbed did not start: {how}"
            raise TestbedFailed("\n  ".join((why, *last_words(processes.logs))))


def _stopped(processes: Processes, told: bytes) -> str:
    """Name of a process that is not ready and that somebody has stopped; empty for none."""
    for name, pid in processes.pids.items():
        if name.removeprefix("agent").isdigit() and int(name.removeprefix("agent")) in told:
            continue
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "T":
                return name
    return ""


def last_words(logs: Path) -> list[str]:
    """The last lines that each process has written, for a person to see why it ended."""
    lines = []
    for path in sorted(logs.glob("*.stderr")) + sorted(logs.glob("*.log")):
        text = path.read_text(errors="replace").strip().splitlines()
        lines += [f"{path.name}: {line}" for line in text[-LAST_LINES:]]
    return lines


class Teller:
    """A child's end of the pipe by which it says, once, that it is ready or has failed."""

    def __init__(self, fd: int) -> None:
        """Keep the pipe until something is said; then its number may be another file's."""
        self._fd = fd

    def tell(self, *numbers: int) -> None:
        """Say it, if nothing was said before; nobody need be listening any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.write(fd, bytes(numbers))
            os.close(fd)


def _fork(name: str, logs: Path, tell: int, main: Callable[[Teller], int]) -> int:
    """Start a process; an agent tells by one byte that it is ready, any process that it failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 4
    teller = Teller(tell)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A terminal's Ctrl-C is for the command, which ends the testbed in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()
        errors = os.open(logs / f"{name}.stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDWR)
        for target, source in ((0, null), (1, errors), (2, errors)):
            os.dup2(source, target)
        status = main(teller)
    except BaseException:  # noqa: BLE001 - the last stop of a child: it must not return
        import traceback

        traceback.print_exc()
        teller.tell(FAILED)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _daemon(config: DaemonConfig, generation: int, teller: Teller) -> int:
    from shootdown_daemon.shell.server import serve as serve_daemon

    places.hold_lock(config.directory)
    # That it is ready is told by its agents, once it has welcomed them.
    return serve_daemon(config, generation, teller.tell)


def _agent(config: AgentConfig, logs: Path, number: int, teller: Teller) -> int:
    from shootdown_device_agent.shell.agent import serve as serve_agent

    log = ProcessLog(logs, config.name)
    status = serve_agent(config, log, lambda: teller.tell(number))
    log.close()
    if status:
        teller.tell(FAILED)
    return status
