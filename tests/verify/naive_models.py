"""A deliberately naive second checker: run every interleaving of a tiny execution and look.

Each model is a machine that makes an execution's events one by one; the execution is allowed if
some order of steps makes them all. Nothing is shared with the judge but the events themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from shootdown_verify.check.events import LOAD, STORE

Op = tuple[int, str, int]
"""Kind, word and version (0 is the initial one)."""
Threads = tuple[tuple[Op, ...], ...]
State = tuple[object, ...]
Versions = tuple[tuple[str, int], ...]
"""The version of each word, the initial ones left out."""


def allowed_by_sc(
    threads: Threads, spans: Sequence[Sequence[tuple[int, int]]] | None = None
) -> bool:
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


def allowed_by_real_time(threads: Threads, spans: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """The same, in an order in which what ended before another began comes first."""
    return allowed_by_sc(threads, spans)


def allowed_by_coherence(threads: Threads) -> bool:
    """Whether each word alone is explained by one order."""
    words = {word for ops in threads for _, word, _ in ops}
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
            else:
                own = [v for w, v in buffer if w == word]
                if (own[-1] if own else held.get(word, 0)) == version:
                    yield after, buffers, memory

    start = ((0,) * len(threads), ((),) * len(threads), ())
    done = tuple(len(ops) for ops in threads), ((),) * len(threads)
    return _reaches(start, moves, lambda state: state[:2] == done)


def allowed_by_causality(threads: Threads) -> bool:
    """Whether a release/acquire machine can do it, whose messages carry their writer's view."""

    def moves(state: State) -> Iterator[State]:
        made, views, messages = state
        assert isinstance(made, tuple)
        assert isinstance(views, tuple)
        assert isinstance(messages, frozenset)
        for thread, ops in enumerate(threads):
            if made[thread] == len(ops):
                continue
            kind, word, version = ops[made[thread]]
            view: dict[str, int] = dict(views[thread])
            if kind == STORE and version > view.get(word, 0):
                after = tuple(sorted({**view, word: version}.items()))
                message = (word, version, after)
                yield _next(made, thread), _with(views, thread, after), messages | {message}
            elif kind == LOAD and version >= view.get(word, 0):
                carried = [dict(m[2]) for m in messages if m[:2] == (word, version)]
                for other in carried if version else [{}]:
                    names = view.keys() | other.keys()
                    joined = {n: max(view.get(n, 0), other.get(n, 0)) for n in names}
                    after = tuple(sorted(joined.items()))
                    yield _next(made, thread), _with(views, thread, after), messages

    start: State = ((0,) * len(threads), ((),) * len(threads), frozenset())
    done = tuple(len(ops) for ops in threads)
    return _reaches(start, moves, lambda state: state[0] == done)


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
