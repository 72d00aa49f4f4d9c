"""The page allocator: where frames come from, what freeing does, how a stray write is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.machines import Bench, make_store

from shootdown_daemon.machine import page_alloc
from shootdown_engine.live_store import LiveStore
from shootdown_engine.memory import PhysicalMemory
from shootdown_protocol.history import Stray
from shootdown_protocol.layout import OWNER_FREE, Layout, owner_of
from shootdown_protocol.memory import Pfn, pte_generation, pte_pfn
from shootdown_protocol.program import State
from shootdown_protocol.words import is_poison, poison_generation, poison_word

LAYOUT = Layout(8, 64, 3)
SLOT = 0
OWNER = owner_of(5, 1)


class Arena:
    """Frames 1 to 7 of a small memory, all freed once; frame 0 is the zero page."""

    def __init__(self, *, lifo: bool = True) -> None:
        """Put frames 1 and 2 on CPU 0's list, 3 on CPU 1's, and the others on the buddy list."""
        self.store: LiveStore = make_store(LAYOUT)
        self.pfns = [LAYOUT.pfn_of(index) for index in range(LAYOUT.frames)]
        self.memory = PhysicalMemory(LAYOUT, Pfn(self.pfns[0]))
        self.lifo = lifo
        for pfn in self.pfns[1:]:
            page_alloc.free_frame(self.store, self.memory, pfn)
        self.store.put(("pcp", SLOT, 0), (self.pfns[1], self.pfns[2]))
        self.store.put(("pcp", SLOT, 1), (self.pfns[3],))
        self.store.put(("buddy", SLOT), tuple(self.pfns[4:]))

    def alloc(self, cpu: int = 0, *, from_buddy: bool = False) -> int:
        """Allocate; gives the frame's index."""
        pfn = page_alloc.alloc_page(self.store, self.memory, SLOT, cpu, OWNER, from_buddy)
        return self.pfns.index(Pfn(pfn))

    def put(self, index: int, references: int = 1) -> bool:
        """Drop references to a frame."""
        pfn = self.pfns[index]
        return page_alloc.put_page(self.store, self.memory, SLOT, pfn, references, self.lifo)

    def generation(self, index: int) -> int:
        """How often a frame was freed."""
        return self.store.load(self.memory.generation_word(self.pfns[index]))


def test_a_cpu_takes_from_its_own_list_first() -> None:
    """Allocations of two CPUs do not meet until their own lists are empty."""
    arena = Arena()

    assert [arena.alloc(0), arena.alloc(1), arena.alloc(0)] == [2, 3, 1]
    assert [arena.alloc(0), arena.alloc(1)] == [7, 6]


def test_a_taker_can_go_to_the_buddy_list_at_once() -> None:
    """``when freed`` takes what was freed last, though its CPU has frames of its own."""
    arena = Arena()
    taken = arena.alloc(0)
    arena.put(taken)

    assert arena.alloc(1, from_buddy=True) == taken


@pytest.mark.parametrize(("lifo", "expected"), [(True, 2), (False, 7)])
def test_reuse_is_last_or_first(lifo: bool, expected: int) -> None:
    """With LIFO the frame freed last is handed out next; with FIFO it is handed out last."""
    arena = Arena(lifo=lifo)
    assert arena.put(arena.alloc(0))

    assert arena.alloc(1, from_buddy=True) == expected


def test_no_frame_left_is_an_assertion() -> None:
    """An arena is laid out with what its program can need, so running out is a mistake of ours."""
    arena = Arena()
    for _ in range(6):
        arena.alloc(0)

    with pytest.raises(AssertionError, match="no free frame"):
        arena.alloc(0)


def test_freeing_begins_a_generation_and_poisons() -> None:
    """A freed frame has no owner, counts one generation more, and every word of it names that."""
    arena = Arena()
    taken = arena.alloc()
    before = arena.generation(taken)
    assert arena.store.load(arena.memory.owner_word(arena.pfns[taken])) == OWNER

    assert arena.put(taken)

    first = arena.memory.first_word(arena.pfns[taken])
    assert arena.generation(taken) == before + 1
    assert arena.store.load(arena.memory.owner_word(arena.pfns[taken])) == OWNER_FREE
    words = set(arena.store.words[first : first + 512])
    assert words == {poison_word(before + 1)}


def test_the_last_reference_frees() -> None:
    """A frame is freed when as many references were put as were got, and not before."""
    arena = Arena()
    taken = arena.alloc()
    page_alloc.get_page(arena.store, arena.pfns[taken])
    page_alloc.get_page(arena.store, arena.pfns[taken])

    assert [arena.put(taken), arena.put(taken, references=2)] == [False, True]


def test_references_are_not_put_twice() -> None:
    """Putting a free frame, or more references than there are, is an assertion; so is getting."""
    arena = Arena()
    taken = arena.alloc()
    with pytest.raises(AssertionError):
        arena.put(taken, references=2)
    arena.put(taken)

    with pytest.raises(AssertionError):
        arena.put(taken)
    with pytest.raises(AssertionError):
        page_alloc.get_page(arena.store, arena.pfns[taken])


def test_the_zero_page_is_never_freed() -> None:
    """Putting the zero page does nothing."""
    arena = Arena()

    assert not arena.put(0)
    assert arena.generation(0) == 0


@given(st.integers(0, 511), st.integers(0, 2**64 - 1))
def test_a_stray_write_is_found(word: int, value: int) -> None:
    """Any word of a free frame that is not its poison is reported when the frame is handed out."""
    arena = Arena()
    pfn = arena.pfns[2]
    arena.store.store(arena.memory.first_word(pfn) + word, value)

    arena.alloc(0)

    strays = [record for record in arena.store.records if isinstance(record, Stray)]
    whole = value == poison_word(1)
    assert strays == ([] if whole else [Stray(pfn, 1, value)])


def test_an_earlier_generations_poison_is_a_stray_write() -> None:
    """Poison names its generation: a late fill with old poison is not taken for the frame's own."""
    arena = Arena()
    first = arena.memory.first_word(arena.pfns[2])
    assert poison_generation(arena.store.load(first)) == 1
    arena.store.store(first, poison_word(0))

    assert not page_alloc.check_poison(arena.store, arena.memory, arena.pfns[2])


def test_a_zapped_page_is_poison_of_a_later_generation() -> None:
    """What an old translation leads to after the zap is poison, and its generation has passed."""
    bench = Bench.of("zap_pte_range", State.RW)
    stale = bench.entry()
    bench.go("CPU0")
    word = bench.memory.first_word(pte_pfn(stale)) + bench.slot.sites[0].word_offset

    assert is_poison(bench.store.load(word))
    assert bench.memory.generation(bench.store, pte_pfn(stale)) == pte_generation(stale) + 1
