"""Tests of the two readers of command lines: the plain one must never differ from typer."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_cli import plain
from shootdown_cli.app import make_app
from shootdown_cli.commands import COMMANDS

FLAGS = ("--json", "--on", "--seed", "--instances", "--out", "--discipline", "--name", "--load")
VALUES = ("x.litmus", "2", "0", "a b")
ODD = ("-1", "007", "\u0661", "1_0", " 1", "", "-", "--", "--help", "--js", "--seed=3", "--no-json")
WORDS = st.sampled_from(VALUES) | st.sampled_from(ODD) | st.text(max_size=3)
PIECES = st.tuples(WORDS) | st.tuples(st.sampled_from(FLAGS), WORDS) | st.just(("--json",))
PLAIN_PIECES = st.sampled_from(("--seed", "--instances", "--out", "--on", "--discipline")).flatmap(
    lambda flag: st.tuples(st.just(flag), st.sampled_from((*VALUES, "007", "1_0", "\u0661")))
)


def lines(
    commands: list[str], pieces: st.SearchStrategy[tuple[str, ...]]
) -> st.SearchStrategy[list[str]]:
    """Command lines of some pieces in any order."""
    return st.builds(
        lambda command, taken: [command, *chain(*taken)],
        st.sampled_from(commands),
        st.lists(pieces, max_size=5, unique_by=lambda piece: piece[0]),
    )


LINES = lines([command.__name__ for command in COMMANDS], PIECES) | lines(
    ["run"], PLAIN_PIECES | st.just(("x.litmus",)) | st.just(("--json",))
)


def read_by_typer(words: list[str]) -> list[tuple[str, dict[str, object]]]:
    """What typer would call, and with which values."""
    called: list[tuple[str, dict[str, object]]] = []

    def spy(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def note(**values: object) -> int:
            called.append((command.__name__, values))
            return 0

        return note

    with pytest.raises(SystemExit):
        make_app([spy(command) for command in COMMANDS])(words)
    return called


@given(LINES)
def test_what_the_plain_reader_accepts_typer_reads_alike(words: list[str]) -> None:
    """A command line that skips typer means exactly what typer would have made of it."""
    found = plain.parse(words)

    if found is not None:
        assert read_by_typer(words) == [(found.command.__name__, found.values)]


@pytest.mark.parametrize(
    "line",
    [
        "up two.toml",
        "up two.toml --name a --load b --discipline none --out o --json",
        "run a --instances 20000 --seed 0 --testbed four-agents --on b --json",
        "agent --name a",
        "explore a --discipline none b c --json",
        "step a --device b",
        "status",
    ],
)
def test_everyday_command_lines_are_plain(line: str) -> None:
    """The reader without typer is of use: it reads what people and programs mostly type."""
    assert plain.parse(line.split()) is not None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "bogus",
        "run",
        "agent",
        "run a b",
        "run a --instances 0",
        "run a --seed",
        "run a --seed 1 --seed 2",
        "run a --json=1",
        "up --help",
    ],
)
def test_what_is_wrong_or_asks_for_help_is_left_to_typer(line: str) -> None:
    """Whoever mistypes is told so by typer, in its words."""
    assert plain.parse(line.split()) is None


def test_a_shells_completion_is_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that asks for completions gets them, not a run."""
    monkeypatch.setenv("_SHOOTDOWN_COMPLETE", "complete_bash")

    assert plain.parse(["up", "two.toml"]) is None


def test_a_plain_command_does_without_typer() -> None:
    """Nothing on the way of a plain command imports typer again by accident."""
    code = (
        "import sys; sys.argv[1:] = ['up', 'nosuch']; from shootdown_cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "assert not {'typer', 'typing_extensions'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def test_a_daemon_is_made_without_what_only_a_run_needs() -> None:
    """A daemon imports its part while agents import theirs: the longer of the two is waited for."""
    code = (
        "import sys; sys.modules['typing_extensions'] = None\n"
        "import shootdown_daemon.shell.server\n"
        "heavy = {'dataclasses', 'difflib', 'inspect', 'structlog', 'subprocess', 'tempfile',\n"
        "    'shootdown_daemon.machine', 'shootdown_daemon.shell.running'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
