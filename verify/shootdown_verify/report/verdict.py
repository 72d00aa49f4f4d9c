"""A run's verdict as one line and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shootdown_verify.judge import (
    CONDITION,
    INCONCLUSIVE,
    OK,
    VIOLATION,
    Finding,
    InstanceVerdict,
    Model,
    RunVerdict,
)
from shootdown_verify.report.style import Style, paint

_STYLES = {OK: Style.GOOD, VIOLATION: Style.WRONG, INCONCLUSIVE: Style.DOUBT}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a verdict does not know of its run: ``elapsed_s`` in seconds, ``out`` its directory.

    ``device`` is what devices were, if not the right ones; ``agents`` names the agents that had
    been attached to devices.
    """

    command: str
    scenario: str
    discipline: str
    seed: int
    elapsed_s: float
    out: str
    mutant: str = ""
    device: str = ""
    agents: Mapping[str, str] = field(default_factory=dict)

    @property
    def under(self) -> str:
        """What was put to the test."""
        return under_what(self.scenario, self.discipline, device=self.device, mutant=self.mutant)


def verdict_line(verdict: RunVerdict, facts: RunFacts, *, color: bool = False) -> str:
    """``VIOLATION  stale-read  real-time order broken      cow-two-pages under range_end``."""
    word = paint(verdict.verdict.upper(), _STYLES[verdict.verdict], color=color)
    return f"{word}  {verdict_words(verdict)}      {facts.under}"


def under_what(scenario: str, discipline: str, *, device: str = "", mutant: str = "") -> str:
    """``cow-two-pages under clear_flush, device inserts_late``: what was put to the test."""
    parts = [f"device {device}"] * bool(device) + [f"mutant {mutant}"] * bool(mutant)
    return ", ".join([f"{scenario} under {discipline}", *parts])


def verdict_words(verdict: RunVerdict) -> str:
    """What is wrong, or that nothing is, or why neither can be said."""
    if verdict.verdict == VIOLATION:
        order = f"  {order_broken(verdict.weakest_model)}" if verdict.weakest_model else ""
        return f"{chief_title(verdict)}{order}"
    if verdict.verdict == INCONCLUSIVE:
        return "; ".join(verdict.reasons)
    return f"{verdict.instances:,} instances, no violation"


def order_broken(model: Model) -> str:
    """``real-time order broken``."""
    return f"{model.label} order broken"


def chief_title(verdict: RunVerdict) -> str:
    """The title of the chief kind of finding; empty where nothing was found."""
    ranked = ranked_kinds(verdict)
    return ranked[0][1] if ranked else ""


def ranked_kinds(verdict: RunVerdict) -> list[tuple[str, str]]:
    """Kinds of finding, check and title, the commonest first; the condition's after all others."""
    ranked = sorted(verdict.findings.items(), key=lambda item: (item[0][0] == CONDITION, -item[1]))
    return [kind for kind, _ in ranked]


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of each sentence: a load that is repeated is told once."""
    told: dict[str, Finding] = {}
    for finding in findings:
        told.setdefault(finding.sentence, finding)
    return list(told.values())


def ranked_devices(verdict: RunVerdict) -> list[tuple[str, int]]:
    """Devices whose access or completion was wrong, with in how many instances; worst first."""
    return sorted(verdict.devices.items(), key=lambda item: (-item[1], item[0]))


def devices_line(verdict: RunVerdict, facts: RunFacts) -> str:
    """``wrong at   d2 (agent DEV2-41): 87 instances``; empty when no finding is of a device."""
    named = [
        device
        + (f" (agent {facts.agents[device]})" if device in facts.agents else "")
        + f": {count:,} instances"
        for device, count in ranked_devices(verdict)
    ]
    return "wrong at   " + ", ".join(named) if named else ""


def verdict_object(verdict: RunVerdict, facts: RunFacts) -> dict[str, object]:
    """What ``--json`` prints and ``verdict.json`` holds: plain values only."""
    return {
        "command": facts.command,
        "scenario": facts.scenario,
        "discipline": facts.discipline,
        "mutant": facts.mutant or None,
        "verdict": verdict.verdict,
        "instances": verdict.instances,
        "violations": verdict.violations,
        "weakest_model": _label(verdict.weakest_model),
        "seed": facts.seed,
        "histogram": {text: seen.count for text, seen in verdict.histogram.items()},
        "violating_outcomes": {
            text: seen.violations for text, seen in verdict.histogram.items() if seen.violations
        },
        "counters": verdict.counters.as_dict(),
        "findings": [
            {"check": check, "title": title, "count": count}
            for (check, title), count in sorted(verdict.findings.items())
        ],
        "named_devices": [
            {"device": device, "agent": facts.agents.get(device), "violations": count}
            for device, count in ranked_devices(verdict)
        ],
        "first_violation": None
        if verdict.first is None
        else _instance_object(verdict.first.instance, verdict.first.verdict),
        "reasons": list(verdict.reasons),
        "records": verdict.records,
        "elapsed_s": facts.elapsed_s,
        "out": facts.out,
    }


def _instance_object(number: int, verdict: InstanceVerdict) -> dict[str, object]:
    return {
        "instance": number,
        "outcome": verdict.outcome,
        "weakest_model": _label(verdict.weakest_model),
        "findings": [_finding_object(finding) for finding in verdict.findings],
    }


def _finding_object(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "title": finding.title,
        "task": finding.task,
        "why": finding.sentence,
        "edges": list(finding.edges),
    }


def _label(model: Model | None) -> str | None:
    return None if model is None else model.label
