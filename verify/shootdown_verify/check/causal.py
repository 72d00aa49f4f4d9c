"""Causality, as release/acquire has it: every store releases, every load acquires.

Happens-before is program order, ``sync`` and reads-from. It is broken by a cycle of its own, or by
two accesses to one word whose versions are the other way round. Exact: coherence order is given,
so RC11's coherence axiom is a comparison of ranks for every pair that happens-before orders.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_verify.check.events import Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Edge,
    neighbours,
    path_back,
    program_order,
    reads_from,
    shortest_cycle,
    shortest_path,
)

MODEL = Model.CAUSAL


def find(execution: Execution) -> Cycle | None:
    """An effect seen without its cause, or before it; None where causality holds."""
    happens_before = [*program_order(execution), *reads_from(execution)]
    of_itself = shortest_cycle(happens_before)
    if of_itself is not None:
        return of_itself
    return min(_steps_back(execution, neighbours(happens_before)), key=len, default=None)


def _steps_back(execution: Execution, leaving: dict[int, list[Edge]]) -> Iterator[Cycle]:
    words = {**execution.loads, **execution.stores}
    for word in words:
        members = [*execution.loads.get(word, ()), *execution.stores.get(word, ())]
        for later in members:
            for earlier in members:
                if execution.rank(later, word) < execution.rank(earlier, word):
                    cause = shortest_path(leaving, earlier, later)
                    if cause is not None:
                        yield (*cause, *path_back(execution, later, earlier, word))
