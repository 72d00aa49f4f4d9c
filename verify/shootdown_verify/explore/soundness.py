"""Holding steps and bodies to the rule on which every verdict here rests.

A step must be a function of what it reads through the store, and a body of the results that it
receives. Whatever breaks that makes a search take two different states for one. So a sample of
what was remembered is made again: steps twice from equal states, bodies from their beginning with
equal results. A difference is an error that names who made the step.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

from shootdown_engine.trap import BLOCKED, Request, attempt
from shootdown_verify.explore.automaton import Automaton, Node
from shootdown_verify.explore.system import System, UnsoundStep
from shootdown_verify.explore.transition import Memo, Remembered

_DEPTH_MAX = 8
"""Objects within objects that two arguments are compared to."""


def check_samples(system: System, *, samples: int, seed: int = 0) -> None:
    """Make so many remembered steps and lists of results again; raises `UnsoundStep`."""
    rng = random.Random(seed)
    memos = [memo for table in system.tables for memo in table if memo is not None and memo.table]
    for memo in _some(rng, memos, samples):
        for key in _some(rng, sorted(memo.table), max(1, samples // len(memos))):
            _check_step(system, memo, key)
    for automaton in system.automata:
        nodes = [node for node in automaton.nodes if node.request is not None]
        for node in _some(rng, nodes, samples // len(system.automata) + 1):
            _check_list(system, automaton, node)


def _some(rng: random.Random, things: list[Any], samples: int) -> list[Any]:
    return things if len(things) <= samples else rng.sample(things, samples)


def _check_step(system: System, memo: Memo, key: int) -> None:
    """Make a step again, twice, for values that it has met."""
    request = memo.node.request
    assert request is not None
    before = memo.table.get(key)
    for _ in range(2):
        result = system.measure(partial(attempt, request=request), key, memo.node)
        if before is not None and not _is_as_before(system, memo, before, result):
            message = (
                f"{system.owner(memo.node)}: made again from an equal state, it does not do the "
                "same. It reads or changes something that is not a cell of the store"
            )
            raise UnsoundStep(message)


def _is_as_before(system: System, memo: Memo, before: Remembered, result: object) -> bool:
    """Compare what the step has just done with what was remembered."""
    if not before or result is BLOCKED:
        return not before and result is BLOCKED
    transition = before[3]
    store, cells = system.store, system.cells
    after = memo.node.edges.get((type(result), result))
    numbers = {cells.number(cell): value for cell, value in store.writes.items()}
    wrote = sum(1 << number for number in numbers)
    read = sum(1 << cells.number(cell) for cell in store.reads)
    put = sum(cells.encode(number, value) for number, value in numbers.items())
    where = sum(cells.masks[number] for number in numbers)
    return (
        after is transition.after
        and (read, wrote) == (transition.reads, transition.writes)
        and put == transition.put & where
        and tuple(store.records) == transition.records
    )


def _check_list(system: System, automaton: Automaton, node: Node) -> None:
    """Run a body again from its beginning, and compare what it asks for."""
    request = automaton.request_again(node)
    if request is None or not _is_same_request(node.request, request):
        stage = automaton.spec.stages[node.place.stage]
        function = stage.func if isinstance(stage, partial) else stage
        message = (
            f"{system.owner(node)}: {getattr(function, '__qualname__', function)}, given equal "
            f"results again, asks for {request or 'nothing'}. It learns about shared state "
            "otherwise than through the results of its steps"
        )
        raise UnsoundStep(message)


def _is_same_request(one: Request | None, other: Request) -> bool:
    if one is None:
        return False
    said = [
        (request.name, request.operation, request.location, request.detail)
        for request in (one, other)
    ]
    return (
        said[0] == said[1]
        and getattr(one.apply, "__qualname__", "") == getattr(other.apply, "__qualname__", "")
        and is_same(one.arguments, other.arguments)
    )


def is_same(one: object, other: object, depth: int = 0) -> bool:
    """Whether two arguments say the same: equal, or of one class with attributes that are."""
    if one is other or depth > _DEPTH_MAX:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(
            is_same(a, b, depth + 1) for a, b in zip(one, other, strict=True)
        )
    if type(one).__eq__ is not object.__eq__:
        return bool(one == other)
    names = [
        *getattr(one, "__dict__", ()),
        *(name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())),
    ]
    return all(
        is_same(getattr(one, name, None), getattr(other, name, None), depth + 1) for name in names
    )
