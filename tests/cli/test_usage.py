"""What a person gets wrong: exit status 2, one message with what was seen and what was expected.

Nothing is started and nothing is made before all that was given is right.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown

NO_CLASS = "from shootdown_daemon.machine.disciplines import Discipline\n"
DISCIPLINES = {
    "syntax.py:Mine": ("class Mine(:\n", "SyntaxError"),
    "raises.py:Mine": ("1 / 0\n", "ZeroDivisionError"),
    "exits.py:Mine": ("raise SystemExit(0)\n", "SystemExit"),
    "absent.py:Mine": (NO_CLASS, "no attribute 'Mine'"),
    "other.py:Mine": ("class Mine: pass\n", "a subclass of Discipline"),
    "needs.py:Mine": (
        NO_CLASS + "class Mine(Discipline):\n    def __init__(self, must): pass\n",
        "without arguments",
    ),
    "misspelled.py:Mine": (
        NO_CLASS + "class Mine(Discipline):\n    async def clear_flsh(self, cpu, span): ...\n",
        "did you mean clear_flush?",
    ),
    "blocking.py:Mine": (
        NO_CLASS + "class Mine(Discipline):\n    def clear_flush(self, cpu, span): ...\n",
        "async def clear_flush(self, cpu, span)",
    ),
    "narrow.py:Mine": (
        NO_CLASS + "class Mine(Discipline):\n    async def clear_flush(self, cpu): ...\n",
        "a hook of self, cpu and span",
    ),
    "none.py:Mine": (None, "no such file"),
}


@pytest.mark.parametrize("name", DISCIPLINES)
def test_a_discipline_that_is_no_good(shootdown: Shootdown, name: str) -> None:
    """Each mistake in a file of one's own is named before anything starts."""
    text, said = DISCIPLINES[name]
    if text is not None:
        Path(name.partition(":")[0]).write_text(text)

    told = shootdown("run", "cow-two-pages", "--discipline", name)

    assert told.status == 2, told
    assert said in told.errors
    assert "Traceback" not in told.errors
    assert not Path("out").exists()


WORDS = [
    (["run", "nosuch"], "cow-two-pages"),
    (["run", "."], "which is a directory"),
    (["run", "wrong.litmus"], "wrong.litmus:"),
    (["run", "binary.litmus"], "UTF-8"),
    (["run", "cow-two-pages", "--discipline", "rangeend"], "did you mean range_end?"),
    (["run", "cow-two-pages", "--testbed", "nosuch"], "four-agents, one-agent, two-agents"),
    (["run", "cow-two-pages", "--testbed", "wrong.toml"], "did you mean 'agents'?"),
    (["run", "cow-two-pages", "--testbed", "none.toml"], "'agents'"),
    (["run", "cow-two-pages", "--instances", "0"], "instances"),
    (["run", "cow-two-pages", "--instances", str(10**30)], "--instances"),
    (["run", "cow-two-pages", "--seed", str(10**30)], "--seed"),
    (["run", "cow-two-pages", "--seed", "-1"], "seed"),
    (["run", "cow-two-pages", "--seed", "x"], "seed"),
    (["run", "cow-two-pages", "--on", "nobody"], "none is live"),
    (["run", "cow-two-pages", "--option", "dialekt=vtd"], "did you mean dialect?"),
    (["explore", "cow-two-pages", "--option", "queue_depth=33"], "1 to 32"),
    (["explore", "cow-two-pages", "--option", "vector"], "off, on"),
    (["run", "cow-two-pages", "--out", "file"], "--out file"),
    (["run", "cow-two-pages", "--out", "/proc/nowhere"], "--out /proc/nowhere"),
    (["explore", "cow-two-pages", "--device", "insert_late"], "did you mean inserts_late?"),
    (["explore", "cow-two-pages", "--device", "none.py:Mine"], "a file that is there"),
    (["replay", "nosuch.replay"], "a replay file"),
    (["explain", "wrong.litmus"], "SHOOTDOWN-REPLAY 1"),
    (["step", "cow-two-pages", "--device", "right"], "inserts_late"),
    (["run"], "scenario"),
    (["run", "cow-two-pages", "--nosuch"], "nosuch"),
    (["nosuch"], "nosuch"),
    (["status"], "none is live"),
    (["down"], "none is live"),
    (["agent", "--name", "one"], "none is live"),
    (["up", "nosuch"], "four-agents"),
    (["up", "one-agent", "--name", "a/b"], "the testbed's name"),
    (["up", "one-agent", "--name", ".."], "the testbed's name"),
    (["up", "one-agent", "--name", "x" * 90], "the testbed's name"),
    (["up", "one-agent", "--load", "nosuch"], "cow-two-pages"),
    (["up", "one-agent", "--load", "cow-two-pages", "--discipline", "no"], "none"),
]


@pytest.mark.parametrize(("words", "said"), WORDS, ids=lambda value: " ".join(value)[:40])
def test_a_command_line_that_is_wrong(shootdown: Shootdown, words: list[str], said: str) -> None:
    """Exit status 2, and the message names what is wrong; no run directory is made."""
    Path("wrong.litmus").write_text("SHOTDOWN x\n")
    Path("binary.litmus").write_bytes(b"SHOOTDOWN x\n\xff\xfe")
    Path("wrong.toml").write_text("agent = 1\n")
    Path("none.toml").write_text("")
    Path("file").write_text("")

    told = shootdown(*words)

    assert told.status == 2, told
    assert said in told.errors
    assert "Traceback" not in told.errors
    assert not Path("out").exists()


def test_a_runtime_folder_of_others_is_refused(shootdown: Shootdown) -> None:
    """Sockets and tokens are not put where somebody else could reach them."""
    folder = Path("rt")
    folder.mkdir()
    folder.chmod(0o755)

    told = shootdown("status")

    assert told.status == 2, told
    assert "mode 0700" in told.errors


def test_a_runtime_folder_too_deep_is_refused(
    shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A socket's path has a limit, and the message says what to do."""
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(tmp_path / ("deep" * 30)))

    told = shootdown("run", "cow-two-pages", "--instances", "1")

    assert told.status == 2, told
    assert "SHOOTDOWN_RUNTIME_DIR" in told.errors


def test_nonsense_in_the_runtime_folder_is_passed_over(shootdown: Shootdown) -> None:
    """Folders that no testbed has made, or half made, are no testbeds and no error."""
    texts = ("", "{", "[]", '{"name": 1}', '{"name": "d", "folder": 1, "segment": 2}')
    for number, text in enumerate(texts):
        folder = Path("rt") / f"t{number}"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "testbed.json").write_text(text)
        (folder / "lock").touch()
    Path("rt").chmod(0o700)

    told = shootdown("status")

    assert told.status == 2, told
    assert "none is live" in told.errors


def test_python_without_assertions_is_refused() -> None:
    """Assertions are how the program checks itself, so ``python -O`` gets no answer."""
    ended = subprocess.run(
        [sys.executable, "-O", "-m", "shootdown_cli.main", "doctor"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2, ended
    assert "-O" in ended.stderr
    assert ended.stdout == ""


def test_nobody_reads_the_output() -> None:
    """A closed pipe ends the command quietly, with a shell's status for it."""
    with subprocess.Popen(
        [sys.executable, "-m", "shootdown_cli.main", "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()

        assert process.stderr.read() == ""
        assert process.wait() == 141
