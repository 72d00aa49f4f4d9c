"""Reading JSON Lines: what is taken, what is refused and in which words, what a torn tail does."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.errors import UsageError
from shootdown_verify.check.finding import Model
from shootdown_verify.foreign import jsonl
from shootdown_verify.foreign.columns import Columns
from shootdown_verify.foreign.jsonl import read_jsonl, read_stream
from shootdown_verify.foreign.verdict import judge

STORE = '{"thread": "P0", "kind": "store", "location": "x", "value": 1, "start": 10, "end": 20}'
LOAD = '{"thread": "P1", "kind": "load", "location": "x", "value": 1}'


def read(*lines: str | bytes, skip_bad: bool = False) -> Columns:
    """Read lines, each ended."""
    data = b"".join((s.encode() if isinstance(s, str) else s) + b"\n" for s in lines)
    return read_stream(io.BytesIO(data), "h.jsonl", skip_bad=skip_bad)


def test_a_line_becomes_an_event() -> None:
    """Every field is kept, and what was not said is told apart from zero."""
    columns = read(STORE, LOAD, '{"thread": "P1", "kind": "fence"}')

    assert (columns.threads, columns.locations) == (["P0", "P1"], ["x"])
    assert columns.kind.tolist() == [1, 0, 3]
    assert columns.value.tolist()[:2] == [1, 1]
    assert (columns.timed, columns.untimed) == (1, 1)
    assert columns.line.tolist() == [1, 2, 3]


def test_blank_lines_are_counted_and_passed_over() -> None:
    """Line numbers are those of the file."""
    assert read("", STORE, "  ", LOAD).line.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("line", "seen", "expected"),
    [
        (b"nonsense", "'nonsense', which is no JSON", "a JSON object"),
        (b"[1]", "[1]", "a JSON object"),
        (b"\xff\xfe\x00", "no JSON", "a JSON object"),
        (b'{"thread": "P0"}', "no kind", "load, store, fence, init"),
        (b'{"thread": "P0", "kind": "lod"}', '"lod"', "did you mean 'load'"),
        (b'{"thread": "P0", "kind": 3}', "kind 3", "load, store, fence, init"),
        (b'{"thread": "P0", "kind": "load", "valeu": 1}', "'valeu'", "did you mean 'value'"),
        (b'{"thread": "P0", "kind": "load", "value": 1}', "load without location", "location"),
        (b'{"kind": "store", "location": "x", "value": 1}', "store without thread", "thread"),
        (b'{"kind": "fence"}', "a fence without thread", "thread"),
        (b'{"kind": "init", "location": "x"}', "an init without value", "value"),
        (b'{"thread": 7, "kind": "fence"}', "thread 7", "text"),
        (b'{"thread": "P0", "kind": "load", "value": "1"}', '"1"', "an integer"),
        (b'{"thread": "P0", "kind": "load", "value": true}', "true", "an integer"),
        (b'{"thread": "P", "kind": "fence", "start": "now"}', '"now"', "a number"),
        (
            b'{"thread": "P", "kind": "fence", "start": 9, "end": 3}',
            "end 3 before start 9",
            "after",
        ),
        (
            b'{"thread": "P", "kind": "fence", "order": 99999999999999999999}',
            "order 9999",
            "64 bits",
        ),
        (
            b'{"thread": "P", "kind": "load", "location": "x", "value": -%s}' % (b"1" * 4301),
            "an integer of 4,301 digits",
            "one of at most 4,300",
        ),
        (
            b'{"thread": "P", "kind": "fence", "end": %s}' % (b"1" * 400),
            "a time of 400 digits",
            "at most 308 digits",
        ),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(line: bytes, seen: str, expected: str) -> None:
    """The error has file and line, what was seen, and what was expected, with the nearest word."""
    with pytest.raises(UsageError) as refused:
        read(STORE, line)

    message = str(refused.value)
    assert "h.jsonl, line 2" in message
    assert seen in refused.value.seen
    assert expected in refused.value.expected


def test_one_end_and_another_begin_show_a_violation_of_real_time() -> None:
    """No event has both times, and still the store had ended before the load began."""
    columns = read(
        '{"thread": "P0", "kind": "store", "location": "x", "value": 1, "end": 5}',
        '{"thread": "P1", "kind": "load", "location": "x", "value": 0, "start": 7}',
    )

    assert [found.model for found in judge(columns).found] == [Model.REAL_TIME]


def test_bad_lines_are_skipped_and_counted_when_asked_to() -> None:
    """The rest is read, and what was skipped first is still told."""
    columns = read(STORE, "nonsense", LOAD, '{"kind": "lod"}', skip_bad=True)

    assert columns.line.tolist() == [1, 3]
    assert columns.source.skipped == 2
    assert columns.source.first_skipped.startswith("line 2: saw 'nonsense'")


def test_a_place_in_an_order_is_given_once() -> None:
    """Two stores of one location cannot have one place."""
    line = '{"thread": "P0", "kind": "store", "location": "x", "value": %d, "order": 4}'

    with pytest.raises(UsageError, match="line 2: saw order 4 of 'x' a second time"):
        read(line % 1, line % 2)

    assert len(read(line % 1, line % 2, skip_bad=True)) == 1


def test_an_initial_value_is_given_once() -> None:
    """The same again does no harm; another one contradicts it."""
    line = '{"kind": "init", "location": "x", "value": %d}'

    assert read(line % 5, line % 5).initial == {0: 5}
    with pytest.raises(UsageError, match="line 2: saw init of 'x' with 6; expected one initial"):
        read(line % 5, line % 6)


def test_initial_values_are_what_loads_meet_first() -> None:
    """A load of the initial value, whatever it is, met no store; 0 where nothing was said."""
    five = '{"kind": "init", "location": "x", "value": 5}'
    load = '{"thread": "P0", "kind": "load", "location": "%s", "value": %d}'

    assert judge(read(load % ("x", 5), five, load % ("y", 0))).verdict == "ok"
    assert judge(read(five, load % ("x", 0))).weakest is Model.COHERENCE


def test_values_beyond_64_bits_are_kept_apart() -> None:
    """Any integer is a value."""
    large = 1 << 90
    store = '{"thread": "P0", "kind": "store", "location": "x", "value": %d}'
    load = '{"thread": "P0", "kind": "load", "location": "x", "value": %d}'

    columns = read(store % large, load % large, load % (large + 1))

    assert columns.value_of(0) == large
    verdict = judge(columns)
    assert [found.events for found in verdict.found] == [(2,)]


@pytest.mark.parametrize("cut", range(1, len(LOAD)))
def test_a_torn_last_line_is_reported_and_all_before_it_is_read(cut: int) -> None:
    """Wherever the last line was cut, that is no error of its writer's."""
    data = f"{STORE}\n{LOAD}\n{LOAD[:cut]}".encode()

    columns = read_stream(io.BytesIO(data), "h.jsonl")

    assert (len(columns), columns.source.torn_bytes) == (2, cut)
    verdict = judge(columns)
    assert (verdict.verdict, "torn" in verdict.reasons[0]) == ("inconclusive", True)


def test_a_last_line_without_a_newline_is_an_event_if_it_is_whole() -> None:
    """Nothing is lost for want of one byte."""
    columns = read_stream(io.BytesIO(f"{STORE}\n{LOAD}".encode()), "h.jsonl")

    assert (len(columns), columns.source.torn_bytes) == (2, 0)


def test_what_nobody_stored_is_no_violation_where_a_store_may_be_lost() -> None:
    """With lines missing, the store may be one of them."""
    lost = '{"thread": "P1", "kind": "load", "location": "x", "value": 7}'

    assert judge(read(STORE, lost)).verdict == "violation"
    assert judge(read(STORE, lost, "nonsense", skip_bad=True)).verdict == "inconclusive"


def test_blocks_are_joined_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a block ends in the file shows nowhere."""
    lines = [json.dumps({**json.loads(STORE), "value": value}) for value in range(50)]
    whole = read(*lines)

    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 37)
    parts = read(*lines)

    for name in ("thread", "kind", "location", "value", "order", "start", "end", "line"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


def test_a_history_that_memory_does_not_hold_is_judged_as_far_as_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where reading stopped is said, and no store behind that is missed."""
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(jsonl, "memory_room", lambda: 100 * 45 * jsonl.PEAK)

    columns = read(*[STORE] * 1000, LOAD)

    assert 100 <= len(columns) < 200
    verdict = judge(columns)
    assert verdict.verdict == "inconclusive"
    assert f"memory was full: judged up to line {len(columns)}" in verdict.reasons


def test_times_may_be_fractions() -> None:
    """Seconds as a float are times, too."""
    line = '{"thread": "P0", "kind": "load", "location": "x", "value": 0, "start": 0.5, "end": 1.5}'

    columns = read(line, LOAD.replace("1}", "0}"))

    assert (columns.start[0], columns.end[0], columns.timed) == (0.5, 1.5, 1)


def test_a_compressed_file_is_read_as_it_is(tmp_path: Path) -> None:
    """Gzip is seen by its first bytes."""
    path = tmp_path / "h.jsonl.gz"
    path.write_bytes(gzip.compress(f"{STORE}\n{LOAD}\n".encode()))

    assert len(read_jsonl(path)) == 2


def test_a_compressed_file_that_was_cut_is_judged_up_to_there(tmp_path: Path) -> None:
    """The tail is torn, and what came before it is read."""
    path = tmp_path / "h.jsonl.gz"
    lines = [json.dumps({**json.loads(STORE), "value": value}) for value in range(2000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-200])

    columns = read_jsonl(path)

    assert len(columns) > 100
    assert columns.source.cut_short
    assert judge(columns).verdict == "inconclusive"


@given(st.binary(max_size=200).filter(lambda data: not data.startswith(jsonl.GZIP_MAGIC)))
def test_garbage_is_never_an_event(data: bytes) -> None:
    """Garbage has no events, and is counted."""
    columns = read_stream(io.BytesIO(data), "h.jsonl", skip_bad=True)

    assert not len(columns)
    assert not columns.source.is_whole or not data.strip()
