"""Coherence: each thread meets the versions of each word in their order (sequential per word).

Exact, since the order of versions is given: a cycle through one word and program order always
contains two accesses of one thread to it that go back, and so does a step from the newest that the
thread had come to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shootdown_verify.check.events import Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Cycle, Edge, Relation, path_back

MODEL = Model.COHERENCE

_PAIRS_OF: Final = 64
"""Accesses of one thread to one word of which every pair is looked at for the shortest cycle."""


def holds(execution: Execution) -> bool:
    """Whether no thread goes back in any word."""
    return next(_steps_back(execution), None) is None


def find(execution: Execution) -> Cycle | None:
    """A thread that goes back in a word's execution, or None."""
    return min(_steps_back(execution), key=len, default=None)


def _steps_back(execution: Execution) -> Iterator[Cycle]:
    newest: dict[tuple[str, int], int] = {}
    broken: dict[tuple[str, int], tuple[int, int]] = {}
    met: dict[tuple[str, int], list[int]] = {}
    for numbers in execution.threads.values():
        for number in numbers:
            thread, _, places, _ = execution.events[number]
            for word, _ in places:
                key = thread, word
                met.setdefault(key, []).append(number)
                before = newest.setdefault(key, number)
                if execution.rank(number, word) >= execution.rank(before, word):
                    newest[key] = number
                else:
                    broken.setdefault(key, (before, number))
    for (thread, word), pair in broken.items():
        members = met[thread, word]
        pairs = _pairs(members) if len(members) <= _PAIRS_OF else iter((pair,))
        for earlier, later in pairs:
            if execution.rank(later, word) < execution.rank(earlier, word):
                order = Edge(earlier, later, Relation.PROGRAM_ORDER)
                yield (order, *path_back(execution, later, earlier, word))


def _pairs(members: list[int]) -> Iterator[tuple[int, int]]:
    for place, earlier in enumerate(members):
        for later in members[place + 1 :]:
            yield earlier, later
