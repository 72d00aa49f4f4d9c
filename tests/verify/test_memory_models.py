"""The memory models: classic shapes, words of a fork, syncs, and a naive second opinion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.verify import naive_models
from tests.verify.naive_models import Threads
from tests.verify.record_builders import column, location, program

from shootdown_verify.check.events import (
    LOAD,
    STORE,
    SYNC,
    Entry,
    Execution,
    Shape,
    build_execution,
)
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Relation
from shootdown_verify.check.models import FIND, UNTIMED, weakest_broken

X_Y = program(column("CPU0"), column("CPU1"), locations=(location("x"), location("y")))
FORK = program(column("CPU0"), locations=(location("x"), location("y", parent=0)))


def shape(text: str) -> Shape:
    """``Wx1 Ry0 | ...``: stores and loads by version, a thread after each bar; ``S1`` syncs."""
    threads = []
    for number, cells in enumerate(text.split("|")):
        threads.append((f"CPU{number}", tuple(_entry(cell) for cell in cells.split())))
    return tuple(threads)


def _entry(cell: str) -> Entry:
    if cell[0] == "S":
        return Entry(SYNC, int(cell[1:]))
    place = "xy".index(cell[1])
    return Entry(STORE if cell[0] == "W" else LOAD, place, place, int(cell[2:]))


def weakest(text: str) -> Model | None:
    """The weakest untimed model that a shape breaks."""
    broken = weakest_broken(build_execution(shape(text), X_Y), UNTIMED)
    return broken.model if broken else None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("CoRR", "Wx1 | Rx1 Rx0", Model.COHERENCE),
        ("CoWW", "Wx2 Wx1", Model.COHERENCE),
        ("CoWR", "Wx2 Rx1 | Wx1", Model.COHERENCE),
        ("CoRW", "Rx1 Wx1", Model.COHERENCE),
        ("LB", "Rx1 Wy1 | Ry1 Wx1", Model.CAUSAL),
        ("MP", "Wx1 Wy1 | Ry1 Rx0", Model.CAUSAL),
        ("S", "Wx2 Wy1 | Ry1 Wx1", Model.CAUSAL),
        ("WRC", "Wx1 | Rx1 Wy1 | Ry1 Rx0", Model.CAUSAL),
        ("2+2W", "Wx2 Wy1 | Wy2 Wx1", Model.TSO),
        ("IRIW", "Wx1 | Rx1 Ry0 | Wy1 | Ry1 Rx0", Model.TSO),
        ("SB", "Wx1 Ry0 | Wy1 Rx0", Model.SC),
        ("R", "Wx1 Wy1 | Wy2 Rx0", Model.SC),
        ("RWC", "Wx1 | Rx1 Ry0 | Wy1 Rx0", Model.SC),
        ("SB, one seen", "Wx1 Ry1 | Wy1 Rx0", None),
        ("MP, nothing seen", "Wx1 Wy1 | Ry0 Rx1", None),
        ("two pages", "Wx1 | Wy1 | Rx0 | Ry1", None),
    ],
)
def test_classic_shapes_break_exactly_the_models_of_the_literature(
    name: str, text: str, expected: Model | None
) -> None:
    """Each shape's weakest broken model is the one that the published tables say."""
    assert expected == weakest(text), name


@pytest.mark.parametrize("model", UNTIMED)
def test_a_cycle_leads_back_to_where_it_began(model: Model) -> None:
    """A found cycle is a closed chain of edges."""
    cycle = FIND[model](build_execution(shape("Wx1 Wy1 | Ry1 Rx1 Rx0"), X_Y))

    assert cycle is not None
    assert [e.target for e in cycle] == [e.source for e in (*cycle[1:], cycle[0])]


def test_the_cycle_of_message_passing_is_the_shortest() -> None:
    """Message passing is explained by four edges, whatever else the threads did."""
    broken = weakest_broken(build_execution(shape("Wx1 Wy1 Wx2 | Ry0 Ry1 Rx0 Rx2"), X_Y))

    assert broken is not None
    assert [edge.relation.value for edge in broken.cycle] == ["po", "rf", "po", "fr"]


def test_sync_adds_happens_before() -> None:
    """Without the sync two threads that know nothing of each other break no untimed model."""
    assert weakest("Wx1 | Rx0") is None
    assert weakest("Wx1 | S0 Rx0") == Model.CAUSAL


def test_a_child_of_fork_may_not_see_less_than_fork_passed_on() -> None:
    """The parent's versions up to the ceiling are part of the child's word."""
    stored = Entry(STORE, 0, 0, 1)
    less, enough = (Entry(LOAD, 1, 0, order, ceiling=1) for order in (0, 1))

    broken = weakest_broken(build_execution((("CPU0", (stored, less)),), FORK))

    assert broken is not None
    assert broken.model == Model.COHERENCE
    assert weakest_broken(build_execution((("CPU0", (stored, enough)),), FORK)) is None


def test_a_parents_store_after_fork_is_not_in_the_childs_word() -> None:
    """A child that goes on reading what fork passed on breaks nothing."""
    child = Entry(LOAD, 1, 0, 0, ceiling=0)
    execution = build_execution((("CPU0", (Entry(STORE, 0, 0, 1), child)),), FORK)

    assert weakest_broken(execution) is None


def test_a_childs_own_store_follows_what_fork_passed_on() -> None:
    """A child that meets its parent's version after its own store goes back."""
    entries = (Entry(STORE, 1, 1, 1), Entry(LOAD, 1, 0, 5, ceiling=5))

    broken = weakest_broken(build_execution((("CPU0", entries),), FORK))

    assert broken is not None
    assert broken.model == Model.COHERENCE


def test_real_time_order_is_broken_only_between_accesses_that_do_not_overlap() -> None:
    """A stale read breaks real time if it began after the store's end, not if it overlaps it."""
    stale = shape("Wx1 | Rx0")
    after, during = [(0, 10), (20, 30)], [(0, 10), (5, 30)]

    broken = weakest_broken(build_execution(stale, X_Y, after))

    assert broken is not None
    assert broken.model == Model.REAL_TIME
    assert {edge.relation for edge in broken.cycle} == {Relation.FROM_READS, Relation.REAL_TIME}
    assert weakest_broken(build_execution(stale, X_Y, during)) is None


@st.composite
def executions(draw: st.DrawFn) -> Threads:
    """Up to three threads of up to three events on two words, stores numbered in a drawn order."""
    cells = st.tuples(st.sampled_from((LOAD, STORE)), st.sampled_from("xy"))
    plan = draw(st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=3))
    stores = {
        word: sum(cell == (STORE, word) for cells_of in plan for cell in cells_of) for word in "xy"
    }
    orders = {word: iter(draw(st.permutations(range(1, stores[word] + 1)))) for word in "xy"}
    return tuple(
        tuple(
            (
                kind,
                word,
                next(orders[word]) if kind == STORE else draw(st.integers(0, stores[word])),
            )
            for kind, word in cells_of
        )
        for cells_of in plan
    )


def execution_of(threads: Threads, spans: list[tuple[int, int]] | None = None) -> Execution:
    """The same events as the judge sees them."""
    letters = {LOAD: "R", STORE: "W"}
    text = "|".join(
        " ".join(f"{letters[kind]}{word}{version}" for kind, word, version in ops)
        for ops in threads
    )
    return build_execution(shape(text), X_Y, spans or [])


@given(executions())
def test_every_untimed_model_agrees_with_running_all_interleavings(threads: Threads) -> None:
    """The axioms forbid exactly what no machine of the model can do."""
    machines = {
        Model.COHERENCE: naive_models.allowed_by_coherence,
        Model.CAUSAL: naive_models.allowed_by_causality,
        Model.TSO: naive_models.allowed_by_tso,
        Model.SC: naive_models.allowed_by_sc,
    }

    execution = execution_of(threads)

    for model, is_allowed in machines.items():
        assert is_allowed(threads) == (FIND[model](execution) is None), model


@given(executions(), st.data())
def test_real_time_agrees_with_running_all_interleavings(
    threads: Threads, data: st.DataObject
) -> None:
    """Intervals forbid exactly the orders that contradict them."""
    spans = []
    for ops in threads:
        moments = st.lists(st.integers(0, 9), min_size=2 * len(ops), max_size=2 * len(ops))
        times = sorted(data.draw(moments))
        spans.append(list(zip(times[::2], times[1::2], strict=True)))

    execution = execution_of(threads, [span for of_thread in spans for span in of_thread])

    allowed = naive_models.allowed_by_real_time(threads, spans)
    assert allowed == (FIND[Model.REAL_TIME](execution) is None)


@given(executions())
def test_what_breaks_a_model_breaks_every_stronger_one(threads: Threads) -> None:
    """Coherence, causal, TSO and SC are in order of strength."""
    verdicts = [FIND[model](execution_of(threads)) is not None for model in UNTIMED]

    assert verdicts == sorted(verdicts)
