"""Time to verdict on `cow-two-pages`: the explorer against SPIN on a model of the same scenario.

SPIN's time is that of generating the verifier, compiling it and running it. The compiler does not
optimise: for so few states that costs more than it gains. The explorer's is measured twice, in a
process that is up already, and as a command from its start to its end.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Effort, Row, in_child, seconds
from benchmarks.start import SHOOTDOWN

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.explore import explore
from shootdown_verify.litmus import load

ROOT: Final = Path(__file__).parents[1]
MODEL: Final = ROOT / "benchmarks" / "spin" / "cow_two_pages.pml"
SCENARIO: Final = ROOT / "configs" / "scenarios" / "cow-two-pages.litmus"
DEFINED: Final = {"clear_flush": (), "range_end": ("-DDEFERRED",)}
WRONG: Final = {"clear_flush": False, "range_end": True}
TOOLS: Final = ("spin", "gcc")
TARGET: Final = 0.2
_MS: Final = 1000.0
_ERRORS: Final = re.compile(r"errors: (\d+)")
_STATES: Final = re.compile(r"(\d+) states, stored")


def rows(effort: Effort) -> Iterator[Row]:
    """Two rows for each verdict; none, said aloud, where SPIN or a compiler is missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"  skipped: no {' and no '.join(missing)} (Debian: apt install spin gcc)")
        return
    for discipline in DEFINED:
        theirs: list[float] = []
        inside: list[float] = []
        commands: list[float] = []
        states = told_states = 0
        for _ in range(effort.rounds):
            taken, states = _spin(discipline)
            theirs.append(taken * _MS)
            told = in_child(partial(_explored, discipline))
            told_states = told["states"]
            inside.append(told["seconds"] * _MS)
            commands.append(seconds(partial(_command, discipline)) * _MS)
        rate = told_states / statistics.median(inside) * _MS
        ours = f"{told_states:,} states, {rate:,.0f} a second; SPIN {states:,} states"
        yield Row("spin", f"verdict, {discipline}", inside, theirs, "ms", TARGET, ours)
        yield Row("spin", f"verdict as a command, {discipline}", commands, theirs, "ms")


def _spin(discipline: str) -> tuple[float, int]:
    """Seconds, and states stored; ``pan`` exits 0 whatever it finds, so its words are read."""
    with tempfile.TemporaryDirectory() as folder:
        said = ""

        def verify() -> None:
            nonlocal said
            _do(folder, "spin", *DEFINED[discipline], "-a", str(MODEL))
            _do(folder, "gcc", "-O0", "-DSAFETY", "-o", "pan", "pan.c")
            said = _do(folder, "./pan")

        taken = seconds(verify)
    errors, states = _ERRORS.search(said), _STATES.search(said)
    assert errors is not None, said
    assert states is not None, said
    assert bool(int(errors[1])) == WRONG[discipline], said
    return taken, int(states[1])


def _do(folder: str, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _explored(discipline: str) -> dict[str, Any]:
    """What exploring says, in a process that has done nothing else; reading the file counts."""
    told: dict[str, Any] = {}

    def verify() -> None:
        scenario = load(SCENARIO, operations=OPERATIONS, disciplines=DISCIPLINES)
        result = explore(scenario.program, DISCIPLINES[discipline], conditions=scenario.conditions)
        assert bool(result.counterexamples) == WRONG[discipline]
        told["states"] = result.states

    told["seconds"] = seconds(verify)
    return told


def _command(discipline: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [*SHOOTDOWN, "explore", str(SCENARIO), "--discipline", discipline]
        command += ["--out", folder, "--json"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert ended.returncode == int(WRONG[discipline]), f"{command} ended with {ended.returncode}"
    assert json.loads(ended.stdout)["command"] == "explore"
