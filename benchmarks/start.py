"""From command to testbed: `shootdown up` against bare Python processes that import pyzmq."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.measure import Effort, Row, children, fork, in_child, seconds

AGENTS = 2
TARGET = 1.5
NAME = "benchmark"
TESTBED = f"agents = {AGENTS}\n"
_SCRIPT = Path(sys.executable).with_name("shootdown")
SHOOTDOWN = [str(_SCRIPT)] if _SCRIPT.is_file() else [sys.executable, "-m", "shootdown_cli.main"]
MS = 1e3


def rows(effort: Effort) -> Iterator[Row]:
    """The whole command, and the part of it that begins with the first fork."""
    commands: list[float] = []
    bare: list[float] = []
    inner: list[float] = []
    forks: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "testbed.toml").write_text(TESTBED)
        for _ in range(effort.rounds):
            bare.append(seconds(_bare_processes) * MS)
            commands.append(_up(folder) * MS)
            forks.append(in_child(_bare_forks) * MS)
            inner.append(in_child(partial(_start, folder)) * MS)
    yield Row(
        "start",
        f"up, {AGENTS} agents / {1 + AGENTS} bare processes",
        commands,
        bare,
        "ms",
        TARGET,
    )
    yield Row("start", f"fork to ready / {1 + AGENTS} bare forks", inner, forks, "ms")


def _bare_processes() -> None:
    command = [sys.executable, "-c", "import zmq"]
    processes = [subprocess.Popen(command) for _ in range(1 + AGENTS)]
    assert not any(process.wait() for process in processes)


def _up(folder: Path) -> float:
    run = _in_folder(folder)
    up = [*SHOOTDOWN, "up", "testbed.toml", "--name", NAME]
    try:
        return seconds(lambda: run(up))
    finally:
        run([*SHOOTDOWN, "down", "--on", NAME])


def _in_folder(folder: Path) -> Callable[[list[str]], object]:
    env = {**os.environ, "SHOOTDOWN_RUNTIME_DIR": str(folder / "live")}
    return partial(subprocess.run, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)


def _bare_forks() -> float:
    """Fork as many processes, each of which says that it is there; gives seconds."""

    def forks(pids: list[int]) -> None:
        reader, writer = os.pipe()
        pids += [fork(partial(os.write, writer, b"+")) for _ in range(1 + AGENTS)]
        told = 0
        while told < len(pids):
            told += len(os.read(reader, len(pids)))

    with children() as pids:
        return seconds(partial(forks, pids))


def _start(folder: Path) -> float:
    """Start a testbed from a process that has imported all that it needs; gives seconds."""
    from shootdown_cli.testbed import start  # noqa: PLC0415 - imported in a child, as a command is
    from shootdown_verify.testbed import load_testbed  # noqa: PLC0415 - as above

    os.environ["SHOOTDOWN_RUNTIME_DIR"] = str(folder / "live")
    testbed = load_testbed(folder / "testbed.toml")
    logs = folder / "logs"
    started = []
    took = seconds(
        lambda: started.append(start(testbed, NAME, logs, pids_file=folder / "pids.json"))
    )
    for processes in started:
        processes.end(0.0)
    return took
