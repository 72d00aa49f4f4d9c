"""The memory models in order of strength, and the weakest that an execution breaks.

Only the list of the models and the way to ask them may live here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from shootdown_verify.check import causal, coherence, real_time, sc, tso
from shootdown_verify.check.events import Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Cycle

FIND: Final[dict[Model, Callable[[Execution], Cycle | None]]] = {
    module.MODEL: module.find for module in (coherence, causal, tso, sc, real_time)
}
"""For each model, the weakest first, what finds the shortest cycle that breaks it."""

HOLDS: Final[dict[Model, Callable[[Execution], bool]]] = {
    module.MODEL: module.holds for module in (coherence, causal, tso, sc, real_time)
}
"""For each model whether it holds, without looking for a cycle to show."""

UNTIMED: Final = (Model.COHERENCE, Model.CAUSAL, Model.TSO, Model.SC)
"""Models that look at no clock."""


class Broken(NamedTuple):
    """The weakest model that an execution breaks, and the shortest cycle that shows it."""

    model: Model
    cycle: Cycle


def weakest_broken(execution: Execution, models: tuple[Model, ...] = tuple(FIND)) -> Broken | None:
    """Ask the models in turn, the weakest first; None where all hold."""
    for model in models:
        cycle = FIND[model](execution)
        if cycle is not None:
            return Broken(model, cycle)
    return None
