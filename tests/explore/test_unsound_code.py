"""Code that learns about shared state behind the store's back is found and named."""

from __future__ import annotations

from functools import partial

import pytest

from shootdown_engine.store import Store
from shootdown_engine.task import Stage
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_verify.explore.automaton import TaskSpec
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.soundness import check_samples, is_same
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.system import System, UnsoundStep


class Leaky:
    """Steps that use an attribute where they should use a cell."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.count = 0
        self.flag = False

    def step_count(self, store: Store) -> int:
        """Count the calls."""
        self.count += 1
        store.put(("x",), 1)
        return self.count

    def step_raise_flag(self, store: Store) -> None:
        """Change what another step reads."""
        store.put(("x",), 1)
        self.flag = True

    def step_read_flag(self, store: Store) -> bool:
        """Read what another step changed."""
        store.get(("y",))
        return self.flag

    def step_write_count(self, store: Store) -> None:
        """Write what is not the store's."""
        self.count += 1
        store.put(("x",), self.count)


async def make(step: object, times: int = 1) -> None:
    """Make a step so many times."""
    for _ in range(times):
        await trap("planted", step)  # type: ignore[arg-type]


def explored(*stages: Stage) -> System:
    """All states of tasks with a stage each."""
    specs = [TaskSpec(f"T{number}", (stage,)) for number, stage in enumerate(stages)]
    system = System(specs, ExploringStore())
    BreadthFirst(system, quiet=lambda _: (), stuck=lambda _: ()).run(states=1000)
    return system


def test_a_result_from_an_attribute_is_found() -> None:
    """A step that returns something other each time is named with its class."""
    system = explored(partial(make, Leaky().step_count))

    with pytest.raises(UnsoundStep, match=r"T0, step 'planted' of .*Leaky"):
        check_samples(system, samples=100)


def test_a_write_from_an_attribute_is_found() -> None:
    """A step that writes something other each time is found."""
    system = explored(partial(make, Leaky().step_write_count))

    with pytest.raises(UnsoundStep, match="not a cell of the store"):
        check_samples(system, samples=100)


def test_an_attribute_that_another_step_changes_is_found() -> None:
    """It is enough that a later call of the reader differs from what was remembered."""
    leaky = Leaky()
    system = explored(partial(make, leaky.step_read_flag), partial(make, leaky.step_raise_flag))

    with pytest.raises(UnsoundStep, match="T0"):
        check_samples(system, samples=100)


def test_a_body_that_looks_at_a_shared_object_is_found() -> None:
    """A body that asks by what another body has noted is named."""
    noted: list[str] = []

    async def reader() -> None:
        await trap("first", lambda _: None)
        await trap(f"second of {len(noted)}", lambda _: None)

    async def writer() -> None:
        await trap("note", lambda _: None)
        noted.append("been there")

    system = explored(reader, writer)
    with pytest.raises(UnsoundStep, match="reader, given equal results again"):
        check_samples(system, samples=100)


def test_a_guard_that_writes_before_it_is_false_is_found() -> None:
    """A blocked step must have changed nothing."""

    def write_and_wait(store: Store) -> Blocked:
        store.put(("x",), 1)
        return BLOCKED

    with pytest.raises(UnsoundStep, match="and then was blocked"):
        explored(partial(make, write_and_wait))


def test_an_error_in_a_step_says_whose_it_is() -> None:
    """An assertion that fails in a step carries the task and the step as a note."""

    def broken(_store: Store) -> None:
        message = "planted"
        raise ValueError(message)

    with pytest.raises(ValueError, match="planted") as caught:
        explored(partial(make, broken))

    assert "T0, step 'planted'" in caught.value.__notes__[0]


def test_right_code_passes() -> None:
    """Steps that use cells alone may be made again as often as one likes."""

    def add(store: Store) -> int:
        held = store.get(("x",)) or 0
        assert isinstance(held, int)
        store.put(("x",), held + 1)
        return held

    check_samples(explored(partial(make, add, 3), partial(make, add, 2)), samples=1000)


def test_arguments_are_compared_by_what_they_say() -> None:
    """Objects without an equality of their own are the same if their attributes are."""
    one, other, third = Leaky(), Leaky(), Leaky()
    third.count = 5

    assert is_same((one, [1]), (other, [1]))
    assert not is_same((one, [1]), (third, [1]))
    assert not is_same(1, True)
