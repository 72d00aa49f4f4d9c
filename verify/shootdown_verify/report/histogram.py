"""The outcome histogram, as litmus7 prints it.

A line is a count, ``:>`` and an outcome; ``*>`` stands before an outcome that the scenario
forbids, ``!>`` before one that is not forbidden but was a violation in some instance.
"""

from __future__ import annotations

from shootdown_verify.judge import OutcomeCount, RunVerdict


def render_histogram(name: str, verdict: RunVerdict) -> str:
    """All outcomes, the most frequent first, and litmus7's observation of violations."""
    states = sorted(verdict.histogram.items(), key=lambda item: (-item[1].count, item[0]))
    width = max((len(str(seen.count)) for _, seen in states), default=0)
    lines = [f"Histogram ({len(states)} states)"]
    lines += [f"{seen.count:<{width}} {_mark(seen)}>{text}{_share(seen)}" for text, seen in states]
    wrong = sum(seen.violations for _, seen in states)
    right = verdict.instances - wrong
    lines.append(f"Observation {name} {_frequency(wrong, right)} {wrong} {right}")
    return "\n".join(lines)


def _mark(seen: OutcomeCount) -> str:
    if seen.forbidden:
        return "*"
    return "!" if seen.violations else ":"


def _share(seen: OutcomeCount) -> str:
    """How many were violations, where not all or none were."""
    mixed = 0 < seen.violations < seen.count
    return f"  ({seen.violations} of them violations)" if mixed else ""


def _frequency(wrong: int, right: int) -> str:
    if not wrong:
        return "Never"
    return "Sometimes" if right else "Always"
