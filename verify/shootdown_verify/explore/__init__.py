"""The explorer: every order of a program's steps, or as many as a budget allows.

`explore` is the entry. Reading order: `store` and `cells` (what a state is), `automaton` and
`system` (what a step does, remembered), `breadth_first` and `reduction`, `dpor`, the others.
"""

from shootdown_verify.explore.explorer import INTERRUPTED, PREEMPTIONS, Exploration, explore
from shootdown_verify.explore.result import (
    Budget,
    Counterexample,
    RandomBound,
    Result,
    Strategy,
    TracedStep,
    Verdict,
)
from shootdown_verify.explore.system import UnsoundStep
from shootdown_verify.explore.trace import Divergence
from shootdown_verify.explore.transition import Hazards

__all__ = [
    "INTERRUPTED",
    "PREEMPTIONS",
    "Budget",
    "Counterexample",
    "Divergence",
    "Exploration",
    "Hazards",
    "RandomBound",
    "Result",
    "Strategy",
    "TracedStep",
    "UnsoundStep",
    "Verdict",
    "explore",
]
