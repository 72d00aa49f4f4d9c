"""``shootdown run``: race a scenario on real processes, judge the records, show the verdict."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from shootdown_cli import places
from shootdown_cli.classes import absolute, device_classes
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OF
from shootdown_cli.faults import agents_of, allowed_by, fault_object, load_faults, say_idle
from shootdown_cli.interrupts import Interrupts
from shootdown_cli.judging import Watch, attached_agents, judge
from shootdown_cli.places import TestbedRecord
from shootdown_cli.progress import ProgressLine
from shootdown_cli.racing import Race, Raced
from shootdown_cli.scenarios import load_scenario
from shootdown_cli.testbed import END_S, last_words, start, write_pids
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_protocol import messages
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import AT_START, Fault
from shootdown_protocol.limits import INSTANCE_MAX
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_protocol.process_status import ProcessRole
from shootdown_verify.fault_plan import own_agents
from shootdown_verify.judge.run import VIOLATION, RunVerdict
from shootdown_verify.litmus import Scenario
from shootdown_verify.report.histogram import render_histogram
from shootdown_verify.report.run_page import RunPage, render_run_page
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.report.trace import trace_object
from shootdown_verify.report.verdict import RunFacts, devices_line, verdict_line, verdict_object
from shootdown_verify.testbed import Testbed, load_testbed


class TextMaker(Protocol):
    """Writes the report for a terminal of some width."""

    def __call__(self, *, color: bool, width: int) -> str:
        """Give the whole report."""
        ...


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line said; ``classes`` are those of its ``devices``, one a device."""

    scenario: str
    discipline: str
    mutant: str
    testbed: str
    instances: int
    seed: int
    out: Path
    as_json: bool
    on: str | None
    devices: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fault: str | None = None
    settings: tuple[str, ...] = ()


def run(options: RunOptions) -> int:
    """Do the whole of it; gives the exit status."""
    _check_numbers(options)
    scenario = load_scenario(options.scenario, options.settings)
    load_discipline(options.discipline)
    load_mutant(options.mutant)
    options = replace(options, classes=device_classes(options.devices, scenario.program))
    own = None if options.on is not None else _own_testbed(options)
    record = None if options.on is None else places.find_testbed(options.on)
    plan = (*_planned(options, scenario, own, record), *allowed_by(scenario))
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    out = places.new_run_directory(options.out, scenario.name)
    (out / "history").mkdir()
    (out / "scenario.litmus").write_text(scenario.text)
    (out / "command").write_text(_again(options) + "\n")
    line = ProgressLine(quiet=options.as_json)
    began = time.monotonic()
    with Interrupts() as interrupts:
        if own is not None:
            raced = _race_on_own(options, scenario, plan, out, own, interrupts, line)
        else:
            assert record is not None
            try:
                raced = _race_on(options, scenario, plan, out, record, interrupts, line)
            except UsageError:
                places.take_back(out)
                raise
        line.show("judging")
        count = interrupts.count
        watch = Watch(line.show, lambda: interrupts.count > count)
        verdict = judge(scenario, options.discipline, out / "history", raced, watch)
        line.end()
    say_idle(raced.faults)
    _say_less(own, raced)
    facts = RunFacts(
        command="run",
        scenario=scenario.name,
        discipline=options.discipline,
        seed=options.seed,
        elapsed_s=round(time.monotonic() - began, 3),
        out=str(out),
        mutant=options.mutant,
        device=", ".join(options.devices),
        agents=attached_agents(out / "history"),
    )
    _show(options, scenario, verdict, facts, raced)
    return EXIT_FAILED if raced.failed else EXIT_OF[verdict.verdict]


def _say_less(testbed: Testbed | None, raced: Raced) -> None:
    """Say when memory holds fewer instances at a time than the testbed asks for."""
    if testbed is None or "instances_per_batch" not in raced.counters:
        return
    held = raced.counters["instances_per_batch"]
    if held < testbed.instances_per_batch:
        print(
            f"shootdown: batches of {held} instances, not {testbed.instances_per_batch}: "
            f"{testbed.frames} frames hold no more",
            file=sys.stderr,
        )


def _check_numbers(options: RunOptions) -> None:
    """Refuse numbers that no message can carry."""
    for name, number in (("--instances", options.instances), ("--seed", options.seed)):
        if number > INSTANCE_MAX:
            raise UsageError(
                ErrorCode.USAGE, seen=str(number), expected=f"at most {INSTANCE_MAX}", where=name
            )


def _own_testbed(options: RunOptions) -> Testbed:
    return load_testbed(places.find_config("testbeds", options.testbed, ".toml"))


def _planned(
    options: RunOptions, scenario: Scenario, own: Testbed | None, record: TestbedRecord | None
) -> tuple[Fault, ...]:
    """The faults of the plan, if there is one, checked against the scenario and the testbed."""
    if options.fault is None:
        return ()
    agents = agents_of(record) if record is not None else own_agents(own.agents) if own else None
    return load_faults(options.fault, [scenario.program], agents)


def _race_on_own(
    options: RunOptions,
    scenario: Scenario,
    plan: tuple[Fault, ...],
    out: Path,
    testbed: Testbed,
    interrupts: Interrupts,
    line: ProgressLine,
) -> Raced:
    """Race on a testbed of the run's own, which ends with it."""
    processes = start(
        testbed,
        f"run-{os.getpid()}",
        out / "logs",
        pids_file=out / "pids.json",
        faults=tuple(fault for fault in plan if fault.kind in AT_START),
        given_up=interrupts.given_up,
    )
    raced = Raced(hung=True)
    try:
        record = processes.record
        with ControlClient(record.endpoint("control")) as client:
            request = _request(client, options, scenario, plan, out / "history")
            raced = Race(client, request, record, processes, interrupts, line.show).run()
            client.stop("the run is over")
    finally:
        processes.end(0.0 if raced.hung else END_S)
    if raced.failed and any(processes.ended.values()):
        raced.failed += f" ({processes.describe()})"
        raced.last_words = last_words(processes.logs)
    return raced


def _race_on(
    options: RunOptions,
    scenario: Scenario,
    plan: tuple[Fault, ...],
    out: Path,
    record: TestbedRecord,
    interrupts: Interrupts,
    line: ProgressLine,
) -> Raced:
    """Race on a testbed that stays."""
    with ControlClient(record.endpoint("control")) as client:
        processes = client.status().processes
        agents = {each.name: each.pid for each in processes if each.role is ProcessRole.AGENT}
        write_pids(out / "pids.json", processes[0].pid, agents)
        request = _request(client, options, scenario, plan, out / "history")
        return Race(client, request, record, None, interrupts, line.show).run()


def _request(
    client: ControlClient,
    options: RunOptions,
    scenario: Scenario,
    plan: tuple[Fault, ...],
    history: Path,
) -> messages.RunScenario:
    return messages.RunScenario(
        request=client.number(),
        protocol_version=PROTOCOL_VERSION,
        program=scenario.program,
        discipline=absolute(options.discipline),
        mutant=absolute(options.mutant),
        instances=options.instances,
        seed=options.seed,
        history=str(history.resolve()),
        device_classes=options.classes,
        faults=tuple(f for f in plan if f.kind not in AT_START or options.on is not None),
    )


def _show(
    options: RunOptions, scenario: Scenario, verdict: RunVerdict, facts: RunFacts, raced: Raced
) -> None:
    told = verdict_object(verdict, facts)
    told["instances_per_s"] = round(verdict.instances / raced.elapsed_s) if raced.elapsed_s else 0
    told["daemon"] = raced.counters
    told["error"] = raced.failed or None
    told["faults"] = [fault_object(each) for each in raced.faults]
    told["last_words"] = raced.last_words
    told["devices"] = list(options.devices)
    told["repeat"] = _again(options)
    out = Path(facts.out)
    (out / "verdict.json").write_text(json.dumps(told, indent=2) + "\n")
    text = _text(options, scenario, verdict, facts, raced)
    (out / "report.txt").write_text(text(color=False, width=160) + "\n")
    _write_for_browsers(out, options, scenario, verdict, facts, raced)
    if options.as_json:
        print(json.dumps(told))
    else:
        width = shutil.get_terminal_size((120, 40)).columns
        print(text(color=sys.stdout.isatty(), width=width))


def _write_for_browsers(
    out: Path,
    options: RunOptions,
    scenario: Scenario,
    verdict: RunVerdict,
    facts: RunFacts,
    raced: Raced,
) -> None:
    """``report.html`` for a browser, ``trace.json`` for Perfetto."""
    told = RunPage(
        commands=_commands(options, facts),
        text=scenario.text,
        notes=_failure(verdict, raced) + raced.last_words,
        faults=[(str(each.fault), each.applied) for each in raced.faults],
    )
    page = render_run_page(verdict, facts, scenario.program, told)
    (out / "report.html").write_text(page)
    (out / "trace.json").write_text(json.dumps(trace_object(verdict, scenario.program)) + "\n")


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
        if verdict.devices:
            parts.append(f"           {devices_line(verdict, facts)}")
        if raced.failed:
            parts.append(f"           the testbed failed: {raced.failed}")
            parts += [f"           {line}" for line in raced.last_words]
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
        if raced.faults:
            parts.append("\nfaults applied")
            parts += [f"  {each.applied:>8,}  {each.fault}" for each in raced.faults]
        counters = verdict.counters.as_dict()
        parts.append("\n" + ", ".join(f"{name} {count:,}" for name, count in counters.items()))
        parts.append(f"\nrepeat  {_again(options)}\nfiles   {facts.out}")
        return "\n".join(parts)

    return text


def _failure(verdict: RunVerdict, raced: Raced) -> list[str]:
    """That the testbed failed, unless that is the reason for the verdict already."""
    told = raced.failed and verdict.verdict == VIOLATION
    return [f"the testbed failed: {raced.failed}"] * bool(told)


def _commands(options: RunOptions, facts: RunFacts) -> dict[str, str]:
    """What may be done next, by what it does."""
    told = {
        "race it again": _again(options),
        "judge these histories again": shlex.join(["shootdown", "check", facts.out]),
    }
    if not any("=" in device for device in options.devices):  # it explores one kind of device
        told["try every order"] = shlex.join(["shootdown", "explore", *_subject(options)])
    return told


def _again(options: RunOptions) -> str:
    words = ["shootdown", "run", *_subject(options)]
    words += ["--testbed", options.testbed] if options.on is None else ["--on", options.on]
    words += ["--instances", str(options.instances), "--seed", str(options.seed)]
    if options.fault is not None:
        words += ["--fault", options.fault]
    return shlex.join(words)


def _subject(options: RunOptions) -> list[str]:
    """What is put to the test, as `run` and `explore` take it."""
    words = [options.scenario, "--discipline", options.discipline]
    words += ["--mutant", options.mutant] if options.mutant else []
    words += [word for device in options.devices for word in ("--device", device)]
    return words + [word for setting in options.settings for word in ("--option", setting)]
