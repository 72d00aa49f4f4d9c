"""Runs a round in a process of its own, and holds what came of it against what is promised."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shootdown_cli.exits import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, EXIT_VIOLATION
from shootdown_cli.soak.drawing import Round
from shootdown_cli.soak.hostile import HostilePeer
from shootdown_protocol.errors import HistoryError
from shootdown_protocol.faults import KINDS
from shootdown_protocol.history import Injected
from shootdown_protocol.history_file import read_history

LIMIT_S: Final = 120.0
"""How long a round may take: beyond it somebody waits without limit."""
END_S: Final = 10.0
"""How long a round that is given up may take to end in order."""
LEAK_S: Final = 8.0
"""How long processes may take to end once the command has."""
FAULTY_DEVICE: Final = 6
"""The promise of which kinds that make a device lie are: their violations are wanted."""
PROTOCOL: Final = "protocol"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is on Linux
CRASHES: Final = frozenset({"daemon.crash_before", "daemon.crash_after"})
KILLS: Final = CRASHES | {"agent.kill", "agent.restart", "agent.restart_warm"}


@dataclass(slots=True)
class Outcome:
    """What came of a round; ``broken`` are the promises that were not kept, in words."""

    status: int = -1
    verdict: str = ""
    elapsed_s: float = 0.0
    broken: list[str] = field(default_factory=list)
    applied: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    resent: int = 0
    leaks: int = 0
    hung: bool = False

    def count(self, kind: str, times: int) -> None:
        """Count applications of a kind."""
        if times:
            self.applied[kind] = self.applied.get(kind, 0) + times

    @property
    def kills(self) -> int:
        """How often a process was killed by a fault."""
        return sum(times for kind, times in self.applied.items() if kind in KILLS)


def run_round(drawn: Round) -> Outcome:
    """Run a round to its end, in a place of its own, and judge it."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        place = Path(root)
        told, errors = _race(drawn, place, outcome)
        outcome.broken += _check(drawn, told, errors, outcome)
        outcome.broken += _check_histories(place, outcome, has_verdict=bool(told))
        outcome.broken += _check_leaks(place, outcome)
    return outcome


def _race(drawn: Round, place: Path, outcome: Outcome) -> tuple[dict[str, Any], str]:
    """Run the command; gives its one JSON object, and what it wrote beside it."""
    (place / "testbed.toml").write_text(drawn.testbed)
    words = ["run", drawn.scenario, "--discipline", drawn.discipline, "--json"]
    words += ["--testbed", "testbed.toml", "--instances", str(drawn.instances)]
    words += ["--seed", str(drawn.seed)]
    if drawn.device:
        words += ["--device", drawn.device]
    if drawn.faults:
        (place / "plan.toml").write_text(drawn.plan)
        words += ["--fault", "plan.toml"]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "shootdown_cli.main", *words],
        cwd=place,
        env={**os.environ, "SHOOTDOWN_RUNTIME_DIR": str(place / "rt")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peer = HostilePeer(place / "rt" / f"run-{process.pid}", drawn.seed)
    peer.start()
    try:
        output, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        outcome.hung = True
        process.kill()
        output, errors = process.communicate()
    except KeyboardInterrupt:
        _give_up(process)
        raise
    finally:
        outcome.refused = peer.end()
    outcome.elapsed_s = time.monotonic() - began
    outcome.status = process.returncode
    try:
        told = json.loads(output)
    except ValueError:
        told = {}
    return told if isinstance(told, dict) else {}, errors


def _give_up(process: subprocess.Popen[str]) -> None:
    """End a round that nobody wants any more: at once, but in order if it can."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _check(drawn: Round, told: dict[str, Any], errors: str, outcome: Outcome) -> Iterator[str]:
    kinds = {fault.kind for fault in drawn.faults}
    if outcome.hung:
        yield f"no end within {LIMIT_S:.0f} s"
        return
    if not told:
        yield f"no verdict (exit status {outcome.status}): {errors.strip()[-300:]}"
        return
    outcome.verdict = str(told["verdict"])
    outcome.resent = told["daemon"].get("invalidations_resent", 0)
    for fault in told["faults"]:
        if fault["applied"]:
            outcome.applied[fault["kind"]] = (
                outcome.applied.get(fault["kind"], 0) + fault["applied"]
            )
    may_fail = bool(kinds & CRASHES or drawn.device)
    allowed = {EXIT_OK, EXIT_VIOLATION, EXIT_INCONCLUSIVE} | ({EXIT_FAILED} if may_fail else set())
    if outcome.status not in allowed:
        yield f"exit status {outcome.status}: {told['error'] or errors.strip()[-300:]}"
    if drawn.safe and not drawn.device and not any(lies(kind) for kind in kinds):
        checks = {finding["check"] for finding in told["findings"]}
        noticed = {PROTOCOL} if any(_is_noticed(kind) for kind in kinds) else set()
        if checks - noticed:
            yield f"a violation ({', '.join(sorted(checks - noticed))}) where none can be"


def lies(kind: str) -> bool:
    """Whether a kind may show in what a device reads: it completes what was not yet done.

    So does a completion too many, or under a wrong ITag, if another request uses that ITag.
    """
    return KINDS[kind].promise == FAULTY_DEVICE or kind.endswith(("wrong_itag", "duplicate"))


def _is_noticed(kind: str) -> bool:
    """Whether a kind shows as a completion that nobody expects, or that comes twice."""
    return kind.endswith(("wrong_itag", "duplicate", "wrong_count"))


def _check_histories(place: Path, outcome: Outcome, *, has_verdict: bool) -> Iterator[str]:
    """Every history can be read, up to a tear at most; a crash left its own record there."""
    found = sorted((place / "out").glob("*/history/*.history"))
    if has_verdict and not found:
        yield "no history"
    for path in found:
        try:
            for stamped in read_history(path):
                record = stamped.record
                if isinstance(record, Injected) and record.kind in CRASHES:
                    outcome.count(record.kind, 1)
        except HistoryError as error:
            yield f"{path.name} cannot be read: {error}"


def _check_leaks(place: Path, outcome: Outcome) -> Iterator[str]:
    """No process, no folder and no shared memory is left, or the next start removes it."""
    deadline = time.monotonic() + LEAK_S
    while (left := dict(_processes(place))) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid, command in left.items():
        outcome.leaks += 1
        os.kill(pid, signal.SIGKILL)
        yield f"process {pid} is left: {command}"
    runtime = place / "rt"
    for folder in runtime.iterdir() if runtime.exists() else ():
        outcome.leaks += 1
        yield f"folder {folder.name} is left"
        for segment in SHARED_MEMORY.glob(f"shootdown-{folder.name}-*"):
            outcome.leaks += 1
            segment.unlink()
            yield f"shared memory {segment.name} is left"
        shutil.rmtree(folder, ignore_errors=True)


def _processes(place: Path) -> Iterator[tuple[int, str]]:
    """Processes that were started for a round, directly or not."""
    mark = f"SHOOTDOWN_RUNTIME_DIR={place / 'rt'}\0".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if mark not in (folder / "environ").read_bytes() + b"\0":
                continue
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            yield int(folder.name), command
