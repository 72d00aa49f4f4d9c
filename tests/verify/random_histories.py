"""Random tiny histories for the second opinion: from nothing, from weak machines, from shapes.

A history is ``naive_models.History``; `as_lines` writes it as JSON Lines in an order that keeps
each thread's. The last resort of a weak machine is a mutation, so that both verdicts are common.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.verify.naive_models import Cell, History

from shootdown_verify.check.events import FENCE, LOAD, STORE

SHAPES = Path(__file__).parents[1] / "litmus" / "histories"
KINDS = {"load": LOAD, "store": STORE, "fence": FENCE}
NAMES = {number: name for name, number in KINDS.items()}
EVENTS_MAX = 10
NO_START, NO_END = -(10**6), 10**6
"""In the place of a time that is not recorded."""

Spans = list[list[tuple[int, int]]]


class Timed(NamedTuple):
    """A history, and when its events began and ended, where a clock ran."""

    history: History
    spans: Spans | None


def random_history(random: Random) -> Timed:
    """One history of one of the sorts."""
    make = random.choice((_from_nothing, _from_machine, _from_shape, _from_shape))
    history = make(random)
    return Timed(history, _random_spans(random, history) if random.random() < 0.3 else None)


def as_lines(timed: Timed, random: Random) -> bytes:
    """A history as JSON Lines, its threads interleaved."""
    turns = [thread for thread, cells in enumerate(timed.history) for _ in cells]
    random.shuffle(turns)
    place = [0] * len(timed.history)
    lines = []
    for thread in turns:
        cell = timed.history[thread][place[thread]]
        line: dict[str, object] = {"thread": f"P{thread}", "kind": NAMES[cell.kind]}
        if cell.kind != FENCE:
            line |= {"location": cell.word, "value": cell.value}
        if cell.order is not None:
            line["order"] = cell.order
        if timed.spans is not None:
            start, end = timed.spans[thread][place[thread]]
            line |= {"start": start} if start != NO_START else {}
            line |= {"end": end} if end != NO_END else {}
        place[thread] += 1
        lines.append(json.dumps(line))
    return "\n".join(lines).encode() + b"\n"


def _from_nothing(random: Random) -> History:
    """Any stores, and loads of any value that somebody stored."""
    words = "xyz"[: random.randint(1, 3)]
    fences, distinct = random.choice((0, 0, 0.3)), random.random() < 0.6
    threads: list[list[Cell]] = [[] for _ in range(random.randint(1, 4))]
    stored: dict[str, list[int]] = {word: [0] for word in words}
    for _ in range(random.randint(1, 8)):
        cells, word = random.choice(threads), random.choice(words)
        if random.random() < fences:
            cells.append(Cell(FENCE))
        elif random.random() < 0.5:
            value = len(stored[word]) if distinct else random.randint(0, 2)
            stored[word].append(value)
            cells.append(Cell(STORE, word, value))
        else:
            cells.append(Cell(LOAD, word))
    return _with_orders(random, _with_values(random, threads, stored), shuffled=True)


def _with_values(
    random: Random, threads: Sequence[Sequence[Cell]], stored: dict[str, list[int]]
) -> list[list[Cell]]:
    return [
        [
            cell._replace(value=random.choice(stored[cell.word])) if cell.kind == LOAD else cell
            for cell in cells
        ]
        for cells in threads
        if cells
    ]


def _with_orders(random: Random, threads: Sequence[Sequence[Cell]], *, shuffled: bool) -> History:
    """Record the place of all, some or no stores in their word's order."""
    share = random.choice((0, 0.5, 1))
    made = [list(cells) for cells in threads] or [[Cell(LOAD, "x", 0)]]
    for word in "xyz":
        stores = [
            (cells, place)
            for cells in made
            for place, cell in enumerate(cells)
            if cell.kind == STORE and cell.word == word
        ]
        orders = list(range(1, len(stores) + 1))
        if shuffled:
            random.shuffle(orders)
        for (cells, place), order in zip(stores, orders, strict=True):
            if random.random() < share:
                cells[place] = cells[place]._replace(order=order)
    return tuple(tuple(cells) for cells in made)


def _from_machine(random: Random) -> History:
    """What threads with store buffers do, and then perhaps one value that is another one."""
    threads: list[list[Cell]] = [[] for _ in range(random.randint(2, 4))]
    buffers: list[list[tuple[str, int]]] = [[] for _ in threads]
    memory, stored = {"x": 0, "y": 0}, {"x": [0], "y": [0]}
    for _ in range(random.randint(3, EVENTS_MAX - 1)):
        thread, word = random.randrange(len(threads)), random.choice("xy")
        buffer = buffers[thread]
        move = random.choice(("store", "load", "load", "fence", "flush"))
        if move in {"flush", "fence"}:
            flushed = len(buffer) if move == "fence" else 1
            memory |= dict(buffer[:flushed])
            del buffer[:flushed]
            if move == "fence":
                threads[thread].append(Cell(FENCE))
        elif move == "store":
            stored[word].append(len(stored[word]))
            buffer.append((word, stored[word][-1]))
            threads[thread].append(Cell(STORE, word, stored[word][-1]))
        else:
            own = [value for place, value in buffer if place == word]
            threads[thread].append(Cell(LOAD, word, own[-1] if own else memory[word]))
    if random.random() < 0.5:
        threads = _with_values(random, threads, stored) if random.random() < 0.3 else threads
        _mutate(random, threads, stored)
    return tuple(tuple(cells) for cells in threads if cells) or ((Cell(LOAD, "x", 0),),)


def _mutate(random: Random, threads: Sequence[list[Cell]], stored: dict[str, list[int]]) -> None:
    """Give one load another value."""
    loads = [(c, p) for c in threads for p, cell in enumerate(c) if cell.kind == LOAD]
    if loads:
        cells, place = random.choice(loads)
        value = random.choice(stored[cells[place].word])
        cells[place] = cells[place]._replace(value=value)


def _read_shapes() -> list[list[list[Cell]]]:
    shapes = []
    for path in sorted(SHAPES.glob("*.jsonl")):
        threads: dict[str, list[Cell]] = {}
        for text in path.read_text().splitlines():
            line = json.loads(text)
            cell = Cell(
                KINDS[line["kind"]],
                line.get("location", ""),
                line.get("value", 0),
                line.get("order"),
            )
            threads.setdefault(line["thread"], []).append(cell)
        shapes.append(list(threads.values()))
    return shapes


_SHAPES = _read_shapes()


def _from_shape(random: Random) -> History:
    """A classic shape with up to three changes."""
    threads = [list(cells) for cells in random.choice(_SHAPES)]
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        random.choice(_CHANGES)(random, random.choice(threads))
    seen: set[tuple[str, int]] = set()
    for cells in threads:
        for place, cell in enumerate(cells):
            if cell.order is not None and (cell.word, cell.order) in seen:
                cells[place] = cell._replace(order=None)
            elif cell.order is not None:
                seen.add((cell.word, cell.order))
    return tuple(tuple(cells) for cells in threads if cells) or ((Cell(LOAD, "x", 0),),)


def _drop(random: Random, cells: list[Cell]) -> None:
    if cells:
        cells.pop(random.randrange(len(cells)))


def _insert(random: Random, cells: list[Cell]) -> None:
    new = random.choice(
        (
            Cell(FENCE),
            Cell(LOAD, random.choice("xy"), random.randint(0, 2)),
            Cell(STORE, random.choice("xy"), random.randint(1, 3)),
        )
    )
    cells.insert(random.randint(0, len(cells)), new)


def _reread(random: Random, cells: list[Cell]) -> None:
    for place, cell in enumerate(cells):
        if cell.kind == LOAD and random.random() < 0.5:
            cells[place] = cell._replace(value=random.randint(0, 2))


def _forget(_random: Random, cells: list[Cell]) -> None:
    cells[:] = [cell._replace(order=None) for cell in cells]


def _swap(random: Random, cells: list[Cell]) -> None:
    random.shuffle(cells)


_CHANGES: tuple[Callable[[Random, list[Cell]], None], ...] = (
    _drop,
    _insert,
    _insert,
    _reread,
    _forget,
    _swap,
)


def _random_spans(random: Random, history: History) -> Spans:
    """Times that grow along each thread; in some, events of a thread overlap."""
    spans: Spans = []
    for cells in history:
        if random.random() < 0.2:
            begins = sorted(random.randint(0, 30) for _ in cells)
            spans.append([(begin, begin + random.randint(0, 12)) for begin in begins])
        else:
            times = sorted(random.randint(0, 30) for _ in range(2 * len(cells)))
            spans.append(list(zip(times[::2], times[1::2], strict=True)))
    return spans
