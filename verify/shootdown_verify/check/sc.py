"""Sequential consistency: one order of all accesses explains all results.

Exact, because reads-from and coherence order are given: such an order exists if and only if
program order, reads-from, coherence order and from-reads have no cycle.
"""

from __future__ import annotations

from shootdown_verify.check.events import Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Graph,
    add_communication,
    add_program_order,
    is_ordered,
    shortest_cycle,
)

MODEL = Model.SC


def holds(execution: Execution) -> bool:
    """Whether an order of all accesses explains all results."""
    return is_ordered(execution, relations)


def find(execution: Execution) -> Cycle | None:
    """A cycle that rules out every order of all accesses, or None."""
    return shortest_cycle(execution, relations)


def relations(execution: Execution) -> Graph:
    """What an order of all accesses has to obey."""
    graph = Graph(len(execution.events))
    add_program_order(graph, execution)
    add_communication(graph, execution)
    return graph
