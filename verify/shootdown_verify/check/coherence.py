"""Coherence: each thread meets the versions of each word in their order (sequential per word).

Exact, since every pair of accesses to a word by one thread is looked at and the order of versions
is given: a cycle through one word and program order always contains such a pair.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_verify.check.events import Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Cycle, Edge, Relation, path_back

MODEL = Model.COHERENCE


def find(execution: Execution) -> Cycle | None:
    """A thread that goes back in a word's execution, or None."""
    return min(_steps_back(execution), key=len, default=None)


def _steps_back(execution: Execution) -> Iterator[Cycle]:
    for numbers in execution.threads.values():
        for place, earlier in enumerate(numbers):
            for word, _ in execution.events[earlier].places:
                for later in numbers[place + 1 :]:
                    if _is_step_back(execution, earlier, later, word):
                        order = Edge(earlier, later, Relation.PROGRAM_ORDER)
                        yield (order, *path_back(execution, later, earlier, word))


def _is_step_back(execution: Execution, earlier: int, later: int, word: int) -> bool:
    touches = any(place.word == word for place in execution.events[later].places)
    return touches and execution.rank(later, word) < execution.rank(earlier, word)
