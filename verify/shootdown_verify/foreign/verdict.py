"""The verdict on a foreign history: model by model, with the shortest cycles.

What was recorded decides where it can. Where it cannot (repeated values, orders that nobody
recorded), a choice that satisfies a model proves that it holds, and only `inference` may say that
no choice does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from shootdown_verify.check.events import STORE, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Cycle, Edge
from shootdown_verify.check.models import FIND, HOLDS
from shootdown_verify.check.passes import INCONCLUSIVE, NOT_JUDGED, OK, VIOLATION, models_from
from shootdown_verify.foreign.columns import NO_ORDER, Columns, Numbers
from shootdown_verify.foreign.guess import Guess, guesses
from shootdown_verify.foreign.inference import Problem, Solved, solve
from shootdown_verify.foreign.matching import INITIAL, SHORT, Matching, match
from shootdown_verify.foreign.schedule import greedy
from shootdown_verify.foreign.windows import Placed, execution, positions, time_order, windows

FINDINGS_MAX: Final = 20
PROBLEM_MAX: Final = SHORT
"""Events of a history, or of a part of it, whose open choices are searched."""
PARTS_MAX: Final = 500
"""Parts that are solved in one round."""
SOLVED_MAX: Final = 4000
"""Parts that are solved in all."""
REPAIRS_MAX: Final = 4
"""How often a guess is mended where a part of the history allows a better one."""
_WIDE: Final = 0.1
"""Share of a history in windows from which on a better order of its events is looked for."""
_LADDER: Final = tuple(Model)
_FEW: Final = 1000
WIDE_MAX: Final = 2
"""Guesses that seem to break a history all over and are looked at closely, the last ones."""


_NO_EVENTS: Final[Numbers] = np.zeros(0, dtype=np.int64)


class Found(NamedTuple):
    """A model that is broken, the cycle that shows it, and what is to be said beside it."""

    model: Model
    cycle: Cycle = ()
    events: tuple[int, ...] = ()
    note: str = ""
    window: Numbers = _NO_EVENTS
    """Events that no cycle leaves, of which this one's are some."""


@dataclass(slots=True)
class ForeignVerdict:
    """What was found; ``models`` has a word for each model, ``reasons`` speak against ok."""

    columns: Columns
    models: dict[Model, str] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    more: int = 0
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def weakest(self) -> Model | None:
        """The weakest model that is broken."""
        return next((m for m in _LADDER if self.models.get(m) == VIOLATION), None)

    @property
    def verdict(self) -> str:
        """A violation decides; else a reason does."""
        if self.weakest is not None:
            return VIOLATION
        return INCONCLUSIVE if self.reasons else OK


def judge(columns: Columns) -> ForeignVerdict:
    """Judge a history by every model."""
    verdict = ForeignVerdict(columns)
    source = columns.source
    if source.torn_bytes:
        verdict.reasons.append(
            f"the last line is torn ({source.torn_bytes} bytes): judged up to it"
        )
    elif source.cut_short:
        verdict.reasons.append("the compressed data ends early: judged up to there")
    if source.stopped_after:
        verdict.reasons.append(f"memory was full: judged up to line {source.stopped_after:,}")
    if source.skipped:
        verdict.reasons.append(f"{source.skipped} bad lines were skipped")
    verdict.notes.append(
        f"kept in memory: {columns.kept_bytes:,} bytes of columns, since a load may meet a store "
        "of any age; no pass allows less"
    )
    if not len(columns):
        verdict.reasons.append("the history has no events")
        verdict.models = dict.fromkeys(_LADDER, NOT_JUDGED)
        return verdict
    matching = match(columns)
    _judge_unwritten(verdict, matching)
    if verdict.found:
        verdict.models = models_from(Model.COHERENCE)
        return verdict
    opened = _Open(verdict, matching)
    opened.try_guesses()
    last = opened.tried[-1]
    if last.guess.determined or not last.found:
        _take(verdict, last.found)
    else:
        opened.judge()
    _leave_out_time(verdict)
    return verdict


@dataclass(slots=True)
class _Tried:
    """A guess and what it breaks."""

    guess: Guess
    found: list[Found]

    def breaking(self, model: Model) -> list[Found]:
        """What speaks against a model."""
        return [one for one in self.found if one.model <= model]


def _judge_unwritten(verdict: ForeignVerdict, matching: Matching) -> None:
    """A load of what nobody stored breaks every model, unless its store may have been lost."""
    loads = matching.unwritten()
    if loads and not verdict.columns.source.is_whole:
        verdict.reasons.append(f"{len(loads)} loads of what no line stored were not judged")
    else:
        shown = loads[:FINDINGS_MAX]
        verdict.found += [Found(Model.COHERENCE, events=(load,)) for load in shown]
        verdict.more = len(loads) - len(shown)


def _take(verdict: ForeignVerdict, found: list[Found]) -> None:
    """Take findings that are certain; the weakest and shortest come first."""
    found.sort(key=lambda one: (one.model, not one.cycle, len(one.cycle)))
    verdict.found = found[:FINDINGS_MAX]
    verdict.more = len(found) - len(verdict.found)
    verdict.models = models_from(found[0].model if found else None)


def _leave_out_time(verdict: ForeignVerdict) -> None:
    """Say nothing of real time where times are missing, unless those there are show enough."""
    columns = verdict.columns
    by_time = any(found.model is Model.REAL_TIME for found in verdict.found)
    if columns.untimed and not by_time:
        verdict.models[Model.REAL_TIME] = NOT_JUDGED
        verdict.notes.append(
            f"real time was not judged: {columns.untimed} loads and stores lack start or end"
        )


class _Laid:
    """A history with a guess laid over it: where a cycle may lie."""

    def __init__(self, columns: Columns, chosen: Guess) -> None:
        self.placed = Placed(columns, chosen.writer, positions(columns, chosen.writer, chosen.rank))
        self.by_time: list[Numbers] = []
        self.untimed: list[Numbers] = []
        if columns.has_clock:
            order = time_order(self.placed)
            self.by_time = windows(self.placed, order, timed=True)
            if not self.by_time:
                return
        elif chosen.schedule is not None:
            order = chosen.schedule
        else:
            order = np.arange(len(columns))
        self.untimed = windows(self.placed, order, timed=False)
        if self.is_wide and chosen.schedule is None:
            order = greedy(columns, chosen.writer, chosen.rank)
            self.untimed = windows(self.placed, order, timed=False)

    @property
    def is_wide(self) -> bool:
        """Whether windows have a good part of a history that is not short."""
        count = len(self.placed.columns)
        return count > _FEW and sum(map(len, self.untimed)) > _WIDE * count


def _broken(laid: _Laid) -> Iterator[Found]:
    """In each window the weakest model that is broken; the first ones with their cycles."""
    placed = laid.placed
    spent: set[int] = set()
    shown = _Shown()
    for events in laid.untimed:
        found = _weakest(placed, events, shown)
        if found is not None:
            spent.update(events.tolist())
            yield found
    for events in laid.by_time:
        if spent.isdisjoint(events.tolist()):
            part = execution(placed, events, timed=True)
            if not HOLDS[Model.REAL_TIME](part):
                yield shown.found(Model.REAL_TIME, part, events)


def holds(columns: Columns, model: Model) -> bool:
    """Whether one model holds by itself, with the likeliest choice of what was not recorded."""
    chosen = next(guesses(columns, match(columns)))
    placed = Placed(columns, chosen.writer, positions(columns, chosen.writer, chosen.rank))
    by_time = model is Model.REAL_TIME
    order = time_order(placed) if columns.has_clock else np.arange(len(columns))
    parts = windows(placed, order, timed=by_time)
    return all(HOLDS[model](execution(placed, events, timed=by_time)) for events in parts)


class _Shown:
    """How many findings of each model have a cycle already; the rest are counted only."""

    def __init__(self) -> None:
        self._counts: Counter[Model] = Counter()

    def found(self, model: Model, part: Execution, events: Numbers) -> Found:
        """A model that a window breaks, with the shortest cycle if it will be shown."""
        self._counts[model] += 1
        if self._counts[model] > FINDINGS_MAX:
            return Found(model, window=events)
        cycle = FIND[model](part)
        assert cycle is not None, f"{model} does not hold, and has no cycle"
        globally = tuple(Edge(int(events[s]), int(events[t]), why) for s, t, why in cycle)
        return Found(model, globally, window=events)


def _weakest(placed: Placed, events: Numbers, shown: _Shown) -> Found | None:
    """The weakest untimed model that a window breaks; the strongest is asked first."""
    part = execution(placed, events, timed=False)
    if HOLDS[Model.SC](part):
        return None
    for model in (Model.COHERENCE, Model.CAUSAL, Model.TSO):
        if not HOLDS[model](part):
            return shown.found(model, part, events)
    return shown.found(Model.SC, part, events)


class _Open:
    """Judges a history that may leave choices open."""

    def __init__(self, verdict: ForeignVerdict, matching: Matching) -> None:
        self.verdict = verdict
        self.columns = verdict.columns
        self.matching = matching
        self.tried: list[_Tried] = []
        self.left = SOLVED_MAX

    def try_guesses(self) -> None:
        """Try guesses in turn, up to one that breaks nothing; it is then the last.

        One that breaks something here and there is mended. What seems to break a history all over
        is looked at closely only when nothing better comes.
        """
        wide = []
        for chosen in guesses(self.columns, self.matching):
            laid = _Laid(self.columns, chosen)
            if laid.is_wide and not chosen.determined:
                wide.append((chosen, laid))
            elif self._satisfies(chosen, laid):
                return
        for chosen, laid in wide[-WIDE_MAX:]:
            if self._satisfies(chosen, laid):
                return

    def _satisfies(self, chosen: Guess, laid: _Laid) -> bool:
        tried = _Tried(chosen, list(_broken(laid)))
        self.tried.append(tried)
        long = len(self.columns) > PROBLEM_MAX
        if tried.found and long and not chosen.determined and not laid.is_wide:
            self._mend_all(tried, Model.SC)
        return not tried.found

    def judge(self) -> None:
        """Ask for each model, the weakest first, whether some choice satisfies it."""
        models = self.verdict.models
        for model in _LADDER:
            if model is Model.REAL_TIME and not self.columns.has_clock:
                continue
            models[model] = self._judge_model(model)
            if models[model] == VIOLATION:
                for stronger in _LADDER[_LADDER.index(model) :]:
                    models[stronger] = VIOLATION
                return

    def _judge_model(self, model: Model) -> str:
        """Prove that the model holds by a choice, or that none satisfies it; else inconclusive."""
        if not all(tried.breaking(model) for tried in self.tried):
            return OK
        if len(self.columns) <= PROBLEM_MAX:
            del self.tried[1:]
        for tried in self.tried:
            word = self._repair(tried, model)
            if word is not None:
                return word
        self.verdict.reasons.append(
            f"{model.label}: {self._unsaid()} was not recorded, and no choice that was tried "
            "satisfies it"
        )
        return INCONCLUSIVE

    def _unsaid(self) -> str:
        """What the history leaves open."""
        if self.matching.candidates:
            return "which store each load met"
        return "the order of stores"

    def _repair(self, tried: _Tried, model: Model) -> str | None:
        """Mend a guess part by part; None where that comes to no end."""
        told = self._mend_all(tried, model)
        if told is not None:
            self.verdict.found.append(told)
            return VIOLATION
        return None if tried.breaking(model) else OK

    def _mend_all(self, tried: _Tried, model: Model) -> Found | None:
        """Take what satisfies a model in each part over into a guess; or show that none does."""
        for _ in range(REPAIRS_MAX):
            breaking = tried.breaking(model)
            parts = self._parts(tried.guess, breaking)
            self.left -= len(parts)
            if self.left < 0:
                return None
            solved = []
            for events in parts:
                one = solve(self._problem(tried.guess, events), model)
                if one.allowed is False:
                    return self._told(one, events, model)
                solved.append(one)
                if one.allowed is None:
                    break
            if len(solved) < len(breaking) or not all(one.allowed for one in solved):
                return None
            for one, events in zip(solved, parts, strict=True):
                _mend(tried.guess, one, events)
            tried.found = list(_broken(_Laid(self.columns, tried.guess)))
            if not tried.breaking(model):
                return None
        return None

    def _parts(self, chosen: Guess, breaking: list[Found]) -> list[Numbers]:
        """What is to be solved: all of a short history, or each window, or a cycle of a wide one.

        With each load the stores come that it may have met.
        """
        if len(self.columns) <= PROBLEM_MAX:
            return [np.arange(len(self.columns))]
        parts = []
        for found in breaking[:PARTS_MAX]:
            part = self._with_stores(chosen, found.window.tolist())
            if len(part) > PROBLEM_MAX:
                part = self._with_stores(chosen, (edge.source for edge in found.cycle))
            if 0 < len(part) <= PROBLEM_MAX:
                parts.append(part)
        return parts

    def _with_stores(self, chosen: Guess, events: Iterable[int]) -> Numbers:
        part = set(events)
        for event in tuple(part):
            store = int(chosen.writer[event])
            part.update(self.matching.candidates.get(event, (store,)))
        return np.array(sorted(event for event in part if event >= 0), dtype=np.int64)

    def _problem(self, chosen: Guess, events: Numbers) -> Problem:
        """The part as `inference` takes it."""
        columns, writer = self.columns, self.matching.writer
        local = {int(event): place for place, event in enumerate(events)}
        local[INITIAL] = INITIAL
        candidates = {}
        for event, place in local.items():
            known = event >= 0 and (writer[event] >= INITIAL or event in self.matching.candidates)
            if known and event not in self.matching.partial:
                stores = self.matching.candidates.get(event, (int(writer[event]),))
                candidates[place] = _likeliest_first(int(chosen.writer[event]), stores, local)
        starts, ends = columns.start[events].tolist(), columns.end[events].tolist()
        return Problem(
            threads=[columns.threads[t] for t in columns.thread[events]],
            kinds=columns.kind[events].tolist(),
            locations=columns.location[events].tolist(),
            candidates=candidates,
            ordered=self._recorded(events),
            guess=chosen.rank[events].tolist(),
            spans=list(zip(starts, ends, strict=True)) if columns.has_clock else (),
        )

    def _recorded(self, events: Numbers) -> list[list[int]]:
        """Stores whose order was recorded, by location."""
        columns = self.columns
        by_place: dict[int, list[int]] = {}
        for place, event in enumerate(events):
            if columns.kind[event] == STORE and columns.order[event] != NO_ORDER:
                by_place.setdefault(int(columns.location[event]), []).append(place)
        return [sorted(s, key=lambda p: columns.order[events[p]]) for s in by_place.values()]

    def _told(self, solved: Solved, events: Numbers, model: Model) -> Found:
        """Show the cycle, and say how it is known that no other choice avoids one."""
        if solved.forced:
            note = "the order of the stores named here follows from what the loads met"
        else:
            note = f"so does every other choice of what was not recorded ({solved.tried} tried)"
        cycle = tuple(Edge(int(events[s]), int(events[t]), why) for s, t, why in solved.cycle)
        return Found(model, cycle, note=note)


def _likeliest_first(
    guessed: int, stores: tuple[int, ...], local: dict[int, int]
) -> tuple[int, ...]:
    return tuple(local[store] for store in sorted(stores, key=lambda store: store != guessed))


def _mend(chosen: Guess, solved: Solved, events: Numbers) -> None:
    """Take a part's solution over into a guess."""
    for load, store in solved.writers.items():
        chosen.writer[events[load]] = events[store] if store >= 0 else INITIAL
    for stores in solved.order:
        places = sorted(int(chosen.rank[events[store]]) for store in stores)
        for store, rank in zip(stores, places, strict=True):
            chosen.rank[events[store]] = rank
    chosen.schedule = None
