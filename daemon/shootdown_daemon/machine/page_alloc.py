"""Steps of the page allocator: per-CPU lists, the buddy list, reference counts, poison.

A frame's generation grows when it is freed, and its poison names the new generation; an entry made
before then carries the old one, so every later use through it is known for what it is. A stray
write is found when the frame is handed out again.
"""

from __future__ import annotations

from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_protocol.history import Stray
from shootdown_protocol.layout import OWNER_FREE
from shootdown_protocol.words import data_word, poison_word

Frames = tuple[int, ...]


def frames_in(store: Store, cell: tuple[str | int, ...]) -> Frames:
    """The frames of a free list, the next to be handed out last."""
    frames = store.get(cell)
    if frames is None:
        return ()
    assert isinstance(frames, tuple)
    return frames


def alloc_page(
    store: Store, memory: PhysicalMemory, slot: int, cpu: int, owner: int, from_buddy: bool
) -> int:
    """``alloc_page()``: from the CPU's own list, else from the buddy list; gives the PFN."""
    cell: tuple[str | int, ...] = ("pcp", slot, cpu)
    frames = () if from_buddy else frames_in(store, cell)
    if not frames:
        cell = ("buddy", slot)
        frames = frames_in(store, cell)
    assert frames, f"slot {slot}: no free frame is left for CPU {cpu}"
    pfn = frames[-1]
    store.put(cell, frames[:-1] or None)
    check_poison(store, memory, pfn)
    store.store(memory.owner_word(pfn), owner)
    store.put(("refs", pfn), 1)
    return pfn


def drain_pages(store: Store, slot: int, cpu: int) -> bool:
    """``drain_pages()``: give a CPU's list back; what was freed last is then handed out first.

    False when the list was empty already.
    """
    own = frames_in(store, ("pcp", slot, cpu))
    if not own:
        return False
    store.put(("pcp", slot, cpu), None)
    store.put(("buddy", slot), (*own, *frames_in(store, ("buddy", slot))))
    return True


def check_poison(store: Store, memory: PhysicalMemory, pfn: int) -> bool:
    """Whether a free frame's poison is whole; a stray write is reported."""
    generation = store.load(memory.generation_word(pfn))
    broken = store.broken_word(memory.first_word(pfn), poison_word(generation))
    if broken is not None:
        store.emit(Stray(pfn, generation, broken))
    return broken is None


def get_page(store: Store, pfn: int) -> None:
    """``get_page()``: one more reference."""
    refs = _references(store, pfn)
    assert refs > 0, f"frame {pfn:#x} is got though it is free"
    store.put(("refs", pfn), refs + 1)


def wp_can_reuse_anon_folio(store: Store, pfn: int) -> bool:
    """``wp_can_reuse_anon_folio()``: nobody else holds the page; a KSM page counts as shared."""
    return _references(store, pfn) == 1 and store.get(("ksm", pfn)) is None


def _references(store: Store, pfn: int) -> int:
    refs = store.get(("refs", pfn))
    return refs if isinstance(refs, int) else 0


def copy_user_page(store: Store, memory: PhysicalMemory, new: int, old: int) -> None:
    """``copy_user_highpage()``: words are copied as they are, so the copy carries the version."""
    store.copy_frame(memory.first_word(old), memory.first_word(new))


def clear_user_page(store: Store, memory: PhysicalMemory, slot: Slot, site: Site, new: int) -> None:
    """``clear_user_highpage()``: zero fill is version 0 of the location's present epoch."""
    first = memory.first_word(new)
    store.fill_frame(first, 0)
    word = data_word(slot.instance, site.index, store.load(site.epoch), 0, 0)
    store.store(first + site.word_offset, word)


def pages_identical(
    store: Store, memory: PhysicalMemory, word_offset: int, page: int, other: int
) -> bool:
    """``pages_identical()``, of the one word that matters to the scenario."""
    one = store.load(memory.first_word(page) + word_offset)
    return one == store.load(memory.first_word(other) + word_offset)


def get_ksm_page(store: Store, slot: int, location: int) -> int:
    """``get_ksm_page()``: take a reference to the page that is to replace a location's."""
    pfn = store.get(("kpage", slot, location))
    assert isinstance(pfn, int), "replace_page without a KSM page"
    get_page(store, pfn)
    return pfn


def put_page(
    store: Store, memory: PhysicalMemory, slot: int, pfn: int, references: int, lifo: bool
) -> bool:
    """``put_page()``: drop references; the last one frees the frame. Says whether it was freed."""
    if pfn == memory.zero_pfn:
        return False
    left = _references(store, pfn) - references
    assert left >= 0, f"frame {pfn:#x} is put more often than it was got"
    if left:
        store.put(("refs", pfn), left)
        return False
    store.put(("refs", pfn), None)
    free_frame(store, memory, pfn)
    frames = frames_in(store, ("buddy", slot))
    store.put(("buddy", slot), (*frames, pfn) if lifo else (pfn, *frames))
    store.put(("freed", slot), True)
    return True


def free_frame(store: Store, memory: PhysicalMemory, pfn: int) -> None:
    """Begin the frame's next generation and poison it."""
    word = memory.generation_word(pfn)
    generation = store.load(word) + 1
    store.store(word, generation)
    store.store(memory.owner_word(pfn), OWNER_FREE)
    store.fill_frame(memory.first_word(pfn), poison_word(generation))
    store.put(("ksm", pfn), None)
