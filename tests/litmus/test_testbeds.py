"""Testbed files are read whole, or refused with the place and the reason."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shootdown_verify.testbed import Testbed, TestbedError, load_testbed, parse_testbed

ROOT = Path(__file__).parents[2]
TESTBEDS = sorted((ROOT / "configs" / "testbeds").glob("*.toml"))
KEYS = [name for name in Testbed.__struct_fields__ if name != "name"]


def error_of(text: str) -> TestbedError:
    """Read a wrong testbed."""
    with pytest.raises(TestbedError) as caught:
        parse_testbed(text, "bed.toml")
    return caught.value


def error_in(text: str) -> TestbedError | None:
    """Read a text and return its error, if it has one; anything else comes through."""
    try:
        parse_testbed(text, "bed.toml")
    except TestbedError as error:
        return error
    return None


@pytest.mark.parametrize("path", TESTBEDS, ids=lambda path: path.stem)
def test_shipped_testbed_gives_every_key(path: Path) -> None:
    """A shipped testbed hides no default, says first what it is for, and is named as its file."""
    text = path.read_text()

    assert text.startswith("# ")
    assert load_testbed(path).name == path.stem
    assert set(re.findall(r"^(\w+) =", text, re.MULTILINE)) == set(KEYS)


def test_shipped_testbeds_are_one_and_four_agents() -> None:
    """Both are on ipc sockets; the smallest has all defaults."""
    beds = {path.stem: load_testbed(path) for path in TESTBEDS}

    assert (beds["one-agent"].agents, beds["four-agents"].agents) == (1, 4)
    assert beds["one-agent"] == Testbed("one-agent", agents=1)


def test_key_that_is_left_out_has_its_default() -> None:
    """Only the number of agents must be said."""
    assert parse_testbed("agents = 3", "some/bed.toml") == Testbed("bed", agents=3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("agents = 0", "1 to 64 agents"),
        ("agents = true", "1 to 64 agents"),
        ("agents = 1.0", "1 to 64 agents"),
        ("agents = []", "1 to 64 agents"),
        ("transport = 5", "ipc or tcp"),
        ("transport = []", "ipc or tcp"),
        ("frames = 1000", "256 to 1048576 frames of 4 KiB, a power of two"),
        ("frames = 128", "a power of two"),
        ("iotlb = 1", "true or false"),
        ("heartbeat_ms = 5", "10 to 3600000 milliseconds"),
        ("heartbeat_ms = '5'", "10 to 3600000 milliseconds"),
    ],
)
def test_value_out_of_range_names_range_and_unit(line: str, expected: str) -> None:
    """The error points at the key and says what it takes."""
    error = error_of(f"# a comment on {line}\n  {line}\n")

    assert (error.line, error.column) == (2, 3)
    assert expected in error.expected


def test_unknown_key_gets_the_nearest() -> None:
    """A misspelt key is pointed at, and the right one offered."""
    error = error_of("agents = 1\nframe = 256\n")

    assert (error.line, error.column, error.nearest) == (2, 1, "frames")
    assert "did you mean 'frames'?" in str(error)


def test_unknown_table_is_an_unknown_key() -> None:
    """A table is found by its header."""
    error = error_of("agents = 1\n[scenario]\nname = 'x'\n")

    assert (error.line, error.column, error.seen) == (2, 2, "key 'scenario'")


def test_wrong_transport_gets_the_nearest() -> None:
    """A misspelt word is offered the right one."""
    assert error_of("transport = 'ip'").nearest == "ipc"


def test_window_fits_into_a_batch() -> None:
    """Two keys that contradict each other name both bounds."""
    error = error_of("agents = 1\ninstances_per_batch = 8\nwindow = 9")

    assert (error.line, error.seen) == (3, "a window of 9")
    assert "at most instances_per_batch, 8" in error.expected


def test_limit_leaves_room_for_a_late_heartbeat() -> None:
    """A limit below two heartbeats would take the living for dead."""
    error = error_of("agents = 1\nheartbeat_ms = 100\nheartbeat_limit_ms = 199")

    assert (error.line, error.expected) == (3, "at least 2 heartbeats, 200 ms")


def test_agents_must_be_said() -> None:
    """An empty file is no testbed."""
    assert error_of("# nothing").seen == "no key 'agents'"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("agents = 1\nframes == 3", 2, 9), ("agents = 1\nagents = 2", 2, 1), ("agents = '1", 1, 1)],
)
def test_broken_toml_has_its_place(text: str, line: int, column: int) -> None:
    """Where the TOML reader says a place, the error has it; else the last line."""
    error = error_of(text)

    assert (error.line, error.column, error.expected) == (line, column, "TOML")


def test_file_that_is_not_text_is_pointed_at(tmp_path: Path) -> None:
    """A byte that is no UTF-8 gives the same error, with its line."""
    path = tmp_path / "bed.toml"
    path.write_bytes(b"agents = 1\n# \xff\n")

    with pytest.raises(TestbedError) as caught:
        load_testbed(path)

    assert (caught.value.line, caught.value.seen) == (2, "byte 0xff")


@given(
    st.one_of(
        st.text(),
        st.builds("{} = {}\n".format, st.sampled_from(KEYS), st.text("0123456789.-'[]{}truefals")),
    )
)
@example("agents = " + "[" * 5000)
@example("agents = " + "9" * 5000)
def test_any_text_is_a_testbed_or_an_error(text: str) -> None:
    """No text breaks the reader, and every error points into it."""
    error = error_in(text)

    if error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert str(error).startswith(f"bed.toml:{error.line}:")


def test_options_of_devices_are_those_of_scenarios() -> None:
    """Words, numbers and switches of a table become what a scenario would say."""
    text = 'agents = 1\ndevice = { dialect = "vtd", queue_depth = 4, vector = true }'

    told = {"dialect": "vtd", "queue_depth": "4", "vector": "on"}
    assert parse_testbed(text, "bed.toml").device == told


@pytest.mark.parametrize(
    ("table", "seen", "expected", "meant"),
    [
        ('{ dialekt = "vtd" }', "option 'dialekt'", "an option of devices", "dialect"),
        ('{ dialect = "amd" }', "dialect = 'amd'", "direct, vtd, smmuv3, riscv", ""),
        ("{ queue_depth = 33 }", "queue_depth = '33'", "1 to 32", ""),
        ("[]", "device is an array", "a table of options", ""),
    ],
)
def test_wrong_option_of_devices_is_refused(
    table: str, seen: str, expected: str, meant: str
) -> None:
    """The error says what was seen, what was expected, and the nearest right word."""
    error = error_of(f"agents = 1\ndevice = {table}")

    assert (error.seen, error.nearest, error.line) == (seen, meant, 2)
    assert error.expected.startswith(expected)


def test_page_of_testbeds_has_every_key_with_its_default() -> None:
    """docs/testbeds.md lists the keys in order, each with what the code takes."""
    page = (ROOT / "docs" / "testbeds.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ?`?(\w*)`? \| (.*) \|$", page, re.MULTILINE)

    assert [key for key, _, _ in rows] == KEYS
    for field, (key, default, takes) in zip(msgspec.structs.fields(Testbed)[1:], rows, strict=True):
        said = "" if field.default is msgspec.NODEFAULT else str(field.default)
        assert default == (said.lower() if isinstance(field.default, bool) else said)
        wrong = error_of(f"agents = 1\n{key} = -1" if key != "agents" else "agents = -1")
        bounds, _, _ = wrong.expected.partition(", a power of two")
        assert takes.replace("`", "").startswith(bounds)
