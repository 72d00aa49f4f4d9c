"""The exploring store does what shared memory does, and notes what was touched."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable

from hypothesis import given
from hypothesis import strategies as st

from shootdown_engine.live_store import LiveStore
from shootdown_engine.store import Cell, Store, receive
from shootdown_protocol.memory import WORDS_PER_FRAME
from shootdown_verify.explore.store import AS_FILLED, ExploringStore

FRAMES_AT = WORDS_PER_FRAME
FRAMES = 3
Action = Callable[[Store], object]

frames = st.integers(0, FRAMES - 1).map(lambda frame: FRAMES_AT + frame * WORDS_PER_FRAME)
offsets = st.sampled_from((0, 1, 7, WORDS_PER_FRAME - 1))
small_words = st.integers(0, 3)
words = st.one_of(st.integers(0, 5), st.builds(int.__add__, frames, offsets))


def load(word: int) -> Action:
    """Read a word."""
    return lambda store: store.load(word)


def write(word: int, value: int) -> Action:
    """Write a word."""
    return lambda store: store.store(word, value)


def fill(frame: int, pattern: int) -> Action:
    """Fill a frame."""
    return lambda store: store.fill_frame(frame, pattern)


def copy(source: int, target: int) -> Action:
    """Copy a frame."""
    return lambda store: store.copy_frame(source, target)


def look(frame: int, pattern: int) -> Action:
    """Look for a word that differs."""
    return lambda store: store.broken_word(frame, pattern)


def send(message: int) -> Action:
    """Send through a channel."""
    return lambda store: store.send(("c",), message)


def take() -> Action:
    """Receive from it."""
    return lambda store: receive(store, ("c",))


actions = st.one_of(
    st.builds(load, words),
    st.builds(write, words, small_words),
    st.builds(fill, frames, small_words),
    st.builds(copy, frames, frames),
    st.builds(look, frames, small_words),
    st.builds(send, small_words),
    st.builds(take),
)


def live_store() -> LiveStore:
    """Zeroed words."""
    words = array("Q", bytes(8 * (FRAMES_AT + FRAMES * WORDS_PER_FRAME)))
    return LiveStore(memoryview(words))


class Stepped:
    """An exploring store whose every action is a step of its own."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self.store = ExploringStore(FRAMES_AT)
        self.store.freeze()
        self.state: dict[Cell, Hashable] = {}

    def read(self, cell: Cell) -> Hashable:
        """Read the state that the next step is applied to."""
        return self.state[cell] if cell in self.state else self.store.initial(cell)

    def make(self, action: Action) -> object:
        """Make a step and keep what it wrote."""
        self.store.begin(self.read)
        result = action(self.store)
        self.state.update(self.store.writes)
        return result


@given(st.lists(actions, max_size=20))
def test_steps_see_what_shared_memory_would_show(sequence: list[Action]) -> None:
    """Words, whole frames and channels hold the same under both stores after any actions."""
    live = live_store()
    stepped = Stepped()

    for action in sequence:
        assert stepped.make(action) == action(live)


@given(st.lists(actions, max_size=12), st.lists(actions, max_size=12))
def test_what_is_laid_out_at_the_start_is_seen_by_steps(
    before: list[Action], after: list[Action]
) -> None:
    """Actions before the freeze are the state at the start."""
    live = live_store()
    stepped = Stepped()
    stepped.store = ExploringStore(FRAMES_AT)
    for action in before:
        action(live)
        action(stepped.store)
    stepped.store.freeze()

    for action in after:
        assert stepped.make(action) == action(live)


@given(st.lists(actions, max_size=12), actions)
def test_a_step_depends_on_what_it_read_alone(sequence: list[Action], action: Action) -> None:
    """Applied where only the cells that it read are as they were, a step does the same again."""
    stepped = Stepped()
    for step in sequence:
        stepped.make(step)
    state = dict(stepped.state)
    result = stepped.make(action)
    read, wrote = dict(stepped.store.reads), dict(stepped.store.writes)

    stepped.state = {cell: value for cell, value in state.items() if cell in read}

    assert stepped.make(action) == result
    assert stepped.store.writes == wrote


def test_a_copied_word_is_read_from_its_source() -> None:
    """A copy has read the source's pattern and each word that was ever written in it."""
    stepped = Stepped()
    source, target = FRAMES_AT, FRAMES_AT + WORDS_PER_FRAME
    stepped.make(write(source + 7, 5))

    stepped.make(copy(source, target))

    assert set(stepped.store.reads) == {("fill", source), source + 7}
    assert stepped.store.writes == {("fill", target): 0, target + 7: 5}


def test_a_filled_frame_forgets_its_words() -> None:
    """A fill writes the pattern, and says of each word that it is as filled."""
    stepped = Stepped()
    stepped.make(write(FRAMES_AT + 1, 5))

    stepped.make(fill(FRAMES_AT, 9))

    assert stepped.store.writes == {("fill", FRAMES_AT): 9, FRAMES_AT + 1: AS_FILLED}
    assert not stepped.store.reads


def test_what_a_step_wrote_itself_is_no_read() -> None:
    """A word that the step has written before it reads it is none of its reads."""
    stepped = Stepped()

    def write_and_read(store: Store) -> int:
        store.store(1, 2)
        return store.load(1)

    assert stepped.make(write_and_read) == 2
    assert not stepped.store.reads
