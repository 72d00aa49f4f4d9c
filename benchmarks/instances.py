"""Instances a second of `cow-two-pages` on real processes, and how many of them are violations.

The floor is a bare exchange of one message and its answer with every agent, as in `one_shootdown`,
unpinned as a run is: the ratio says how many such exchanges an instance takes. It has two
shootdowns, dozens of steps of four CPU threads and two device threads, and its records.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.measure import Effort, Row, in_child
from benchmarks.one_shootdown import bare_exchange_us
from benchmarks.start import SHOOTDOWN

TESTBEDS = {"one-agent": 1, "four-agents": 4}
DISCIPLINES = ("range_end", "clear_flush")
INSTANCES = 1500
EXCHANGES = 400
US = 1e6


def rows(effort: Effort) -> Iterator[Row]:
    """A row for each testbed and discipline."""
    combinations = [(testbed, name) for testbed in TESTBEDS for name in DISCIPLINES]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {each: [] for each in combinations}
    floors: dict[str, list[float]] = {testbed: [] for testbed in TESTBEDS}
    for number in range(effort.rounds):
        for testbed, agents in TESTBEDS.items():
            exchange = partial(bare_exchange_us, agents, effort.of(EXCHANGES))
            floors[testbed].append(in_child(exchange))
            for discipline in DISCIPLINES:
                told = _run(testbed, discipline, effort.of(INSTANCES), seed=number)
                runs[testbed, discipline].append(told)
    for (testbed, discipline), all_told in runs.items():
        instances = sum(told["instances"] for told in all_told)
        rate = statistics.median(told["instances_per_s"] for told in all_told)
        share = sum(told["violations"] for told in all_told) / instances
        yield Row(
            "instances",
            f"an instance, {testbed}, {discipline}",
            [US / told["instances_per_s"] for told in all_told],
            floors[testbed],
            "us",
            note=f"{rate:,.0f} instances a second, {share:.3f} violations an instance",
        )


def _run(testbed: str, discipline: str, instances: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [*SHOOTDOWN, "run", "cow-two-pages", "--discipline", discipline]
        command += ["--testbed", testbed, "--instances", str(instances), "--seed", str(seed)]
        ended = subprocess.run(
            [*command, "--out", folder, "--json"],
            stdout=subprocess.PIPE,
            env={**os.environ, "SHOOTDOWN_RUNTIME_DIR": folder},
            check=False,
        )
        told: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode in {0, 1, 3}, f"{command} ended with {ended.returncode}"
    return told
