"""Every decoder of what comes from outside, as a function of bytes for a fuzzer.

A target takes any bytes and returns; what it raises beyond its decoder's own error is a bug. Its
seeds are what a right peer would send, so that a fuzzer need not find the form of it by chance.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.litmus.texts import MINIMAL, SCENARIOS, read
from tests.protocol.samples import GOLDEN
from tests.protocol.wire import DECODERS, KINDS, Decoder

from shootdown_protocol.errors import HistoryError, RemoteProtocolError, SegmentError
from shootdown_protocol.history import AnyRecord, Ended, Stamped, Step, Synced
from shootdown_protocol.history_file import HistoryWriter, read_history
from shootdown_protocol.layout import Layout
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.segment import Segment
from shootdown_verify.fault_plan import FaultPlanError, Names, parse_plan
from shootdown_verify.litmus import ScenarioError
from shootdown_verify.replay_file import (
    Replay,
    ReplayError,
    ReplayStep,
    digest_of,
    parse_replay,
    render_replay,
)
from shootdown_verify.testbed import TestbedError, parse_testbed

CONFIGS = Path(__file__).parents[2] / "configs"
SHARED = Path("/dev/shm")  # noqa: S108 - where segments are, under a name of this process
SEGMENT = f"shootdown-fuzz-{os.getpid()}"
PAGE_BYTES = 4096


class Target(NamedTuple):
    """One decoder; ``seeds`` are bytes that it takes."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


def _message(decode: Decoder, data: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode(data)


def _text(parse: Callable[[str], object], error: type[Exception], data: bytes) -> None:
    with suppress(error):
        parse(data.decode(errors="replace"))


def _history(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".history") as file:
        file.write(data)
        file.flush()
        with suppress(HistoryError):
            deque(read_history(Path(file.name)), maxlen=0)


def _segment(data: bytes) -> None:
    path = SHARED / SEGMENT
    path.write_bytes(data)
    try:
        with suppress(SegmentError):
            Segment.attach(SEGMENT).close()
    finally:
        path.unlink()


def _a_history() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.history"
        with HistoryWriter(path, "daemon", buffer_records=2) as writer:
            records: tuple[AnyRecord, ...] = (Step("a", "b", 0, "c"), Synced(1), Ended(0))
            for number, record in enumerate(records):
                writer.append(Stamped(number, number + 1, number, 7, "DEV0", record))
        return path.read_bytes()


def _a_segment() -> bytes:
    return bytes(PlainSegment(Layout(256, 1024, 1)).words.cast("B"))[:PAGE_BYTES]


def _a_replay() -> bytes:
    steps = (ReplayStep("CPU0", "alloc_page", 1), ReplayStep("DEV0", "load", 1))
    return render_replay(
        Replay(
            version="0.1.0",
            scenario="small",
            digest=digest_of(MINIMAL),
            discipline="range_end",
            device="",
            seed=1,
            verdict="S2 stale-read",
            outcome="DEV0:r0=0",
            text=MINIMAL,
            steps=steps,
        )
    ).encode()


def _shipped(kind: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((CONFIGS / kind).glob("*.toml")))


def _plan(text: str) -> object:
    return parse_plan(text, "fuzz.toml", Names(("wp_page_copy.set_pte_at",), ("CPU0", "CPU1")))


def targets() -> dict[str, Target]:
    """Every target by name."""
    messages = [
        Target(
            f"{plane.value}-{direction.value}".replace(" ", "-"),
            partial(_message, decode),
            tuple(bytes.fromhex(data) for sent, data in GOLDEN if KINDS[type(sent)].plane is plane),
        )
        for (plane, direction), decode in DECODERS.items()
    ]
    scenarios = tuple(path.read_bytes() for path in SCENARIOS)
    files = [
        Target("scenario", partial(_text, read, ScenarioError), scenarios),
        Target("testbed", partial(_text, _testbed, TestbedError), _shipped("testbeds")),
        Target("fault-plan", partial(_text, _plan, FaultPlanError), _shipped("faults")),
        Target("replay", partial(_text, _replay, ReplayError), (_a_replay(),)),
        Target("history", _history, (_a_history(),)),
        Target("segment", _segment, (_a_segment(),)),
    ]
    return {target.name: target for target in (*messages, *files)}


def planted(data: bytes) -> None:
    """A decoder with a bug that a fuzzer must find."""
    if data[:2] == b"SH":
        message = "planted by the test"
        raise ValueError(message)


def _testbed(text: str) -> object:
    return parse_testbed(text, "fuzz.toml")


def _replay(text: str) -> object:
    return parse_replay(text, "fuzz.replay")
