"""``shootdown explain``: the passing run nearest to a counterexample, and what parts the two."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from shootdown_cli.classes import load_device
from shootdown_cli.exits import EXIT_INCONCLUSIVE, EXIT_OK
from shootdown_cli.replay import read_replay
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.explaining import Explanation, explain_schedule
from shootdown_verify.explore.result import Counterexample, TracedStep
from shootdown_verify.explore.trace import Divergence
from shootdown_verify.fault_tasks import read_environment
from shootdown_verify.judge.instance import judge_instance
from shootdown_verify.litmus import Scenario
from shootdown_verify.replay_file import NO_NAME, Replay
from shootdown_verify.replaying import in_known_order
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.report.verdict import under_what

NONE_NEAR = "no reversal of a single race makes it pass"


@dataclass(frozen=True, slots=True)
class Explained:
    """A replay file and what was found about it."""

    replay: Replay
    scenario: Scenario
    explanation: Explanation

    def outcome(self, run: Counterexample) -> str:
        """Registers at the end of a run."""
        records = (*run.records, *run.aftermath)
        return judge_instance(records, self.scenario.program, self.scenario.conditions).outcome


def explain(file: Path, *, as_json: bool) -> int:
    """Explain a replay file; 3 when no single race makes the difference."""
    replay, scenario = read_replay(file)
    try:
        explanation = explain_schedule(
            in_known_order(scenario.program),
            load_discipline(replay.discipline),
            replay.steps,
            conditions=scenario.conditions,
            make_device=load_device(replay.device) if replay.device else Device,
            mutant=load_mutant(replay.mutant),
            faults=read_environment(replay.faults),
        )
    except Divergence as met:
        raise UsageError(
            ErrorCode.USAGE, seen=str(met), expected="a schedule that happens", where=str(file)
        ) from met
    if not explanation.failing.findings:
        raise UsageError(
            ErrorCode.USAGE,
            seen="a schedule that shows nothing wrong",
            expected="a counterexample",
            where=str(file),
        )
    explained = Explained(replay, scenario, explanation)
    print(json.dumps(_object(explained)) if as_json else _text(explained))
    return EXIT_OK if explanation.race is not None else EXIT_INCONCLUSIVE


def _object(explained: Explained) -> dict[str, object]:
    found = explained.explanation
    race, passing = found.race, found.passing
    finding = found.failing.findings[0]
    return {
        "command": "explain",
        "scenario": explained.scenario.name,
        "discipline": explained.replay.discipline,
        "shrunk": explained.replay.shrunk or None,
        "verdict": f"{finding.check} {finding.title}",
        "race": race
        and {
            "earlier": {"number": race.number, **_step(race.earlier)},
            "later": {"number": race.later_number, **_step(race.later)},
            "over": race.over,
        },
        "races_tried": found.tried,
        "failing": [_step(step) for step in found.failing.steps],
        "passing": passing and [_step(step) for step in passing.steps],
        "passing_outcome": passing and explained.outcome(passing),
    }


def _step(step: TracedStep) -> dict[str, object]:
    return {
        "task": step.task,
        "step": step.step,
        "occurrence": step.occurrence,
        "effect": step.effect,
    }


def _text(explained: Explained) -> str:
    found = explained.explanation
    finding = found.failing.findings[0]
    replay = explained.replay
    head = under_what(
        explained.scenario.name, replay.discipline, device=replay.device, mutant=replay.mutant
    )
    lines = [
        f"{head}: {finding.check} {finding.title}",
        *([f"the scenario {replay.shrunk}"] if replay.shrunk else []),
        "",
        "FAILS",
        _timeline(explained, found.failing),
    ]
    if found.race is None or found.passing is None:
        return "\n".join([*lines, "", f"{NONE_NEAR} ({found.tried} tried)"])
    race = found.race
    earlier, later = _said(explained, race.earlier), _said(explained, race.later)
    over = f" (both touch {', '.join(race.over)})" if race.over else ""
    lines += [
        "",
        f"PASSES  {explained.outcome(found.passing)}",
        _timeline(explained, found.passing),
        "",
        f"the one race{over}:",
        f"  fails   {earlier}  before  {later}",
        f"  passes  {later}  before  {earlier}",
    ]
    return "\n".join(lines)


def _said(explained: Explained, step: TracedStep) -> str:
    places = explained.scenario.program.locations
    about = f" {places[step.location].name}" if step.location >= 0 else ""
    return f"{step.task} {{{step.step or NO_NAME}{about}}}"


def _timeline(explained: Explained, run: Counterexample) -> str:
    return render_timeline(
        run.records,
        explained.scenario.program,
        run.findings,
        width=shutil.get_terminal_size((120, 40)).columns,
        color=sys.stdout.isatty(),
    )
