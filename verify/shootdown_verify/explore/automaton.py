"""Tasks as automata: a node is the list of results that a task has received, an edge the next one.

A coroutine cannot be copied or set back, but it learns about shared state only through the
results of its steps; so equal lists mean equal states of the task, and a list seen before need not
run again. A node holds the request with which the task waits. The coroutine runs on only where an
edge is followed for the first time, and from its beginning only where it has already run past.
Stages of a task remember nothing of each other, and a stage made again nothing but its argument,
so each begins with an empty list.
"""

from __future__ import annotations

from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from typing import Final, NamedTuple

from shootdown_engine.task import Stage
from shootdown_engine.trap import Request

ENDED: Final = 0
"""Number, in every automaton, of the node of a task that has ended."""
ROOT: Final = 1
"""Number of the node that a task begins with."""
NODES_MAX: Final = (1 << 16) - 1


class TooManyNodes(Exception):  # noqa: N818 - a limit that was met, not a mistake
    """A task has more local states than fit a state's bits."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task to explore, with its stages. A server begins again after the last one.

    A *prowler* moves unasked, and for ever if it is a server, as a prefetcher does: nobody waits
    for it, and that it can still move is no progress.
    """

    name: str
    stages: tuple[Stage, ...]
    server: bool = False
    prowler: bool = False


class Place(NamedTuple):
    """A stage by its number, and what it is given: None unless it is made again."""

    stage: int
    remembered: Hashable = None


class Node:
    """One local state of a task. ``request`` is None only where the task has ended.

    ``parent`` and ``result`` say how it is reached from the first node of its place; ``depth`` is
    the length of its list.
    """

    __slots__ = (
        "coroutine",
        "depth",
        "edges",
        "number",
        "parent",
        "place",
        "request",
        "result",
        "task",
    )

    def __init__(
        self,
        task: int,
        number: int,
        place: Place,
        request: Request | None,
        parent: Node | None = None,
        result: object = None,
    ) -> None:
        """Make a node that nothing is known of yet."""
        self.task = task
        self.number = number
        self.place = place
        self.request = request
        self.parent = parent
        self.result = result
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.edges: dict[tuple[type, object], Node] = {}
        self.coroutine: Coroutine[Request, object, Hashable] | None = None

    def results(self) -> list[object]:
        """The list of results that this node stands for."""
        results: list[object] = []
        node = self
        while node.parent is not None:
            results.append(node.result)
            node = node.parent
        return results[::-1]


class Automaton:
    """The nodes of one task, found so far; ``number`` is the task's place among all tasks.

    ``loops``: the task may come back to a node, as a server does after each round, and any other
    task whose stages are made again without counting up.
    """

    def __init__(self, number: int, spec: TaskSpec) -> None:
        """Run to the first request."""
        self.number = number
        self.spec = spec
        self.runs = 0
        self.loops = spec.server
        self.ended = Node(number, ENDED, Place(len(spec.stages)), None)
        self.nodes = [self.ended]
        self._first: dict[Place, Node] = {}
        self.root = self._enter(Place(0))

    def advance(self, node: Node, result: object) -> Node:
        """The node after a result; runs the coroutine only where nobody has been before."""
        key = (type(result), result)
        try:
            return node.edges[key]
        except KeyError:
            pass
        coroutine = node.coroutine
        node.coroutine = None
        if coroutine is None:
            coroutine = self.replay(node)
        request, remembered = _resume(coroutine, result)
        if request is None:
            place = self._follows(node.place, remembered)
            self.loops |= place in self._first and not _is_later(place, node.place)
            after = self._enter(place)
        else:
            after = self._add(node.place, request, coroutine, node, result)
        node.edges[key] = after
        return after

    def replay(self, node: Node) -> Coroutine[Request, object, Hashable]:
        """A fresh coroutine of the node's stage, given the node's results."""
        coroutine, request, _ = self._begin(node.place)
        for result in node.results():
            request, _ = _resume(coroutine, result)
        assert request is not None, f"{self.spec.name} does not repeat itself"
        return coroutine

    def request_again(self, node: Node) -> Request | None:
        """What a fresh coroutine asks for, given the node's results; None if it has returned."""
        coroutine, request, _ = self._begin(node.place)
        for result in node.results():
            if request is None:
                return None
            request, _ = _resume(coroutine, result)
        coroutine.close()
        return request

    def close(self) -> None:
        """Drop the coroutines that wait."""
        for node in self.nodes:
            if node.coroutine is not None:
                node.coroutine.close()
                node.coroutine = None

    def _follows(self, place: Place, remembered: Hashable) -> Place:
        """The place after a stage has returned."""
        return Place(place.stage + 1) if remembered is None else Place(place.stage, remembered)

    def _enter(self, place: Place) -> Node:
        """The first node of a place, or of the next one that makes a step at all."""
        if place.stage == len(self.spec.stages):
            if not self.spec.server:
                return self.ended
            assert self._first, f"{self.spec.name} is a server and never makes a step"
            place = Place(0)
        node = self._first.get(place)
        if node is None:
            coroutine, request, remembered = self._begin(place)
            if request is None:
                return self._enter(self._follows(place, remembered))
            node = self._first[place] = self._add(place, request, coroutine)
        return node

    def _begin(
        self, place: Place
    ) -> tuple[Coroutine[Request, object, Hashable], Request | None, Hashable]:
        self.runs += 1
        stage = self.spec.stages[place.stage]
        coroutine = stage() if place.remembered is None else stage(place.remembered)
        return coroutine, *_resume(coroutine, None)

    def _add(
        self,
        place: Place,
        request: Request,
        coroutine: Coroutine[Request, object, Hashable],
        parent: Node | None = None,
        result: object = None,
    ) -> Node:
        number = len(self.nodes)
        if number > NODES_MAX:
            message = f"{self.spec.name}, which has more than {NODES_MAX:,} local states"
            raise TooManyNodes(message)
        node = Node(self.number, number, place, request, parent, result)
        node.coroutine = coroutine
        self.nodes.append(node)
        return node


def _is_later(place: Place, other: Place) -> bool:
    """Whether one place follows another for certain, so that no path leads back."""
    if place.stage != other.stage:
        return place.stage > other.stage
    one, two = place.remembered, other.remembered
    return two is None or (isinstance(one, int) and isinstance(two, int) and one > two)


def _resume(
    coroutine: Coroutine[Request, object, Hashable], result: object
) -> tuple[Request | None, Hashable]:
    """Hand a result over; gives the next request, or None and what the stage has returned."""
    try:
        return coroutine.send(result), None
    except StopIteration as stop:
        remembered: Hashable = stop.value
        return None, remembered
