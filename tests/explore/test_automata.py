"""A task's coroutine runs only where nobody has been before."""

from __future__ import annotations

from functools import partial

import pytest

from shootdown_engine.store import Store
from shootdown_engine.trap import trap
from shootdown_verify.explore.automaton import Automaton, Node, TaskSpec


def nothing(_store: Store) -> object:
    """Do nothing; tests say what it gives."""
    return None


async def two_steps(seen: list[str]) -> None:
    """Ask for a step, and for another named after its result."""
    seen.append("began")
    result = await trap("first", nothing)
    seen.append(f"got {result}")
    await trap(f"second after {result}", nothing)


async def counted(attempts: int = 0) -> int | None:
    """Be attempted until a step says 0, three times at most."""
    result = await trap(f"attempt {attempts}", nothing)
    return attempts + 1 if result and attempts < 2 else None


def name_of(node: Node) -> str | None:
    """The step that a node asks for."""
    return None if node.request is None else node.request.name


def test_a_result_seen_before_runs_nothing() -> None:
    """The second visit of an edge gives the same node, and the body does not notice."""
    seen: list[str] = []
    automaton = Automaton(0, TaskSpec("T", (partial(two_steps, seen),)))
    first = automaton.advance(automaton.root, 1)

    again = automaton.advance(automaton.root, 1)

    assert again is first
    assert seen == ["began", "got 1"]


def test_another_result_runs_the_body_anew() -> None:
    """A branch that was left is reached by running from the beginning with the results had."""
    seen: list[str] = []
    automaton = Automaton(0, TaskSpec("T", (partial(two_steps, seen),)))
    automaton.advance(automaton.root, 1)

    other = automaton.advance(automaton.root, 2)

    assert name_of(other) == "second after 2"
    assert seen == ["began", "got 1", "began", "got 2"]


def test_a_server_begins_again_and_any_other_task_ends() -> None:
    """After its last stage a server is at its root, any other task at its end."""
    for server in (True, False):
        automaton = Automaton(0, TaskSpec("T", (partial(two_steps, []),), server=server))
        second = automaton.advance(automaton.root, 1)

        after = automaton.advance(second, None)

        assert after is (automaton.root if server else automaton.ended)


def test_a_stage_forgets_what_went_before() -> None:
    """Different results of one stage lead to one node of the next."""
    automaton = Automaton(0, TaskSpec("T", (counted, counted)))

    after = {automaton.advance(automaton.root, result) for result in (0, None, "")}

    assert len(after) == 1
    assert after != {automaton.root}


def test_a_stage_made_again_remembers_its_argument_alone() -> None:
    """Attempts that failed differently lead to one node, and the number of attempts tells."""
    automaton = Automaton(0, TaskSpec("T", (counted,)))

    after = {automaton.advance(automaton.root, result) for result in (1, 2)}

    (again,) = after
    assert name_of(again) == "attempt 1"
    assert automaton.advance(automaton.advance(again, 1), 1) is automaton.ended


def test_a_server_that_never_steps_is_refused() -> None:
    """A body without a step would begin again for ever."""

    async def idle() -> None:
        pass

    with pytest.raises(AssertionError, match="never makes a step"):
        Automaton(0, TaskSpec("T", (idle,), server=True))
