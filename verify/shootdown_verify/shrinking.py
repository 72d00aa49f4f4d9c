"""Shrinking: the smallest part of a scenario in which the same goes wrong.

Threads, pages, translations, conditions and instructions are left out one by one, and what is left
is explored anew; it is kept if the same check finds the same kind of wrong in the same task, and
but for threads and pages only if that takes no more steps. What the violation does not depend on
within a run, and needless switches, are left out of every counterexample anyhow (see
`explore.counterexample`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.result import Counterexample, Result
from shootdown_verify.litmus import Scenario, ScenarioError
from shootdown_verify.litmus.sheet import Sheet, take_apart

Read = Callable[[str], Scenario]
"""Reads a scenario's text; raises `ScenarioError`."""
Search = Callable[[Scenario, bool], Result]
"""Explores a scenario; if told to, goes on after the first finding, for one of each check."""


class Same(NamedTuple):
    """What makes two violations the same."""

    check: str
    title: str
    task: str

    @classmethod
    def of(cls, finding: Finding) -> Same:
        """What must be found again."""
        return cls(finding.check, finding.title, finding.task)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest scenario found, and how it goes wrong; ``shortest``: in no fewer steps.

    ``dropped`` says what was left out, in that order; ``tried`` counts scenarios explored.
    """

    scenario: Scenario
    counterexample: Counterexample
    shortest: bool
    dropped: tuple[str, ...]
    tried: int


class _Found(NamedTuple):
    scenario: Scenario
    counterexample: Counterexample
    shortest: bool


def claim_of(subjects: Sequence[tuple[str, str]], check: str) -> str:
    """The line that says what was caught; subjects are (kind, name), without those not named.

    What cannot be said, as a discipline in somebody's file, is caught where nobody is told.
    """
    said = [f"{kind} {name}".strip() for kind, name in subjects]
    if not said or len(said) > 2 or any(":" in words for words in said):  # noqa: PLR2004 - A with B
        said = ["none"]
    return f"caught {' with '.join(said)} : {check}"


def shrink(
    scenario: Scenario,
    found: Counterexample,
    read: Read,
    search: Search,
    *,
    claim: str,
    seconds: float,
) -> Shrunk | None:
    """Leave out what can be, until nothing can or time is up; None if nothing could.

    A part without which the same is not found, for whatever reason, is kept.
    """
    shrinker = _Shrinker(Same.of(found.findings[0]), read, search, monotonic() + seconds)
    sheet = take_apart(scenario.text, claim)
    dropped: list[str] = []
    best: _Found | None = None
    steps = len(found.steps)
    goes_on = True
    while goes_on:
        goes_on = False
        for what, smaller, large in sheet.cuts():
            left = shrinker.attempt(smaller)
            if left is not None and (large or len(left.counterexample.steps) <= steps):
                dropped.append(what)
                best, sheet, goes_on = left, smaller, True
                steps = len(left.counterexample.steps)
                break
    if best is None:
        return None
    return Shrunk(*best, tuple(dropped), shrinker.tried)


class _Shrinker:
    """Attempts, each text once."""

    def __init__(self, same: Same, read: Read, search: Search, deadline: float) -> None:
        self.same = same
        self.read = read
        self.search = search
        self.deadline = deadline
        self.tried = 0
        self._seen: set[str] = set()

    def attempt(self, sheet: Sheet) -> _Found | None:
        """What goes wrong in a smaller scenario, if it is one and it is the same."""
        text = sheet.text
        if text in self._seen or monotonic() >= self.deadline:
            return None
        self._seen.add(text)
        try:
            scenario = self.read(text)
        except ScenarioError:
            return None
        self.tried += 1
        result = self.search(scenario, False)
        found = self._the_same(result)
        if found is None and result.counterexamples:
            result = self.search(scenario, True)
            found = self._the_same(result)
        return None if found is None else _Found(scenario, found, result.shortest)

    def _the_same(self, result: Result) -> Counterexample | None:
        for counterexample in result.counterexamples:
            if Same.of(counterexample.findings[0]) == self.same:
                return counterexample
        return None
