"""``shootdown replay``: make a counterexample happen again, here or on real processes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.classes import absolute, device_classes, load_device
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK
from shootdown_cli.interrupts import Interrupts
from shootdown_cli.judging import Watch, judge
from shootdown_cli.racing import Race, Raced
from shootdown_cli.testbed import END_S, start
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_device_agent.machine.device import Device
from shootdown_protocol import messages
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_verify.fault_tasks import read_environment
from shootdown_verify.litmus import Scenario, parse
from shootdown_verify.replay_file import Replay, load_replay
from shootdown_verify.replaying import Replayed, in_known_order, replay_schedule
from shootdown_verify.report.verdict import under_what
from shootdown_verify.testbed import Testbed

OK = "ok"
"""The verdict of a schedule that shows nothing wrong."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a schedule was followed: what it showed, or where it diverged."""

    verdict: str
    outcome: str
    diverged: str

    def same_as(self, replay: Replay) -> bool:
        """Whether it showed what the file says."""
        right = (self.verdict or OK) == replay.verdict
        return right and not self.diverged and self.outcome in ("", replay.outcome)


def replay(file: Path, verify: int, *, live: bool, by_messages: bool, as_json: bool) -> int:
    """Follow a replay file's schedule so many times; gives the exit status.

    ``by_messages``: live, and the agent has no shared memory.
    """
    if by_messages and not live:
        raise UsageError(
            ErrorCode.USAGE,
            seen="--messages without --live",
            expected="--live --messages: in the explorer there are no agents",
            where="replay",
        )
    found, scenario = read_replay(file)
    if live:
        attempts = _live(found, scenario, verify, shared_memory=not by_messages)
    else:
        attempts = follow_here(found, scenario, verify)
    same = sum(attempt.same_as(found) for attempt in attempts)
    interrupted = len(attempts) < verify
    _show(found, attempts, same, live=live, interrupted=interrupted, as_json=as_json)
    if interrupted:
        tried = f"{same} of the {len(attempts)} times so far were followed, of {verify} asked for"
        print(f"shootdown: interrupted: {tried}", file=sys.stderr)
    return EXIT_OK if same == verify else EXIT_FAILED


def read_replay(file: Path) -> tuple[Replay, Scenario]:
    """A replay file and its scenario, which must be the one that the schedule was found for.

    Files of one's own that it names are looked for from here, then from its folder upwards.
    """
    try:
        found = load_replay(file)
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"{error.strerror or error}",
            expected="a replay file, as explore writes it",
            where=str(file),
        ) from error
    scenario = parse(
        found.text,
        f"{found.scenario}.litmus",
        operations=OPERATIONS,
        disciplines=DISCIPLINES,
    )
    if not found.intact:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"a scenario whose digest is {scenario.digest[:12]}",
            expected=f"the one that the schedule was found for, {found.digest[:12]}",
            where=str(file),
        )
    found = dataclasses.replace(
        found,
        device=located(found.device, file),
        mutant=located(found.mutant, file),
        discipline=located(found.discipline, file),
    )
    return found, scenario


def located(spec: str, file: Path) -> str:
    """A ``FILE.py:NAME`` as it is found from here, else from a folder that a replay file is in."""
    name, colon, rest = spec.rpartition(":") if ":" in spec else (spec, "", "")
    path = Path(name)
    if path.suffix != ".py" or path.is_file():
        return spec
    around = (folder / path for folder in file.resolve().parents)
    there = next((each for each in around if each.is_file()), path)
    return f"{there}{colon}{rest}"


def follow(found: Replay, scenario: Scenario) -> Replayed:
    """Follow the schedule in this process, on the machines themselves."""
    return replay_schedule(
        in_known_order(scenario.program),
        load_discipline(found.discipline),
        found.steps,
        conditions=scenario.conditions,
        make_device=load_device(found.device) if found.device else Device,
        mutant=load_mutant(found.mutant),
        faults=read_environment(found.faults),
    )


def follow_here(found: Replay, scenario: Scenario, verify: int) -> list[Attempt]:
    """Follow it so many times."""
    made = (follow(found, scenario) for _ in range(verify))
    return [Attempt(each.verdict, each.outcome, each.diverged) for each in made]


def _live(found: Replay, scenario: Scenario, verify: int, *, shared_memory: bool) -> list[Attempt]:
    """Follow the schedule on a daemon and an agent that make a step only when granted one.

    Fewer times than asked for when a person has had enough; what Ctrl-C cut off is none of them.
    """
    classes = device_classes([found.device] if found.device else [], scenario.program)
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    testbed = Testbed(
        name="replay",
        agents=1,
        iotlb=False,
        shared_memory=shared_memory,
        instances_per_batch=1,
        # Where nothing is lost, a device that waits for ever is not to be given up before that.
        completion_timeout_ms=500 if found.faults else 5000,
    )
    attempts: list[Attempt] = []
    with tempfile.TemporaryDirectory(prefix="shootdown-replay-") as folder, Interrupts() as given:
        processes = start(
            testbed,
            f"replay-{os.getpid()}",
            Path(folder) / "logs",
            pids_file=Path(folder) / "pids.json",
            given_up=given.given_up,
        )
        try:
            with ControlClient(processes.record.endpoint("control")) as client:

                def once(request: messages.RunScenario) -> Raced:
                    record = processes.record
                    return Race(client, request, record, processes, given, lambda _: None).run()

                for number in range(verify):
                    if given.given_up():
                        break
                    history = Path(folder) / str(number)
                    history.mkdir()
                    raced = once(_request(client.number(), found, scenario, classes, history))
                    if given.given_up() and (raced.failed or raced.doubts):
                        break
                    attempts.append(_attempt(found, scenario, history, raced))
                client.stop("the replay is over")
        finally:
            processes.end(0.0 if given.count > 1 else END_S)
    return attempts


def _request(
    number: int, found: Replay, scenario: Scenario, classes: tuple[str, ...], history: Path
) -> messages.RunScenario:
    return messages.RunScenario(
        request=number,
        protocol_version=PROTOCOL_VERSION,
        program=scenario.program,
        discipline=found.discipline,
        mutant=absolute(found.mutant),
        device_classes=classes,
        instances=1,
        seed=found.seed,
        history=str(history),
        schedule=tuple(messages.ScheduledStep(step.task, step.step) for step in found.steps),
    )


def _attempt(found: Replay, scenario: Scenario, history: Path, raced: Raced) -> Attempt:
    """What a run by the schedule has shown."""
    if raced.failed:
        return Attempt("", "", raced.failed)
    watch = Watch(lambda _: None, lambda: False)
    verdict = judge(scenario, found.discipline, history, raced, watch)
    shown = ""
    if verdict.first is not None:
        findings = verdict.first.verdict.findings
        named = next((f for f in findings if found.verdict == f"{f.check} {f.title}"), findings[0])
        shown = f"{named.check} {named.title}"
    outcome = next(iter(verdict.histogram), "")
    return Attempt(shown, outcome, "")


def _show(
    found: Replay,
    attempts: list[Attempt],
    same: int,
    *,
    live: bool,
    interrupted: bool,
    as_json: bool,
) -> None:
    where = "on real processes" if live else "in the explorer"
    told = {
        "command": "replay",
        "scenario": found.scenario,
        "discipline": found.discipline,
        "mutant": found.mutant or None,
        "faults": found.faults or None,
        "shrunk": found.shrunk or None,
        "live": live,
        "interrupted": interrupted,
        "times": len(attempts),
        "same": same,
        "verdict": found.verdict,
        "outcome": found.outcome,
        "attempts": [dataclasses.asdict(attempt) for attempt in attempts],
    }
    if as_json:
        print(json.dumps(told))
        return
    print(f"{same}/{len(attempts)}  {found.verdict}  {found.outcome}")
    under = under_what(found.scenario, found.discipline, device=found.device, mutant=found.mutant)
    print(f"       {under}, {len(found.steps)} steps, {where}")
    if found.shrunk:
        print(f"       {found.shrunk}")
    for number, attempt in enumerate(attempts, 1):
        if not attempt.same_as(found):
            seen = attempt.diverged or f"{attempt.verdict or 'no violation'} {attempt.outcome}"
            print(f"       time {number}: {seen}")
