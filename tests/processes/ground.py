"""A place of its own for testbeds of one test, and proof that nothing of them is left.

Everything waits for conditions with a deadline; nothing sleeps for a time that was guessed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from shootdown_cli.client import ControlClient
from shootdown_protocol.messages import StatusReply

T = TypeVar("T")

WAIT_S = 25.0
"""Longest wait for anything: several times what it takes on two busy cores."""
PROGRAM = (sys.executable, "-m", "shootdown_cli.main")
"""How the command is called."""
LEAK_S = 8.0
"""How long processes whose command was killed may take to end by themselves."""

TESTBED = """\
agents = {agents}
frames = {frames}
instances_per_batch = {instances_per_batch}
window = {window}
heartbeat_ms = 100
heartbeat_limit_ms = {heartbeat_limit_ms}
shared_memory = {shared_memory}
"""


def until(condition: Callable[[], T], what: str, wait_s: float = WAIT_S) -> T:
    """Wait until a condition holds and give what it gave; fails when it does not come to hold."""
    deadline = time.monotonic() + wait_s
    while True:
        held = condition()
        if held:
            return held
        assert time.monotonic() < deadline, f"not within {wait_s:.0f} s: {what}"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


class Command:
    """A shootdown command that runs beside the test."""

    def __init__(self, words: tuple[str, ...], process: subprocess.Popen[str], out: Path) -> None:
        """Keep what was started."""
        self.words = words
        self.process = process
        self.out = out

    @property
    def testbed(self) -> str:
        """Name of the testbed that a `run` starts for itself."""
        return f"run-{self.process.pid}"

    def pids(self) -> dict[str, int]:
        """Processes of the testbed by name, from the moment that they exist."""
        path = self.out / "latest" / "pids.json"
        until(path.exists, f"{path} is there")
        told = json.loads(path.read_text())
        return {"daemon": told["daemon"], **told["agents"]}

    def end(self, wait_s: float = WAIT_S) -> Ended:
        """Wait for its end."""
        try:
            output, errors = self.process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, errors = self.process.communicate()
            message = f"{' '.join(self.words)}: no end within {wait_s:.0f} s\n{output}{errors}"
            raise AssertionError(message) from None
        return Ended(self.process.returncode, output, errors)

    def signal(self, number: signal.Signals) -> None:
        """Send the command itself a signal."""
        self.process.send_signal(number)


class Ended:
    """How a command ended: exit status and what it wrote."""

    def __init__(self, status: int, output: str, errors: str) -> None:
        """Keep the three."""
        self.status = status
        self.output = output
        self.errors = errors

    @property
    def told(self) -> dict[str, Any]:
        """The one JSON object that ``--json`` prints."""
        (line,) = self.output.splitlines()
        told: dict[str, Any] = json.loads(line)
        return told

    def __str__(self) -> str:
        return f"status {self.status}\n{self.output}\n{self.errors}"


class Ground:
    """Runtime folder, output folder and environment of one test."""

    def __init__(self) -> None:
        """Make a folder whose path is short, for sockets lie in it."""
        self.root = Path(tempfile.mkdtemp(prefix="sd-"))
        self.runtime = self.root / "rt"
        self.out = self.root / "out"
        self.env = {**os.environ, "SHOOTDOWN_RUNTIME_DIR": str(self.runtime)}
        self.commands: list[Command] = []
        self.names: dict[str, str] = {}

    # Commands

    def name(self, name: str) -> str:
        """A testbed's name of which there is one on the whole machine, as segments need.

        From now on commands and questions that say the short name mean it.
        """
        return self.names.setdefault(name, name + self.root.name.removeprefix("sd"))

    def start(
        self,
        *words: str,
        program: tuple[str, ...] = PROGRAM,
        **options: Any,  # noqa: ANN401 - Popen's own
    ) -> Command:
        """Start a command; ``program`` is what obeys the words."""
        words = tuple(self.names.get(word, word) for word in words)
        process = subprocess.Popen(
            [*program, *words],
            env=self.env,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        command = Command(words, process, self.out)
        self.commands.append(command)
        self.names[command.testbed] = command.testbed
        return command

    def do(self, *words: str, wait_s: float = WAIT_S, **options: Any) -> Ended:  # noqa: ANN401
        """Run a command to its end."""
        return self.start(*words, **options).end(wait_s)

    def run(self, scenario: str, *words: str, instances: int = 300) -> Ended:
        """``shootdown run --json`` on a small testbed, if no other is named."""
        return self.start_run(scenario, *words, instances=instances).end()

    def start_run(self, scenario: str, *words: str, instances: int = 10**6) -> Command:
        """The same, beside the test; with so many instances it does not end by itself."""
        if not {"--testbed", "--on"} & set(words):
            words = (*words, "--testbed", str(self.testbed()))
        number = str(instances)
        return self.start("run", scenario, *words, "--json", "--instances", number)

    def up(
        self, name: str = "one", *words: str, agents: int = 1, shared_memory: bool = True
    ) -> dict[str, Any]:
        """``shootdown up --json`` a small testbed."""
        self.name(name)
        shared = "true" if shared_memory else "false"
        testbed = str(self.testbed(agents=agents, shared_memory=shared))
        ended = self.do("up", testbed, "--name", name, "--json", *words)
        assert ended.status == 0, str(ended)
        return ended.told

    def testbed(self, **changes: int | str) -> Path:
        """A file that describes a small testbed, quick to notice a death."""
        usual = {
            "agents": 1,
            "frames": 4096,
            "instances_per_batch": 64,
            "window": 16,
            "heartbeat_limit_ms": 2000,
            "shared_memory": "true",
        }
        name = "-".join(f"{key}{value}" for key, value in changes.items()) or "small"
        path = self.root / f"{name}.toml"
        path.write_text(TESTBED.format(**{**usual, **changes}))
        return path

    # Looking

    def folder(self, name: str) -> Path:
        """Runtime folder of a testbed."""
        return self.runtime / self.names.get(name, name)

    def status(self, name: str) -> StatusReply:
        """What a live testbed says of its processes."""
        with ControlClient(f"ipc://{self.folder(name) / 'control'}") as client:
            return client.status()

    def counter(self, name: str, counter: str) -> int:
        """A counter of a testbed's daemon; 0 when there is none."""
        return self.status(name).processes[0].counters.get(counter, 0)

    def processes(self) -> dict[int, str]:
        """Processes alive that were started from here, directly or not."""
        mark = f"SHOOTDOWN_RUNTIME_DIR={self.runtime}\0".encode()
        return dict(_processes_with(mark))

    def segments(self) -> list[str]:
        """Shared memory of testbeds that were started from here."""
        prefixes = tuple(f"shootdown-{name}-" for name in self.names.values())
        return [name for name in os.listdir("/dev/shm") if name.startswith(prefixes)]  # noqa: S108, PTH208

    def leftovers(self) -> list[str]:
        """Folders of testbeds that have not been removed."""
        return sorted(os.listdir(self.runtime)) if self.runtime.exists() else []  # noqa: PTH208

    def wait_for_silence(self) -> None:
        """Wait until no process is left."""
        until(lambda: not self.processes(), f"no process is left: {self.processes()}", LEAK_S)

    # The end

    def close(self) -> list[str]:
        """End and remove what is left; gives what that was, which is nothing if all went well."""
        left = [f"{c.words} runs" for c in self.commands if c.process.poll() is None]
        deadline = time.monotonic() + (0.0 if left else LEAK_S)
        while (processes := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid, what in processes.items():
            left.append(f"process {pid}: {what}")
            os.kill(pid, signal.SIGKILL)
        for command in self.commands:
            command.process.wait()
            for stream in (command.process.stdout, command.process.stderr):
                assert stream is not None
                stream.close()
        left += [f"folder {name}" for name in self.leftovers()]
        for segment in self.segments():
            left.append(f"shared memory {segment}")
            (Path("/dev/shm") / segment).unlink()  # noqa: S108
        shutil.rmtree(self.root, ignore_errors=True)
        return left


def _processes_with(mark: bytes) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in environment + b"\0" and is_alive(int(folder.name)):
            yield int(folder.name), command.replace(b"\0", b" ").decode(errors="replace")


def ground() -> Iterator[Ground]:
    """Give a test its ground, and fail it if anything is left there."""
    made = Ground()
    try:
        yield made
    finally:
        left = made.close()
    assert left == [], f"left behind: {left}"
