"""A replay file for ``shootdown check``: its schedule is made again, and its records judged."""

from __future__ import annotations

from pathlib import Path

from shootdown_cli.checked import SHOOTDOWN, Checked
from shootdown_cli.own_history import finding_object, models_of
from shootdown_cli.replay import follow, read_replay
from shootdown_verify.check.passes import INCONCLUSIVE, OK, VIOLATION, pass_of
from shootdown_verify.judge.instance import InstanceVerdict, judge_instance
from shootdown_verify.replaying import in_known_order


def check_replay(path: Path) -> Checked:
    """Judge what a schedule does; inconclusive where it cannot be followed to its end."""
    replay, scenario = read_replay(path)
    followed = follow(replay, scenario)
    program = in_known_order(scenario.program)
    judged = judge_instance(followed.records, program, scenario.conditions)
    reasons = [f"the schedule diverged: {followed.diverged}"] if followed.diverged else []
    unbroken = INCONCLUSIVE if reasons else OK
    verdict = VIOLATION if judged.findings else unbroken
    notes = ["one schedule says nothing of the others: `shootdown explore` does"]
    return Checked(
        path=str(path),
        format=SHOOTDOWN,
        verdict=verdict,
        models=models_of(judged.weakest_model, judged=True),
        findings=[
            finding_object(
                finding, finding.model or judged.weakest_model, followed.records, program
            )
            for finding in judged.findings
        ],
        records=len(followed.records),
        text=_text(path, verdict, judged, [*reasons, *notes]),
        reasons=reasons,
        notes=notes,
    )


def _text(path: Path, verdict: str, judged: InstanceVerdict, said: list[str]) -> list[str]:
    words = models_of(judged.weakest_model, judged=True)
    lines = [
        f"{verdict.upper()}  {judged.outcome}      {path}",
        "models  " + ", ".join(f"{key} {word}" for key, word in words.items()),
        *(f"        {line}" for line in said),
    ]
    for finding in judged.findings:
        lines += ["", f"why     {pass_of(finding)}: {finding.title} ({finding.check})"]
        lines += [f"        {finding.sentence}", *(f"        - {edge}" for edge in finding.edges)]
    return lines
