"""JSON Lines: one event a line, decoded in blocks, so that memory holds columns and one block.

A block is decoded at once; only one with a bad line is gone through line by line, to say which.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, get_args

import msgspec
import numpy as np

from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.check.events import FENCE, LOAD, STORE
from shootdown_verify.foreign.columns import (
    NO_END,
    NO_ORDER,
    NO_START,
    Columns,
    Numbering,
    Numbers,
    Source,
    Times,
)
from shootdown_verify.source import nearest

BLOCK_BYTES: Final = 1 << 22
LINE_BYTES_MAX: Final = 1 << 20
"""A longer line is no event."""
DIGITS_MAX: Final = 4300
"""Of an integer; what decodes JSON takes no longer one."""
PEAK: Final = 5
"""How many times the columns judging takes at its peak."""
GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
"""zlib's window bits for a gzip header."""

KindName = Literal["load", "store", "fence", "init"]
_KINDS: Final = {"load": LOAD, "store": STORE, "fence": FENCE, "init": -1}
_DOUBLE_MAX: Final = 10**308 - 1
"""The largest integer of 308 digits: every one up to it is within the range of a double."""
_INT_64: Final = np.iinfo(np.int64)
_LARGE: Final = 1 << 20
"""Numbers at the lower end of int64 that stand for values beyond it."""


class Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One line; what is required depends on the kind."""

    kind: KindName
    thread: str | None = None
    location: str | None = None
    value: int | None = None
    start: int | float | None = None
    end: int | float | None = None
    order: int | None = None


_decoder = msgspec.json.Decoder(Line)
FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(Line))
_WHOLE: Final = "a JSON object with kind, thread, location, value and, if known, start, end, order"


class _BadLineError(Exception):
    """Why a line is no event."""

    def __init__(self, seen: str, expected: str) -> None:
        super().__init__(seen, expected)
        self.seen = seen
        self.expected = expected


class Part(NamedTuple):
    """Columns of one block."""

    thread: Numbers
    kind: Numbers
    location: Numbers
    value: Numbers
    order: Numbers
    start: Times
    end: Times
    line: Numbers


@dataclass(slots=True)
class _Reading:
    """Columns as they grow, block by block."""

    source: Source
    skip_bad: bool
    threads: Numbering = field(default_factory=Numbering)
    locations: Numbering = field(default_factory=Numbering)
    parts: list[Part] = field(default_factory=list)
    initial: dict[int, int] = field(default_factory=dict)
    initial_lines: dict[int, int] = field(default_factory=dict)
    large: dict[int, int] = field(default_factory=dict)
    numbers_of_large: dict[int, int] = field(default_factory=dict)
    lines: int = 0
    kept: int = 0


def read_jsonl(path: Path, *, skip_bad: bool = False) -> Columns:
    """Read a file, gzip-compressed or not; `UsageError` at the first bad line unless skipped."""
    with path.open("rb") as file:
        return read_stream(file, str(path), skip_bad=skip_bad)


def read_stream(file: BinaryIO, name: str, *, skip_bad: bool = False) -> Columns:
    """Read what is open already; ``name`` is for errors and reports."""
    reading = _Reading(Source(name), skip_bad)
    room = memory_room()
    for block, whole in _blocks(_chunks(file, reading.source)):
        _read_block(reading, block, whole=whole)
        kept = sum(array.nbytes for part in reading.parts[-1:] for array in part)
        reading.kept += kept
        if reading.kept * PEAK > room:
            reading.source.stopped_after = reading.lines
            break
    return _columns(reading)


def memory_room() -> int:
    """Bytes that judging may take: half of what the system has to give."""
    try:
        told = Path("/proc/meminfo").read_text()
    except OSError:
        return 1 << 62
    available = next((line for line in told.splitlines() if line.startswith("MemAvailable")), "")
    return int(available.split()[1]) * 1024 // 2 if available else 1 << 62


def _chunks(file: BinaryIO, source: Source) -> Iterator[bytes]:
    """What a file holds, decompressed if need be; a compressed one may end early."""
    chunk = file.read(BLOCK_BYTES)
    if not chunk.startswith(GZIP_MAGIC):
        while chunk:
            yield chunk
            chunk = file.read(BLOCK_BYTES)
        return
    unpack = zlib.decompressobj(_GZIP_WINDOW)
    while chunk:
        try:
            plain = unpack.decompress(chunk)
        except zlib.error as error:
            raise UsageError(
                ErrorCode.USAGE, seen=str(error), expected="gzip data", where=source.path
            ) from error
        if plain:
            yield plain
        chunk = unpack.unused_data or file.read(BLOCK_BYTES)
        if unpack.eof and chunk:
            unpack = zlib.decompressobj(_GZIP_WINDOW)
    source.cut_short = not unpack.eof


def _blocks(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, many at once; the last block has no newline at its end if the file has none."""
    rest = b""
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut], True
            rest = chunk[cut:]
        else:
            rest += chunk
    if rest:
        yield rest, False


def _read_block(reading: _Reading, block: bytes, *, whole: bool) -> None:
    try:
        lines = _decoder.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        lines = []
        numbers = _decode_one_by_one(reading, block, lines, whole=whole)
    else:
        count = block.count(b"\n") + (not whole)
        if count == len(lines):
            numbers = np.arange(reading.lines + 1, reading.lines + 1 + count)
        else:
            numbers = np.array(
                [n for n, text in enumerate(block.split(b"\n"), reading.lines + 1) if text.strip()]
            )
        reading.lines += count
    _take(reading, lines, numbers)


def _decode_one_by_one(
    reading: _Reading, block: bytes, lines: list[Line], *, whole: bool
) -> Numbers:
    """Decode what can be; the last line of a file without a newline may be torn."""
    numbers = []
    texts = block.split(b"\n")
    last = None if whole else len(texts) - 1
    if whole:
        texts.pop()
    for at, text in enumerate(texts):
        reading.lines += 1
        if not text.strip():
            continue
        try:
            line = _decode(text)
        except _BadLineError as bad:
            if at == last and _is_torn(text):
                reading.source.torn_bytes = len(text)
            else:
                _refuse(reading, reading.lines, bad.seen, bad.expected)
        else:
            lines.append(line)
            numbers.append(reading.lines)
    return np.array(numbers, dtype=np.int64)


def _is_torn(text: bytes) -> bool:
    """Whether a line ends before its JSON does."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return "truncated" in str(error) or isinstance(error, UnicodeDecodeError)
    return False


def _decode(text: bytes) -> Line:
    """Decode one line, or say what is wrong with it in words of the format."""
    if len(text) > LINE_BYTES_MAX:
        raise _BadLineError(f"a line of {len(text)} bytes", f"at most {LINE_BYTES_MAX}")
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        digits = max(map(len, re.findall(rb"\d+", text)), default=0)
        if "out of range" in str(error) and digits > DIGITS_MAX:
            seen = f"an integer of {digits:,} digits"
            raise _BadLineError(seen, f"one of at most {DIGITS_MAX:,}") from error
        shown = text[:60].decode(errors="backslashreplace")
        raise _BadLineError(f"{shown!r}, which is no JSON ({error})", _WHOLE) from error
    if not isinstance(found, dict):
        raise _BadLineError(f"{_named(found)}", _WHOLE)
    _explain(found)
    raise _BadLineError(problem, _WHOLE)


def _explain(found: dict[str, Any]) -> None:
    """Name the first wrong field."""
    for name in found:
        if name not in FIELDS:
            near = nearest(name, FIELDS)
            hint = f"; did you mean '{near}'?" if near else ""
            raise _BadLineError(f"a field '{name}'", f"one of {', '.join(FIELDS)}{hint}")
    kinds = get_args(KindName)
    if "kind" not in found:
        raise _BadLineError("no kind", f"one of {', '.join(kinds)}")
    if found["kind"] not in kinds:
        seen = found["kind"]
        near = nearest(seen, kinds) if isinstance(seen, str) else ""
        hint = f"; did you mean '{near}'?" if near else ""
        raise _BadLineError(f"kind {_named(seen)}", f"one of {', '.join(kinds)}{hint}")
    for name, kind, expected in (
        ("thread", str, "text"),
        ("location", str, "text"),
        ("value", int, "an integer"),
        ("start", int | float, "a number"),
        ("end", int | float, "a number"),
        ("order", int, "an integer"),
    ):
        given = found.get(name)
        if given is not None and (isinstance(given, bool) or not isinstance(given, kind)):
            raise _BadLineError(f"{name} {_named(given)}", expected)


def _named(given: object) -> str:
    return msgspec.json.encode(given)[:60].decode(errors="backslashreplace")


def _take(reading: _Reading, lines: list[Line], numbers: Numbers) -> None:
    """Turn decoded lines into arrays; those that are no event are refused or taken apart."""
    if _may_be_odd(lines) and not all(map(_is_plain, lines)):
        kept = [at for at, line in enumerate(lines) if _is_event(reading, line, int(numbers[at]))]
        lines, numbers = [lines[at] for at in kept], numbers[kept]
    if not lines:
        return
    threads, locations = reading.threads, reading.locations
    names = [line.thread for line in lines]
    places = [line.location for line in lines]
    kind = np.array([_KINDS[line.kind] for line in lines], dtype=np.int8)
    part = Part(
        thread=np.array([threads[name] for name in names], dtype=np.int32),  # type: ignore[index]
        kind=kind,
        location=np.array(
            [-1 if place is None else locations[place] for place in places], dtype=np.int32
        ),
        value=_values(reading, [line.value or 0 for line in lines]),
        order=_orders(reading, [line.order for line in lines], numbers),
        start=_times(reading, [line.start for line in lines], NO_START, numbers),
        end=_times(reading, [line.end for line in lines], NO_END, numbers),
        line=numbers,
    )
    part.location[kind == FENCE] = -1
    reading.parts.append(_in_time(reading, part))


def _may_be_odd(lines: list[Line]) -> bool:
    """Whether any line has no thread, location or value, or is an ``init``: a quick look."""
    return (
        None in [line.thread for line in lines]
        or None in [line.location for line in lines]
        or None in [line.value for line in lines]
        or "init" in [line.kind for line in lines]
    )


def _is_plain(line: Line) -> bool:
    """Whether a line is an event that lacks nothing."""
    if line.kind == "init" or line.thread is None:
        return False
    return line.kind == "fence" or (line.location is not None and line.value is not None)


def _is_event(reading: _Reading, line: Line, number: int) -> bool:
    """Whether a line is an event; an ``init`` is taken, a bad line refused."""
    if _is_plain(line):
        return True
    needed = ["location", "value"] if line.kind in {"load", "store", "init"} else []
    needed += ["thread"] if line.kind != "init" else []
    missing = [name for name in needed if getattr(line, name) is None]
    if missing:
        article = "an" if line.kind == "init" else "a"
        seen = f"{article} {line.kind} without {' and '.join(missing)}"
        _refuse(reading, number, seen, _WHOLE)
    elif line.location is not None and line.value is not None:
        _take_initial(reading, line.location, line.value, number)
    return False


def _take_initial(reading: _Reading, location: str, value: int, number: int) -> None:
    place = reading.locations[location]
    kept = int(_values(reading, [value])[0])
    if reading.initial.setdefault(place, kept) != kept:
        first = reading.initial_lines[place]
        expected = f"one initial value, and line {first} gave another"
        _refuse(reading, number, f"init of '{location}' with {value}", expected)
    reading.initial_lines.setdefault(place, number)


def _values(reading: _Reading, values: list[int]) -> Numbers:
    """Values as int64; those beyond it are numbered at its lower end."""
    try:
        array = np.array(values, dtype=np.int64)
        if int(array.min()) >= _INT_64.min + _LARGE:
            return array
    except OverflowError:
        pass
    return np.array([_value(reading, value) for value in values], dtype=np.int64)


def _value(reading: _Reading, value: int) -> int:
    if _INT_64.min + _LARGE <= value <= _INT_64.max:
        return value
    if value not in reading.numbers_of_large:
        stands = _INT_64.min + len(reading.large)
        reading.numbers_of_large[value] = stands
        reading.large[stands] = value
    return reading.numbers_of_large[value]


def _orders(reading: _Reading, orders: list[int | None], numbers: Numbers) -> Numbers:
    try:
        return np.array([NO_ORDER if order is None else order for order in orders], dtype=np.int64)
    except OverflowError:
        kept: list[int] = []
        for order, number in zip(orders, numbers, strict=True):
            if order is not None and not NO_ORDER < order <= _INT_64.max:
                _refuse(reading, int(number), f"order {order}", "an integer of 64 bits")
                kept.append(NO_ORDER)
            else:
                kept.append(NO_ORDER if order is None else order)
        return np.array(kept, dtype=np.int64)


def _times(
    reading: _Reading, times: list[int | float | None], missing: int, numbers: Numbers
) -> Times:
    """Times as int64, or as float64 where one is no integer of 64 bits."""
    filled = [missing if time is None else time for time in times]
    if float not in set(map(type, filled)):
        try:
            return np.array(filled, dtype=np.int64)
        except OverflowError:
            pass
    try:
        return np.array(filled, dtype=np.float64)
    except OverflowError:
        for at, (time, number) in enumerate(zip(filled, numbers.tolist(), strict=True)):
            if isinstance(time, int) and abs(time) > _DOUBLE_MAX:
                seen = f"a time of {len(str(abs(time))):,} digits"
                _refuse(reading, number, seen, "a number of at most 308 digits")
                filled[at] = missing
        return np.array(filled, dtype=np.float64)


def _in_time(reading: _Reading, part: Part) -> Part:
    """A part without the events that ended before they began."""
    reversed_ = np.flatnonzero(part.end < part.start)
    if not len(reversed_):
        return part
    for at in reversed_:
        seen = f"end {part.end[at]} before start {part.start[at]}"
        _refuse(reading, int(part.line[at]), seen, "an end at or after the start")
    kept = np.ones(len(part.kind), dtype=np.bool_)
    kept[reversed_] = False
    return Part(*(array[kept] for array in part))


def _refuse(reading: _Reading, number: int, seen: str, expected: str) -> None:
    """Raise for a bad line, or count it where bad lines are to be skipped."""
    source = reading.source
    where = f"{source.path}, line {number}"
    if not reading.skip_bad:
        raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where=where)
    source.skipped += 1
    source.first_skipped = source.first_skipped or f"line {number}: saw {seen}; expected {expected}"


def _columns(reading: _Reading) -> Columns:
    """Put the parts together, and look at what only the whole shows: orders given twice."""
    empty = np.zeros(0, dtype=np.int64)
    parts = reading.parts or [Part(*([empty] * len(Part._fields)))]
    whole = Part(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    reading.parts.clear()
    whole = _with_single_orders(reading, whole)
    columns = Columns(
        reading.source,
        list(reading.threads),
        list(reading.locations),
        *whole,
        initial=reading.initial,
        large_values=reading.large,
    )
    begun, ended = whole.start != NO_START, whole.end != NO_END
    timed = begun & ended
    columns.timed = int(timed.sum())
    columns.has_clock = bool(begun.any() and ended.any())
    columns.untimed = int((~timed & (whole.kind != FENCE)).sum())
    return columns


def _with_single_orders(reading: _Reading, whole: Part) -> Part:
    """Refuse stores of one location with the same place in its order."""
    stores = np.flatnonzero((whole.kind == STORE) & (whole.order != NO_ORDER))
    keys = np.lexsort((whole.order[stores], whole.location[stores]))
    ordered = stores[keys]
    same = (whole.order[ordered[1:]] == whole.order[ordered[:-1]]) & (
        whole.location[ordered[1:]] == whole.location[ordered[:-1]]
    )
    twice = ordered[1:][same]
    if not len(twice):
        return whole
    names = list(reading.locations)
    for at in np.sort(twice):
        seen = f"order {whole.order[at]} of '{names[whole.location[at]]}' a second time"
        _refuse(reading, int(whole.line[at]), seen, "each place in an order once")
    kept = np.ones(len(whole.kind), dtype=np.bool_)
    kept[twice] = False
    return Part(*(array[kept] for array in whole))
