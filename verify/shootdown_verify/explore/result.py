"""What an exploration found: the verdict, how much was looked at, and the counterexamples.

Only values may live here; nothing in it points back into a search.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shootdown_protocol.history import Stamped
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.transition import Hazards


class Verdict(StrEnum):
    """A budget that ran out is never ``ok``."""

    OK = "ok"
    VIOLATION = "violation"
    INCONCLUSIVE = "inconclusive"


class Strategy(StrEnum):
    """How orders are chosen."""

    EXHAUSTIVE = "exhaustive"
    """Every order: breadth-first search, reduced; against source-DPOR if that takes long."""
    BREADTH_FIRST = "breadth-first"
    """Every state, without reduction."""
    SOURCE_DPOR = "source-dpor"
    SLEEP_SETS = "sleep-sets"
    PREEMPTIONS = "preemptions"
    """All runs with no preemption, then with one, and so on."""
    PCT = "pct"
    POS = "pos"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Budget:
    """Where a search stops.

    ``states`` counts stored ones, ``shortest_states`` those of the search for a shortest
    counterexample once there is one; ``steps`` those of schedule searches in all, ``runs`` those of
    random strategies, and ``run_steps`` the steps of one run, which is given up there.
    """

    seconds: float = 60.0
    states: int = 2_000_000
    shortest_states: int = 200_000
    steps: int = 100_000_000
    runs: int = 10_000
    run_steps: int = 10_000


@dataclass(frozen=True, slots=True)
class TracedStep:
    """One step of a counterexample.

    ``step`` is its full name (empty for the few that are not reported), ``occurrence`` counts the
    task's steps of that name, from 1, and ``effect`` says what it changed.
    """

    task: str
    step: str
    occurrence: int
    location: int
    effect: str


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A run with findings, the last step's or, where it has come to an end, that of the end.

    ``records`` are what it reported, stamped with step numbers for times; ``aftermath`` what it
    reported when let run to its end, so that the instance can be judged as a whole.
    """

    findings: tuple[Finding, ...]
    steps: tuple[TracedStep, ...]
    preemptions: int
    records: tuple[Stamped, ...]
    aftermath: tuple[Stamped, ...]


@dataclass(frozen=True, slots=True)
class RandomBound:
    """What runs of PCT without a finding are worth.

    With ``tasks`` tasks and at most ``steps`` steps, one run hits a bug of depth ``depth`` with
    probability at least ``hit`` = 1 / (tasks * steps ** (depth - 1)); had there been one, all of
    the ``runs`` would have missed it with probability at most ``miss``.
    """

    runs: int
    tasks: int
    steps: int
    depth: int
    hit: float
    miss: float


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one exploration.

    ``complete``: every order was looked at. ``states`` and ``transitions`` were visited by
    breadth-first search; ``traces`` complete runs were made by the others, with ``blocked`` ones
    that led nowhere new, in ``steps`` steps. ``shortest_steps`` is the length of the first
    counterexample (-1 without one), and ``shortest`` says whether none has fewer steps.
    ``most_faults`` is the largest number of faults in any order that was looked at.
    ``preemptions`` are those of the first counterexample, or the bound up to which a search by
    preemptions found nothing, or -1. ``outcomes`` are those of all ends seen. ``stopped_by``
    names the limit that was met.
    """

    verdict: Verdict
    strategy: Strategy
    complete: bool
    states: int = 0
    transitions: int = 0
    traces: int = 0
    blocked: int = 0
    steps: int = 0
    preemptions: int = -1
    shortest_steps: int = -1
    shortest: bool = False
    counterexamples: tuple[Counterexample, ...] = ()
    outcomes: frozenset[str] = frozenset()
    hazards: Hazards = field(default_factory=Hazards)
    bounds: tuple[RandomBound, ...] = ()
    stopped_by: str = ""
    most_faults: int = 0
    elapsed_s: float = 0.0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of the first counterexample."""
        return self.counterexamples[0].findings if self.counterexamples else ()
