"""``shootdown run``: race a scenario on real processes, judge the records, show the verdict."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OF
from shootdown_cli.racing import ProgressLine, Raced, race
from shootdown_cli.testbed import Processes, last_words, start
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.running import FACTS_FILE
from shootdown_protocol import messages
from shootdown_protocol.errors import HistoryError
from shootdown_protocol.history_file import read_history
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_verify.judge.run import INCONCLUSIVE, RunVerdict, judge_run
from shootdown_verify.litmus import Scenario, load
from shootdown_verify.report.histogram import render_histogram
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.report.verdict import RunFacts, verdict_line, verdict_object
from shootdown_verify.testbed import load_testbed


class TextMaker(Protocol):
    """Writes the report for a terminal of some width."""

    def __call__(self, *, color: bool, width: int) -> str:
        """Give the whole report."""
        ...


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line said."""

    scenario: str
    discipline: str
    testbed: str
    instances: int
    seed: int
    out: Path
    as_json: bool
    on: str | None


def load_scenario(name: str) -> Scenario:
    """A scenario by path or shipped name, checked against what this kernel knows."""
    path = places.find_config("scenarios", name, ".litmus")
    return load(path, operations=frozenset(OPERATIONS), disciplines=frozenset(DISCIPLINES))


def run(options: RunOptions) -> int:
    """Do the whole of it; gives the exit status."""
    scenario = load_scenario(options.scenario)
    load_discipline(options.discipline)
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    out = places.new_run_directory(options.out, scenario.name)
    history = out / "history"
    history.mkdir()
    (out / "scenario.litmus").write_text(scenario.text)
    (out / "command").write_text(_again(options) + "\n")
    line = ProgressLine(quiet=options.as_json)
    began = time.monotonic()
    if options.on is None:
        raced = _race_on_own_testbed(options, scenario, out, line)
    else:
        record = places.find_testbed(options.on)
        with ControlClient(record.endpoint("control")) as client:
            raced = race(client, _request(client, options, scenario, history), None, line.show)
    line.show("judging")
    verdict = judge(scenario, options.discipline, history, raced)
    line.end()
    facts = RunFacts(
        command="run",
        scenario=scenario.name,
        discipline=options.discipline,
        seed=options.seed,
        elapsed_s=round(time.monotonic() - began, 3),
        out=str(out),
    )
    _show(options, scenario, verdict, facts, raced)
    return EXIT_FAILED if raced.failed else EXIT_OF[verdict.verdict]


def _race_on_own_testbed(
    options: RunOptions, scenario: Scenario, out: Path, line: ProgressLine
) -> Raced:
    testbed = load_testbed(places.find_config("testbeds", options.testbed, ".toml"))
    processes: Processes | None = None
    try:
        name = f"run-{os.getpid()}"
        processes = start(testbed, name, out / "logs", pids_file=out / "pids.json")
        with ControlClient(processes.record.endpoint("control")) as client:
            request = _request(client, options, scenario, out / "history")
            raced = race(client, request, processes, line.show)
            client.stop("the run is over")
    finally:
        if processes is not None:
            processes.end()
    if raced.failed:
        bad = {name: status for name, status in processes.ended.items() if status}
        if bad:
            raced.failed += f" ({processes.describe()})\n{last_words(processes.logs)}"
    return raced


def _request(
    client: ControlClient, options: RunOptions, scenario: Scenario, history: Path
) -> messages.RunScenario:
    return messages.RunScenario(
        request=client.number(),
        protocol_version=PROTOCOL_VERSION,
        program=scenario.program,
        discipline=_absolute(options.discipline),
        instances=options.instances,
        seed=options.seed,
        history=str(history.resolve()),
    )


def _absolute(discipline: str) -> str:
    file, colon, name = discipline.rpartition(":")
    return f"{Path(file).resolve()}:{name}" if colon else discipline


def judge(scenario: Scenario, discipline: str, history: Path, raced: Raced) -> RunVerdict:
    """Judge what lies in a history folder by S1 to S5."""
    doubts = list(raced.doubts)
    if raced.failed:
        doubts.append(f"the testbed failed: {raced.failed}")
    histories = []
    for path in sorted(history.glob("*.history")):
        try:
            histories.append(read_history(path))
        except HistoryError as error:
            doubts.append(str(error))
    per_batch = _instances_per_batch(history)
    verdict = judge_run(
        histories,
        scenario,
        instances_per_batch=per_batch,
        ended_batches=range(-(-raced.instances // per_batch)),
        discipline=discipline,
        doubts=doubts,
    )
    torn = [h for h in histories if h.end is not None and h.end.torn_bytes and not raced.failed]
    if torn and verdict.verdict != "violation":
        verdict.verdict = INCONCLUSIVE
        verdict.reasons = (*verdict.reasons, f"{len(torn)} histories have a torn tail")
    return verdict


def _instances_per_batch(history: Path) -> int:
    """What the daemon wrote beside its history; 1 when it did not come so far."""
    try:
        facts = json.loads((history / FACTS_FILE).read_text())
        return max(1, int(facts["instances_per_batch"]))
    except (OSError, ValueError, KeyError):
        return 1


def _show(
    options: RunOptions, scenario: Scenario, verdict: RunVerdict, facts: RunFacts, raced: Raced
) -> None:
    told = verdict_object(verdict, facts)
    told["instances_per_s"] = round(verdict.instances / raced.elapsed_s) if raced.elapsed_s else 0
    told["daemon"] = raced.counters
    told["error"] = raced.failed or None
    told["repeat"] = _again(options)
    out = Path(facts.out)
    (out / "verdict.json").write_text(json.dumps(told, indent=2) + "\n")
    text = _text(options, scenario, verdict, facts, raced)
    (out / "report.txt").write_text(text(color=False, width=160) + "\n")
    if options.as_json:
        print(json.dumps(told))
    else:
        width = shutil.get_terminal_size((120, 40)).columns
        print(text(color=sys.stdout.isatty(), width=width))


def _text(
    options: RunOptions, scenario: Scenario, verdict: RunVerdict, facts: RunFacts, raced: Raced
) -> TextMaker:
    def text(*, color: bool, width: int) -> str:
        parts = [verdict_line(verdict, facts, color=color)]
        rate = verdict.instances / raced.elapsed_s if raced.elapsed_s else 0.0
        parts.append(
            f"           {verdict.instances:,} instances, {verdict.violations:,} violations, "
            f"{facts.elapsed_s:.1f} s ({rate:,.0f} instances a second), seed {facts.seed}"
        )
        if raced.failed:
            parts.append(f"           the testbed failed: {raced.failed}")
        if verdict.first is not None:
            first = verdict.first
            parts.append(f"\nfirst violation: instance {first.instance}, {first.verdict.outcome}\n")
            parts.append(
                render_timeline(
                    first.records,
                    scenario.program,
                    first.verdict.findings,
                    width=width,
                    color=color,
                )
            )
        if verdict.histogram:
            parts.append("\n" + render_histogram(scenario.name, verdict))
        counters = verdict.counters.as_dict()
        parts.append("\n" + ", ".join(f"{name} {count:,}" for name, count in counters.items()))
        parts.append(f"\nrepeat  {_again(options)}\nfiles   {facts.out}")
        return "\n".join(parts)

    return text


def _again(options: RunOptions) -> str:
    words = ["shootdown", "run", options.scenario, "--discipline", options.discipline]
    words += ["--testbed", options.testbed, "--instances", str(options.instances)]
    words += ["--seed", str(options.seed)]
    return shlex.join(words)
