"""Testbed files: how many agents there are, how they are reached, and how large things are.

A testbed never names a scenario, and a scenario never names an agent: an instance's number
decides which agent serves which of its devices, so placement cannot change a verdict. Units
are the last word of a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Final, Literal

import msgspec

from shootdown_protocol.board import AGENTS_MAX
from shootdown_protocol.device_options import DEVICE_OPTIONS, OFF, ON, expected, takes
from shootdown_protocol.layout import FRAMES_MAX
from shootdown_protocol.limits import (
    AGENT_PATIENCE,
    ATC_ENTRIES_MAX,
    HEARTBEAT_MS_MAX,
    SLOTS_MAX,
)
from shootdown_verify.source import Source, SourceError, Span, nearest, one_of, quote
from shootdown_verify.toml_text import read_text, read_toml, toml_seen

Transport = Literal["ipc", "tcp"]
_TRANSPORTS: Final = ("ipc", "tcp")
_FRAMES_MIN: Final = 256
_INSTANCES_MAX: Final = SLOTS_MAX // 2
"""Two batches have slots at a time: one that runs, one that is made ready."""
_HEARTBEATS_MIN: Final = 2
"""Heartbeats that must fit into the limit, so that one late beat is no death."""


class TestbedError(SourceError):
    """A testbed file is wrong: it names the place, what was seen, and what was expected."""

    __test__: ClassVar[bool] = False  # the name is the field's; it is no test class


class Testbed(msgspec.Struct, frozen=True):
    """A daemon, its agents and the memory they share, as a file describes them.

    ``frames`` is the size of physical memory in 4 KiB frames, a power of two.
    ``instances_per_batch`` run between two points where all caches are drained; at most
    ``window`` of them are in flight at once. ``walk_by_level`` makes a table walk one step a
    level. An agent that shows no sign of life for ``heartbeat_limit_ms`` is taken for dead, the
    daemon by its agents after `AGENT_PATIENCE` times as long, and so is an agent that has not
    completed an invalidation in ``completion_timeout_ms``; a batch that is not over after
    ``drain_timeout_ms`` has failed. ``device`` are options as a scenario says
    them (`device_options`); what a scenario says goes before. Without ``shared_memory`` its agents
    translate and access by messages, as those of other hosts do.
    """

    __test__: ClassVar[bool] = False  # as above

    name: str
    agents: int
    transport: Transport = "ipc"
    frames: int = 16_384
    instances_per_batch: int = 256
    window: int = 64
    iotlb: bool = True
    atc_entries: int = 8192
    walk_by_level: bool = False
    shared_memory: bool = True
    heartbeat_ms: int = 200
    heartbeat_limit_ms: int = 2000
    completion_timeout_ms: int = 5000
    drain_timeout_ms: int = 30_000
    device: Mapping[str, str] = {}


class _Bounds(msgspec.Struct, frozen=True):
    """Numbers that a key takes, both ends included; ``unit`` is what it counts."""

    low: int
    high: int
    unit: str
    power_of_two: bool = False

    def takes(self, value: object) -> bool:
        """Whether a TOML value is one of them."""
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and not (self.power_of_two and value & (value - 1))

    def __str__(self) -> str:
        power = ", a power of two" if self.power_of_two else ""
        return f"{self.low} to {self.high} {self.unit}{power}"


_BOUNDS: Final = {
    "agents": _Bounds(1, AGENTS_MAX, "agents"),
    "frames": _Bounds(_FRAMES_MIN, FRAMES_MAX, "frames of 4 KiB", power_of_two=True),
    "instances_per_batch": _Bounds(1, _INSTANCES_MAX, "instances"),
    "window": _Bounds(1, _INSTANCES_MAX, "instances in flight"),
    "atc_entries": _Bounds(1, ATC_ENTRIES_MAX, "entries"),
    "heartbeat_ms": _Bounds(10, HEARTBEAT_MS_MAX, "milliseconds"),
    "heartbeat_limit_ms": _Bounds(20, HEARTBEAT_MS_MAX // AGENT_PATIENCE, "milliseconds"),
    "completion_timeout_ms": _Bounds(10, HEARTBEAT_MS_MAX, "milliseconds"),
    "drain_timeout_ms": _Bounds(100, HEARTBEAT_MS_MAX, "milliseconds"),
}
_SWITCHES: Final = ("iotlb", "walk_by_level", "shared_memory")
_TABLE: Final = "device"
_KEYS: Final = tuple(name for name in Testbed.__struct_fields__ if name != "name")

assert {*_BOUNDS, *_SWITCHES, "transport", _TABLE} == set(_KEYS)


def load_testbed(path: str | Path) -> Testbed:
    """Read a testbed file; its stem is the testbed's name.

    Raises `TestbedError` for anything wrong in it and `OSError` if it cannot be read.
    """
    return parse_testbed(read_text(path, TestbedError), path)


def parse_testbed(text: str, path: str | Path) -> Testbed:
    """Read the text of a testbed file; raises `TestbedError`, and nothing else."""
    source = Source(str(path), text)
    values = read_toml(source, TestbedError)
    for key, value in values.items():
        _check(source, key, value)
    if "agents" not in values:
        wanted = f"'agents', {_BOUNDS['agents']}"
        raise TestbedError(source, Span(1, 1), seen="no key 'agents'", expected=wanted)
    values[_TABLE] = _device_options(source, values.get(_TABLE, {}))
    testbed = Testbed(name=Path(path).stem, **values)
    _check_relations(source, testbed)
    return testbed


def _check(source: Source, key: str, value: object) -> None:
    if key not in _KEYS:
        hint = nearest(key, _KEYS)
        raise TestbedError(
            source,
            _place(source, key),
            seen=f"key {quote(key)}",
            expected=f"a key of a testbed ({one_of(_KEYS)})",
            nearest=hint,
        )
    wanted, right = _what_is_right(key)
    if not right(value):
        hint = nearest(value, _TRANSPORTS) if key == "transport" and type(value) is str else ""
        raise TestbedError(
            source,
            _place(source, key),
            seen=toml_seen(key, value),
            expected=wanted,
            nearest=hint,
        )


def _device_options(source: Source, table: Mapping[str, object]) -> dict[str, str]:
    """Read the options of devices: words in quotes, numbers without, a switch as true or false."""
    told: dict[str, str] = {}
    for option, value in table.items():
        if option not in DEVICE_OPTIONS:
            raise TestbedError(
                source,
                _option_place(source, option),
                seen=f"option {quote(option)}",
                expected=f"an option of devices ({one_of(DEVICE_OPTIONS)})",
                nearest=nearest(option, DEVICE_OPTIONS),
            )
        word = (ON if value else OFF) if isinstance(value, bool) else str(value)
        if not takes(option, word):
            raise TestbedError(
                source,
                _option_place(source, option),
                seen=toml_seen(option, value),
                expected=expected(option),
            )
        told[option] = word
    return told


def _what_is_right(key: str) -> tuple[str, Callable[[object], bool]]:
    """Say what a key takes, in words and as a test."""
    if key == "transport":
        return one_of(_TRANSPORTS), lambda value: value in _TRANSPORTS
    if key == _TABLE:
        return "a table of options", lambda value: isinstance(value, dict)
    if key in _SWITCHES:
        return "true or false", lambda value: isinstance(value, bool)
    bounds = _BOUNDS[key]
    return str(bounds), bounds.takes


def _check_relations(source: Source, testbed: Testbed) -> None:
    if testbed.window > testbed.instances_per_batch:
        raise TestbedError(
            source,
            _place(source, "window"),
            seen=f"a window of {testbed.window}",
            expected=f"at most instances_per_batch, {testbed.instances_per_batch} instances",
        )
    least = _HEARTBEATS_MIN * testbed.heartbeat_ms
    if testbed.heartbeat_limit_ms < least:
        raise TestbedError(
            source,
            _place(source, "heartbeat_limit_ms"),
            seen=f"a heartbeat limit of {testbed.heartbeat_limit_ms} ms",
            expected=f"at least {_HEARTBEATS_MIN} heartbeats, {least} ms",
        )


def _place(source: Source, key: str) -> Span:
    """Find the line that gives a key; the reader of TOML does not say. Else the first."""
    pattern = re.compile(rf"^\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    for number, line in enumerate(source.text.split("\n"), start=1):
        if pattern.match(line):
            return Span(number, line.index(key) + 1, len(key))
    return Span(1, 1)


def _option_place(source: Source, option: str) -> Span:
    """Find an option of devices, which may stand in the middle of a line."""
    pattern = re.compile(rf"(?<![\w-]){re.escape(option)}(?=[\"']?\s*=)")
    for number, line in enumerate(source.text.split("\n"), start=1):
        if found := pattern.search(line):
            return Span(number, found.start() + 1, len(option))
    return _place(source, _TABLE)
