"""``shootdown bugs``: real bugs, the wrong order of each caught and the right one proved."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections import Counter
from functools import partial
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.classes import load_device
from shootdown_cli.exits import EXIT_OF, EXIT_OK, EXIT_VIOLATION
from shootdown_cli.progress import ProgressLine
from shootdown_cli.scenarios import as_options, read_scenario
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.catalogue import (
    SIDE_SECONDS,
    Bug,
    Explored,
    Parts,
    Side,
    Verified,
    bug_of,
    explore_side,
    live_command,
    verify,
)
from shootdown_verify.litmus import Configuration, Scenario
from shootdown_verify.replay_file import render_replay
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.source import nearest

SHIPPED = "bugs"
"""The folder among the shipped scenarios."""
TEXT_LEAST = 30
"""Columns that a text needs beside its bug's id; with fewer it goes under it."""
OK, VIOLATION, INCONCLUSIVE = "ok", "violation", "inconclusive"


def find_parts(scenario: Scenario, configuration: Configuration) -> Parts:
    """What a scenario's claim names."""
    named = as_options(scenario, configuration)
    return Parts(
        load_discipline(named.discipline),
        load_device(named.device) if named.device else Device,
        load_mutant(named.mutant),
        named,
    )


def bugs(name: str, folder: str, out: Path, *, verify: bool, as_json: bool) -> int:
    """List, explain or verify; gives the exit status."""
    known = load_bugs(Path(folder) if folder else places.configs() / "scenarios" / SHIPPED)
    chosen = [_find(name, known)] if name else list(known.values())
    if verify:
        return _verify(chosen, as_json=as_json)
    if name:
        return _explain(chosen[0], out, _live(chosen[0], folder), as_json=as_json)
    return _list(chosen, as_json=as_json)


def load_bugs(folder: Path) -> dict[str, Bug]:
    """Every scenario of a folder that states facts, by id."""
    if not folder.is_dir():
        raise UsageError(
            ErrorCode.USAGE, seen=str(folder), expected="a folder of scenarios", where="--from"
        )
    scenarios = [read_scenario(path) for path in sorted(folder.glob("*.litmus"))]
    found = {each.name: bug_of(each) for each in scenarios if each.facts is not None}
    if not found:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"no bug among {len(scenarios)} scenarios",
            expected="a .litmus file with 'bug' statements",
            where=str(folder),
        )
    return found


def _live(bug: Bug, folder: str) -> str | None:
    """How to see a bug live, if there is a fault plan for it; of one's own, beside the scenario."""
    wrong = as_options(bug.scenario, bug.wrong[0].configuration)
    if folder:
        scenario = str(Path(folder) / f"{bug.id}.litmus")
        plan = Path(folder) / f"{bug.id}.toml"
        return live_command(wrong, scenario, str(plan)) if plan.is_file() else None
    shipped = places.configs() / "faults" / SHIPPED / f"{bug.id}.toml"
    return live_command(wrong, bug.id, bug.id) if shipped.is_file() else None


def _find(name: str, known: dict[str, Bug]) -> Bug:
    if name in known:
        return known[name]
    holding = [each for each in known if name.lower() in each]
    like = holding[0] if len(holding) == 1 else nearest(name, known)
    hint = f"; did you mean {like}?" if like else ""
    raise UsageError(
        ErrorCode.USAGE,
        seen=repr(name) + hint,
        expected=f"one of {', '.join(known)}",
        where="bugs",
    )


def _explore(known: list[Bug], *, both: bool, quiet: bool) -> list[Verified]:
    line = ProgressLine(quiet=quiet)
    progress = partial(line.show_share, what="bugs")
    workers = min(len(known), len(os.sched_getaffinity(0)))
    found = verify(known, find_parts, workers=workers, both=both, progress=progress)
    line.end()
    return found


# Listing


def _list(known: list[Bug], *, as_json: bool) -> int:
    found = _explore(known, both=False, quiet=as_json)
    if as_json:
        told = [
            _described(bug) | {"steps": each.wrong[0].steps, "pass": each.wrong[0].check or None}
            for bug, each in zip(known, found, strict=True)
        ]
        print(json.dumps({"command": "bugs", "bugs": told}))
        return EXIT_OK
    width = shutil.get_terminal_size((120, 40)).columns
    for class_, count in Counter(bug.facts.class_ for bug in known).items():
        print(f"{class_} ({count})")
        for bug, each in zip(known, found, strict=True):
            if bug.facts.class_ == class_:
                print(_line(bug, each.wrong[0], max(len(other.id) for other in known), width))
        print()
    said = "1 bug" if len(known) == 1 else f"{len(known)} bugs"
    print(f"{said}; shootdown bugs ID explains one, --verify explores both sides of all")
    return EXIT_OK


def _line(bug: Bug, side: Side, ids: int, width: int) -> str:
    shown = f"{side.check} in {side.steps} steps" if side.check else side.verdict
    configuration = bug.wrong[0].configuration
    named = configuration.device or configuration.mutant
    words = bug.wrong[0].words if named else f"discipline {configuration.discipline}"
    head = f"  {bug.id:<{ids}}  "
    text = f"{bug.scenario.summary} [{words}: {shown}]"
    if width - len(head) < TEXT_LEAST:
        under = " " * 6
        return f"  {bug.id}\n" + textwrap.fill(
            text, max(width, TEXT_LEAST), initial_indent=under, subsequent_indent=under
        )
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head))


def _described(bug: Bug) -> dict[str, object]:
    return {
        "id": bug.id,
        "summary": bug.scenario.summary,
        "class": bug.facts.class_,
        "fix": bug.facts.fix,
        "caught_by": bug.wrong[0].words,
    }


# Verifying


def _verify(known: list[Bug], *, as_json: bool) -> int:
    began = time.monotonic()
    found = _explore(known, both=True, quiet=as_json)
    elapsed = time.monotonic() - began
    verdict = _verdict(found)
    if as_json:
        told = [_object(bug, each) for bug, each in zip(known, found, strict=True)]
        print(
            json.dumps(
                {
                    "command": "bugs",
                    "verdict": verdict,
                    "bugs": told,
                    "elapsed_s": round(elapsed, 2),
                }
            )
        )
        return EXIT_OF[verdict]
    ids = max(len(bug.id) for bug in known)
    for each in found:
        side = each.wrong[0]
        caught = f"{side.check} in {side.steps} steps" if each.caught else "NOT CAUGHT"
        fixed = "proved" if each.fixed_safe else "NOT PROVED"
        print(f"{each.id:<{ids}}  {caught:<20}  {fixed:<10}  {each.elapsed_s:6.2f} s")
        for why in _failures(each):
            print(f"{'':<{ids}}  {why}")
    caught_all = sum(each.caught for each in found)
    fixed_all = sum(each.fixed_safe for each in found)
    head = f"{verdict.upper()}  {caught_all} of {len(found)} caught, {fixed_all} proved right"
    print(f"\n{head}, in {elapsed:.1f} s")
    return EXIT_OF[verdict]


def _verdict(found: list[Verified]) -> str:
    failed = [each for each in found if not (each.caught and each.fixed_safe)]
    if not failed:
        return OK
    return INCONCLUSIVE if all(each.undecided for each in failed) else VIOLATION


def _object(bug: Bug, verified: Verified) -> dict[str, object]:
    first = verified.wrong[0]
    return {
        **_described(bug),
        "caught": verified.caught,
        "fixed_safe": verified.fixed_safe,
        "pass": first.check or None,
        "steps": first.steps,
        "elapsed_s": round(verified.elapsed_s, 3),
        "states": sum(side.states for side in (*verified.wrong, *verified.right)),
        "why": _failures(verified),
    }


def _failures(verified: Verified) -> list[str]:
    """What was claimed and did not come out, in words."""
    said = []
    for side in (*verified.wrong, *verified.right):
        if side.held:
            continue
        wanted = f"a violation of {' or '.join(side.claim.by)}" if side.claim.caught else "a proof"
        seen = f"{side.check} {side.title}".strip() or side.stopped_by or side.verdict
        said.append(f"{side.claim.words}: {seen}; expected {wanted}")
    return said


# Explaining one


def _explain(bug: Bug, out: Path, live: str | None, *, as_json: bool) -> int:
    """Show the wrong order as a timeline, the right one as what was proved, and how to replay."""
    wrong = explore_side(bug, bug.wrong[0], find_parts, SIDE_SECONDS)
    right = [explore_side(bug, claim, find_parts, SIDE_SECONDS) for claim in bug.right]
    replay = _keep(bug, wrong.side, out)
    sides = Verified(bug.id, (wrong.side,), tuple(each.side for each in right))
    if as_json:
        told = {
            "command": "bugs",
            **_object(bug, sides),
            "symptom": bug.facts.symptom,
            "wrong": bug.facts.wrong,
            "right": bug.facts.right,
            "replay": replay,
            "live": live,
            "counterexample": _steps(wrong),
        }
        print(json.dumps(told))
    else:
        print(_told(bug, wrong, [each.side for each in right], _again(replay, live)))
    if sides.caught and sides.fixed_safe:
        return EXIT_OK
    return EXIT_OF[INCONCLUSIVE] if sides.undecided else EXIT_VIOLATION


def _steps(explored: Explored) -> list[dict[str, str]]:
    found = explored.result.counterexamples
    steps = found[0].steps if found else ()
    return [{"task": step.task, "step": step.step, "effect": step.effect} for step in steps]


def _keep(bug: Bug, side: Side, out: Path) -> str | None:
    if side.replay is None:
        return None
    path = places.new_run_directory(out, bug.id) / f"{bug.id}.replay"
    path.write_text(render_replay(side.replay))
    return str(path)


def _again(replay: str | None, live: str | None) -> list[str]:
    """How to make a bug happen again, and how to meet it in a run."""
    said = [f"live   {live}"] if live else []
    return [*said, f"replay shootdown replay {replay}"] if replay else said


def _told(bug: Bug, wrong: Explored, right: list[Side], again: list[str]) -> str:
    width = shutil.get_terminal_size((120, 40)).columns
    facts, side = bug.facts, wrong.side
    about = (
        ("class", facts.class_),
        ("fix", facts.fix),
        ("symptom", facts.symptom),
        ("wrong", facts.wrong),
        ("right", facts.right),
    )
    lines = [f"{bug.id}: {bug.scenario.summary}", ""]
    lines += [
        textwrap.fill(text, width, initial_indent=f"{key:<9}", subsequent_indent=" " * 9)
        for key, text in about
    ]
    shown = f"{side.check} {side.title}, {side.steps} steps" if side.check else side.verdict
    lines += ["", f"WRONG  {side.claim.words}: {shown}", ""]
    for found in wrong.result.counterexamples[:1]:
        color = sys.stdout.isatty()
        program = bug.scenario.program
        lines.append(
            render_timeline(found.records, program, found.findings, width=width, color=color)
        )
    lines.append("")
    for each in right:
        proof = f"proved, {each.states:,} states" if each.held else f"NOT PROVED: {each.verdict}"
        lines.append(f"RIGHT  {each.claim.words}: {proof}")
    lines += again
    return "\n".join(lines)
