"""Random small programs with guards, as coroutines over traps on an exploring store.

They are what the searches are compared on: enough of them, small enough that plain sleep sets
finish, and with all that makes a search go wrong: guards that others disable, locks, branches on
results, cells named by other cells, blind writes, channels with servers behind them.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from functools import partial

from shootdown_engine.store import Store, receive
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_verify.explore.automaton import Node, TaskSpec
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.system import System

Line = tuple[str, int, int]
Body = tuple[Line, ...]
Program = tuple[Body, ...]

VALUES = 3
KINDS = (
    *("write", "copy", "add", "add", "wait", "wait", "wait_not", "below", "swap"),
    *("lock", "unlock", "indirect", "branch", "send", "again"),
)
LOOPING = (*KINDS, "retry")
"""With loops that need not end: for searches over states alone."""
CHANNEL = ("requests",)


def value(store: Store, cell: int) -> int:
    """What a cell holds; 0 at the start."""
    held = store.get(("x", cell)) or 0
    assert isinstance(held, int)
    return held


def put(store: Store, cell: int, new: int) -> None:
    """Write a cell."""
    store.put(("x", cell), new % VALUES)


def write(store: Store, cell: int, new: int) -> None:
    """Write without reading."""
    put(store, cell, new)


def copy(store: Store, cell: int, other: int) -> int:
    """Copy a cell into another and learn it."""
    put(store, other, value(store, cell))
    return value(store, cell)


def add(store: Store, cell: int, amount: int) -> int:
    """Add and learn what was there."""
    old = value(store, cell)
    put(store, cell, old + amount)
    return old


def wait(store: Store, cell: int, wanted: int) -> Blocked | None:
    """Guard on one cell."""
    return None if value(store, cell) == wanted else BLOCKED


def wait_not(store: Store, cell: int, unwanted: int) -> Blocked | None:
    """Guard that holds at the start and that others make false."""
    return BLOCKED if value(store, cell) == unwanted else None


def below(store: Store, cell: int, other: int) -> Blocked | None:
    """Guard on two cells, with an effect."""
    if value(store, cell) > value(store, other):
        return BLOCKED
    put(store, cell, value(store, cell) + 1)
    return None


def swap(store: Store, cell: int, expected: int) -> bool:
    """Compare and swap."""
    if value(store, cell) != expected:
        return False
    put(store, cell, expected + 1)
    return True


def lock(store: Store, cell: int, _: int) -> Blocked | None:
    """Take a lock."""
    if store.get(("lock", cell)) is not None:
        return BLOCKED
    store.put(("lock", cell), "held")
    return None


def unlock(store: Store, cell: int, _: int) -> None:
    """Drop a lock, whoever holds it."""
    store.put(("lock", cell), None)


def indirect(store: Store, cell: int, new: int) -> None:
    """Write the cell that a cell names."""
    put(store, value(store, cell), new)


def send(store: Store, _: int, message: int) -> None:
    """Send to the server."""
    store.send(CHANNEL, message + 1)


def take(store: Store) -> Hashable | Blocked:
    """Receive, as the server."""
    message = receive(store, CHANNEL)
    return BLOCKED if message is None else message


STEPS = {
    "write": write,
    "copy": copy,
    "add": add,
    "wait": wait,
    "wait_not": wait_not,
    "below": below,
    "swap": swap,
    "lock": lock,
    "unlock": unlock,
    "indirect": indirect,
    "send": send,
}


async def run(line: Line, remembered: int = 0) -> int | None:
    """Run one line as a stage."""
    kind, cell, number = line
    if kind == "branch":
        if await trap("branch", add, cell, 0) == number:
            await trap("then", add, number, 1)
        return None
    if kind == "again":
        seen = await trap("again", add, cell, 0)
        return remembered + 1 if seen != number and remembered < 1 else None
    if kind == "retry":
        return 1 if await trap("retry", add, cell, 1) != number else None
    await trap(kind, STEPS[kind], cell, number)
    return None


async def run_all(body: Body) -> None:
    """Run all lines as one stage, branching on what was learnt in each."""
    for line in body:
        kind, cell, number = line
        if kind in {"branch", "again", "retry"}:
            await run(line)
        elif await trap(kind, STEPS[kind], cell, number):
            await trap("then", add, number, 1)


async def serve() -> None:
    """Take a message and write it down, one a round."""
    message = await trap("take", take)
    assert isinstance(message, int)
    await trap("served", add, 0, message)


async def prowl() -> None:
    """Move for ever, unasked."""
    await trap("prowl", copy, 0, 1)


def random_program(
    rng: random.Random, *, tasks: int = 3, lines: int = 3, kinds: tuple[str, ...] = KINDS
) -> Program:
    """A program of two to ``tasks`` tasks with one to ``lines`` lines each."""
    return tuple(
        tuple(
            (rng.choice(kinds), rng.randrange(VALUES), rng.randrange(VALUES))
            for _ in range(rng.randint(1, lines))
        )
        for _ in range(rng.randint(2, tasks))
    )


def task_specs(program: Program, *, prowler: bool = False) -> list[TaskSpec]:
    """Tasks of a program, every other one in stages; a server if anybody sends."""
    specs = []
    for number, body in enumerate(program):
        stages = [partial(run, line) for line in body] if number % 2 else [partial(run_all, body)]
        specs.append(TaskSpec(f"T{number}", tuple(stages)))
    if any(line[0] == "send" for body in program for line in body):
        specs.append(TaskSpec("server", (serve,), server=True))
    if prowler:
        specs.append(TaskSpec("prowler", (prowl,), server=True, prowler=True))
    return specs


def make_system(program: Program, *, prowler: bool = False) -> System:
    """A fresh system of a program."""
    return System(task_specs(program, prowler=prowler), ExploringStore())


def describe_state(system: System, state: int) -> tuple[Hashable, ...]:
    """A state in words that do not depend on the order in which things were found."""
    cells = sorted(
        (str(cell), str(held))
        for number, cell in enumerate(system.cells.names)
        if (held := system.cells.value(number, state)) != system.store.initial(cell)
    )
    nodes = (describe_node(system.node(state, task)) for task in range(len(system.specs)))
    return (*nodes, *cells)


def describe_node(node: Node) -> Hashable:
    """A node by what its task has received."""
    return (node.place, node.request is None, tuple(node.results()))


def describe_automata(system: System) -> frozenset[Hashable]:
    """Every step with every result that was ever seen."""
    return frozenset(
        (automaton.spec.name, describe_node(node), str(result), describe_node(after))
        for automaton in system.automata
        for node in automaton.nodes
        for result, after in node.edges.items()
    )
