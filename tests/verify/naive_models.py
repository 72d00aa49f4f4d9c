"""A deliberately naive second checker: run every interleaving of a tiny execution and look.

Each model is a machine that makes an execution's events one by one; the execution is allowed if
some order of steps makes them all. What a history leaves open is tried in every way. Nothing is
shared with the passes but the numbers of the kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import permutations, product
from typing import NamedTuple

from shootdown_verify.check.events import FENCE, LOAD, STORE

Op = tuple[int, str, int]
"""Kind, word and version (0 is the initial one); a fence has neither."""
Threads = tuple[tuple[Op, ...], ...]
Spans = Sequence[Sequence[tuple[float, float]]]
State = tuple[object, ...]
Versions = tuple[tuple[str, int], ...]
"""The version of each word, the initial ones left out."""


def allowed_by_sc(threads: Threads, spans: Spans | None = None) -> bool:
    """Whether one order of all events explains every load, the versions being made in order."""

    def ready(made: Sequence[int], thread: int) -> bool:
        if spans is None:
            return True
        begin = spans[thread][made[thread]][0]
        rest = (span for t, all_spans in enumerate(spans) for span in all_spans[made[t] :])
        return not any(end < begin for _, end in rest)

    def step(memory: Versions, op: Op) -> Versions | None:
        kind, word, version = op
        held = dict(memory)
        if kind == FENCE:
            return memory
        if kind == LOAD:
            return memory if held.get(word, 0) == version else None
        if held.get(word, 0) >= version:
            return None
        return tuple(sorted({**held, word: version}.items()))

    @lru_cache(None)
    def run(made: tuple[int, ...], memory: Versions) -> bool:
        if all(count == len(ops) for count, ops in zip(made, threads, strict=True)):
            return True
        for thread, ops in enumerate(threads):
            if made[thread] < len(ops) and ready(made, thread):
                after = step(memory, ops[made[thread]])
                if after is not None and run(_next(made, thread), after):
                    return True
        return False

    return run((0,) * len(threads), ())


def allowed_by_real_time(threads: Threads, spans: Spans) -> bool:
    """The same, in an order in which what ended before another began comes first."""
    return allowed_by_sc(threads, spans)


def allowed_by_coherence(threads: Threads) -> bool:
    """Whether each word alone is explained by one order."""
    words = {word for ops in threads for kind, word, _ in ops if kind != FENCE}
    return all(
        allowed_by_sc(tuple(tuple(op for op in ops if op[1] == word) for ops in threads))
        for word in words
    )


def allowed_by_tso(threads: Threads) -> bool:
    """Whether a machine with a store buffer for each thread can do it."""

    def moves(state: State) -> Iterator[State]:
        made, buffers, memory = state
        assert isinstance(made, tuple)
        assert isinstance(buffers, tuple)
        assert isinstance(memory, tuple)
        held: dict[str, int] = dict(memory)
        for thread, ops in enumerate(threads):
            buffer = buffers[thread]
            if buffer and held.get(buffer[0][0], 0) < buffer[0][1]:
                flushed = tuple(sorted({**held, buffer[0][0]: buffer[0][1]}.items()))
                yield made, _with(buffers, thread, buffer[1:]), flushed
            if made[thread] == len(ops):
                continue
            kind, word, version = ops[made[thread]]
            after = _next(made, thread)
            if kind == STORE:
                yield after, _with(buffers, thread, (*buffer, (word, version))), memory
            elif kind == FENCE:
                if not buffer:
                    yield after, buffers, memory
            else:
                own = [v for w, v in buffer if w == word]
                if (own[-1] if own else held.get(word, 0)) == version:
                    yield after, buffers, memory

    start = ((0,) * len(threads), ((),) * len(threads), ())
    done = tuple(len(ops) for ops in threads), ((),) * len(threads)
    return _reaches(start, moves, lambda state: state[:2] == done)


def allowed_by_causality(threads: Threads) -> bool:
    """Whether a release/acquire machine can do it, whose messages carry their writer's view.

    A fence exchanges views with one view of all fences, as that of SC in C11 does.
    """

    def moves(state: State) -> Iterator[State]:
        made, views, messages, common = state
        assert isinstance(made, tuple)
        assert isinstance(views, tuple)
        assert isinstance(messages, frozenset)
        assert isinstance(common, tuple)
        for thread, ops in enumerate(threads):
            if made[thread] == len(ops):
                continue
            kind, word, version = ops[made[thread]]
            view: dict[str, int] = dict(views[thread])
            beyond = _next(made, thread)
            if kind == FENCE:
                after = _joined(view, dict(common))
                yield beyond, _with(views, thread, after), messages, after
            elif kind == STORE and version > view.get(word, 0):
                after = tuple(sorted({**view, word: version}.items()))
                message = (word, version, after)
                yield beyond, _with(views, thread, after), messages | {message}, common
            elif kind == LOAD and version >= view.get(word, 0):
                carried = [dict(m[2]) for m in messages if m[:2] == (word, version)]
                for other in carried if version else [{}]:
                    after = _joined(view, other)
                    yield beyond, _with(views, thread, after), messages, common

    start: State = ((0,) * len(threads), ((),) * len(threads), frozenset(), ())
    done = tuple(len(ops) for ops in threads)
    return _reaches(start, moves, lambda state: state[0] == done)


class Cell(NamedTuple):
    """One event of a history as it was recorded: ``order`` is None where nobody recorded it."""

    kind: int
    word: str = ""
    value: int = 0
    order: int | None = None


History = tuple[tuple[Cell, ...], ...]

MACHINES: dict[str, Callable[[Threads], bool]] = {
    "coherence": allowed_by_coherence,
    "causal": allowed_by_causality,
    "tso": allowed_by_tso,
    "sc": allowed_by_sc,
}


def verdicts(history: History, spans: Spans | None = None) -> dict[str, bool]:
    """For each model whether some choice of what was not recorded lets a machine make it."""
    machines: dict[str, Callable[[Threads], bool]] = dict(MACHINES)
    if spans is not None:
        machines["realtime"] = lambda threads: allowed_by_real_time(threads, spans)
    allowed = dict.fromkeys(machines, False)
    for threads in choices(history):
        for model, machine in machines.items():
            allowed[model] = allowed[model] or machine(threads)
    return allowed


def choices(history: History) -> Iterator[Threads]:
    """Every way to number the stores of each word, and to give each load a store of its value."""
    stores: dict[str, list[tuple[int, int]]] = {}
    for thread, cells in enumerate(history):
        for place, cell in enumerate(cells):
            if cell.kind == STORE:
                stores.setdefault(cell.word, []).append((thread, place))
    words = sorted(stores)
    orders = [
        [order for order in permutations(stores[word]) if _is_recorded(history, order)]
        for word in words
    ]
    for chosen in product(*orders):
        version = {store: number for order in chosen for number, store in enumerate(order, start=1)}
        yield from _with_loads(history, version)


def _is_recorded(history: History, stores: Sequence[tuple[int, int]]) -> bool:
    said = [history[t][p].order for t, p in stores]
    orders = [order for order in said if order is not None]
    return orders == sorted(orders)


def _with_loads(history: History, version: dict[tuple[int, int], int]) -> Iterator[Threads]:
    held: dict[tuple[str, int], list[int]] = {}
    for (thread, place), number in version.items():
        cell = history[thread][place]
        held.setdefault((cell.word, cell.value), []).append(number)
    options: list[list[list[Op]]] = []
    for thread, cells in enumerate(history):
        options.append([])
        for place, cell in enumerate(cells):
            if cell.kind == FENCE:
                numbers = [0]
            elif cell.kind == STORE:
                numbers = [version[thread, place]]
            else:
                numbers = ([0] if cell.value == 0 else []) + held.get((cell.word, cell.value), [])
            options[-1].append([(cell.kind, cell.word, number) for number in numbers])
    yield from product(*(list(product(*of_thread)) for of_thread in options))


def _joined(one: dict[str, int], other: dict[str, int]) -> tuple[tuple[str, int], ...]:
    names = one.keys() | other.keys()
    return tuple(sorted((n, max(one.get(n, 0), other.get(n, 0))) for n in names))


def _reaches(
    start: State, moves: Callable[[State], Iterator[State]], done: Callable[[State], bool]
) -> bool:
    seen = {start}
    waiting = [start]
    while waiting:
        state = waiting.pop()
        if done(state):
            return True
        for after in moves(state):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return False


def _next(made: tuple[int, ...], thread: int) -> tuple[int, ...]:
    return _with(made, thread, made[thread] + 1)


def _with(items: tuple[object, ...], place: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:place], item, *items[place + 1 :])
