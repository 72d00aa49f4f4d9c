"""The passes by name: which finds a memory model broken, and which asks a check of ours.

Only names may live here; `shootdown check` and its documentation use them.
"""

from __future__ import annotations

from typing import Final

from shootdown_verify.check import (
    after_return,
    freshness,
    liveness,
    lost_write,
    place,
    protocol,
    translation,
)
from shootdown_verify.check.finding import CONDITION, Finding, Model

MODEL_KEY: Final = {
    Model.COHERENCE: "coherence",
    Model.CAUSAL: "causal",
    Model.TSO: "tso",
    Model.SC: "sc",
    Model.REAL_TIME: "realtime",
}
"""Models as ``--json`` of ``shootdown check`` calls them, the weakest first."""

OK: Final = "ok"
VIOLATION: Final = "violation"
INCONCLUSIVE: Final = "inconclusive"
NOT_JUDGED: Final = "not judged"

PASS_OF_MODEL: Final = {
    Model.COHERENCE: "coherence",
    Model.CAUSAL: "causality",
    Model.TSO: "tso",
    Model.SC: "sc",
    Model.REAL_TIME: "freshness",
}
"""The pass that finds a model broken."""

PASS_OF_CHECK: Final = {
    place.NAME: "translation",
    freshness.NAME: "freshness",
    lost_write.NAME: "lost-write",
    after_return.NAME: "translation",
    liveness.NAME: "liveness",
    protocol.NAME: "protocol",
    translation.NAME: "translation",
    CONDITION: CONDITION,
}
"""The pass that a check belongs to; what a scenario forbids has none."""


def pass_of(finding: Finding) -> str:
    """The pass that a finding of ours is one of."""
    if finding.title == "order-broken" and finding.model is not None:
        return PASS_OF_MODEL[finding.model]
    return PASS_OF_CHECK[finding.check]


def models_from(weakest: Model | None) -> dict[Model, str]:
    """Every model from the weakest broken one on is broken."""
    return {model: VIOLATION if weakest is not None and model >= weakest else OK for model in Model}
