"""``shootdown doctor``: what this machine can and cannot do, each point tried, not guessed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise

import msgspec
import zmq

from shootdown_cli import places
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK
from shootdown_protocol.errors import ShootdownError
from shootdown_protocol.layout import Layout
from shootdown_protocol.segment import Segment

MEMORY_NEEDED = 128 << 20
CORES_NEEDED = 2
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - where POSIX shared memory is on Linux
NAME_BYTES_NEEDED = 24
CLOCK_STEP_NS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One point: ``needed`` ones make the doctor fail."""

    point: str
    ok: bool
    needed: bool
    seen: str


def doctor(*, as_json: bool) -> int:
    """Try every point and show what was seen."""
    findings = [check() for check in CHECKS]
    healthy = all(finding.ok or not finding.needed for finding in findings)
    if as_json:
        told = {
            "command": "doctor",
            "healthy": healthy,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(told))
    else:
        for finding in findings:
            mark = "ok  " if finding.ok else "FAIL" if finding.needed else "no  "
            print(f"{mark}  {finding.point:<28} {finding.seen}")
        print("this machine can run testbeds" if healthy else "this machine cannot run testbeds")
    return EXIT_OK if healthy else EXIT_FAILED


def _python() -> Finding:
    return Finding(
        "Python 3.11 or newer", sys.version_info >= (3, 11), True, sys.version.split()[0]
    )


def _architecture() -> Finding:
    machine = platform.machine()
    right = machine in ("x86_64", "AMD64") and sys.byteorder == "little"
    seen = f"{machine}, {sys.byteorder}-endian"
    return Finding("x86-64 (total store order)", right, True, seen)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    seen = f"{count} usable" + ("" if count >= CORES_NEEDED else ": processes race by turns only")
    return Finding("two cores", count >= CORES_NEEDED, False, seen)


def _libraries() -> Finding:
    seen = f"libzmq {zmq.zmq_version()}, pyzmq {zmq.__version__}, msgspec {msgspec.__version__}"
    return Finding("libraries", zmq.has("ipc"), True, seen)


def _shared_memory() -> Finding:
    name = f"shootdown-doctor-{os.getpid()}"
    try:
        with Segment.create(name, Layout(256, 1024, 5), 1) as segment:
            segment.unlink()
    except ShootdownError as error:
        return Finding("POSIX shared memory", False, True, str(error))
    free = shutil.disk_usage(MEMORY_FOLDER).free
    return Finding("POSIX shared memory", free >= MEMORY_NEEDED, True, f"{free >> 20} MiB free")


def _pidfd() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        return Finding("pidfd (deaths seen at once)", False, False, f"{error}: heartbeats must do")
    return Finding("pidfd (deaths seen at once)", True, False, "there")


def _runtime() -> Finding:
    try:
        root = places.runtime_root()
    except (ShootdownError, OSError) as error:
        return Finding("runtime folder", False, True, str(error))
    room = places.SOCKET_PATH_MAX - len(os.fsencode(root))
    return Finding(
        "runtime folder", room > NAME_BYTES_NEEDED, True, f"{root}, {room} bytes for names"
    )


def _clock() -> Finding:
    stamps = [time.monotonic_ns() for _ in range(2000)]
    steps = sorted({b - a for a, b in pairwise(stamps) if b > a})
    step = steps[0] if steps else 0
    return Finding("monotonic clock", 0 < step < CLOCK_STEP_NS_MAX, True, f"steps of {step} ns")


def _device(path: str, what: str) -> Callable[[], Finding]:
    def check() -> Finding:
        seen = "there" if os.access(path, os.R_OK | os.W_OK) else "absent or not permitted"
        return Finding(what, seen == "there", False, f"{path}: {seen}")

    return check


def _program(name: str, what: str) -> Callable[[], Finding]:
    def check() -> Finding:
        found = shutil.which(name)
        return Finding(what, found is not None, False, found or f"no {name} on the path")

    return check


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _architecture,
    _cores,
    _libraries,
    _shared_memory,
    _runtime,
    _pidfd,
    _clock,
    _device("/dev/kvm", "KVM (real secondary MMU)"),
    _device("/dev/userfaultfd", "userfaultfd"),
    _program("docker", "Docker"),
    _program("spin", "SPIN (comparison)"),
)
