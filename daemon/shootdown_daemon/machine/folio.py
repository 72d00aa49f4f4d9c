"""Steps on pages as their holders see them: isolation, expected references, the page cache, swap.

Only steps may live here, and how their cells are laid out at the start. Cells, all private:

=============================== ==============================================================
``("folio_lock", pfn)``         the task that holds the page's lock
``("page_cache", slot, place)`` the page that caches a location of a file
``("dirty", pfn)``              the page is newer than its file
``("disk", slot, place)``       the frame that stands for the location's block on disk
``("swapped", slot, place)``    the frame that stands for the swap slot it begins in
``("swap_free", slot)``         frames that stand for free swap slots
``("swap_map", frame)``         entries that name a swap slot
``("swap_cache", frame)``       the page that caches a swap slot
``("lazyfree", pfn)``           reclaim may throw the page away as long as it is clean
``("lazyfree_floor", slot, place)`` the newest version when MADV_FREE returned
``("lazyfree_epoch", slot, place)`` the epoch before reclaim cleared the entry
``("image", slot, place)``      what a reader has copied, and through which entry
=============================== ==============================================================

Disk blocks and swap slots are frames that no entry maps, so what is written to them is copied word
for word and carries its version. A swap slot is not used twice within an instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shootdown_daemon.machine.page_alloc import Frames, frames_in, put_page
from shootdown_daemon.machine.page_table import Entry, ptep_get_and_clear
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.memory import (
    ACCESSED,
    DIRTY,
    NONE,
    Pte,
    hardware_bits,
    pte_pfn,
    pte_present,
    pte_write,
)
from shootdown_protocol.program import Op, Program, State
from shootdown_protocol.swapops import SwapType, pte_protnone, swp_offset, swp_type


class Image(NamedTuple):
    """A copy that a reader has made: the entry that it read through, and the frame it copied to."""

    pte: Pte
    frame: int


BACKED = {State.FILE: "disk", State.SWAPPED: "swapped"}
"""States that begin with a frame behind them, and the cell that names it."""
SWAPPING = frozenset(("try_to_unmap", "try_to_unmap_one"))
"""Operations that may need a swap slot."""
NAMING = frozenset(("migrate_vma_collect", "make_device_exclusive"))
"""Operations that leave entries behind that name a page and map none."""
COPYING = frozenset(("process_vm_readv",))
"""Operations that copy a page for a reader outside."""


def backing_needed(program: Program) -> int:
    """Frames of a slot that stand for disk blocks, swap slots and readers' copies."""
    kept = sum(place.state in BACKED for place in program.locations)
    made = sum(
        line.op is Op.RUN and line.operation in SWAPPING | COPYING
        for column in program.columns
        for line in column.instructions
    )
    return kept + made


def is_needed(program: Program) -> bool:
    """Whether a program's pages may be anywhere else than where an entry maps them."""
    lines = (line for column in program.columns for line in column.instructions)
    naming = any(line.op is Op.RUN and line.operation in NAMING for line in lines)
    cached = any(place.state is State.UPROBED for place in program.locations)
    return naming or cached or backing_needed(program) > 0


# Isolation


def folio_isolate_lru(
    store: Store, memory: PhysicalMemory, entry: Entry, owner: str
) -> Pte | Blocked:
    """``folio_walk_start()``, ``folio_isolate_lru()``, ``folio_trylock()``: take a mapped page.

    Under the page table lock for this one step; gives the entry, or none if nothing is mapped or
    the page is locked.
    """
    if store.get(("ptl", entry.lock)) is not None:
        return BLOCKED
    pte = Pte(store.load(entry.at(store)))
    pfn = pte_pfn(pte)
    if not (pte_present(pte) or pte_protnone(pte)) or pfn == memory.zero_pfn:
        return NONE
    if store.get(("folio_lock", pfn)) is not None:
        return NONE
    store.put(("folio_lock", pfn), owner)
    _add_reference(store, pfn)
    return pte


def gup_fast(store: Store, entry: Entry) -> Pte:
    """``gup_fast_pte_range()``: hold a page that may be written, seen twice at the same entry.

    Gives the entry, or none where a fault is needed first.
    """
    pte = entry.read(store)
    if not pte_present(pte) or not pte_write(pte):
        return NONE
    _add_reference(store, pte_pfn(pte))
    return pte


def folio_lock(store: Store, pfn: int, owner: str) -> Blocked | None:
    """``folio_lock()``."""
    if store.get(("folio_lock", pfn)) is not None:
        return BLOCKED
    store.put(("folio_lock", pfn), owner)
    return None


def folio_unlock(store: Store, pfn: int, owner: str) -> None:
    """``folio_unlock()``."""
    assert store.get(("folio_lock", pfn)) == owner, f"{owner} unlocks page {pfn:#x} of another"
    store.put(("folio_lock", pfn), None)


def folio_ref_freeze(store: Store, pfn: int, expected: int) -> bool:
    """``folio_ref_freeze()``: whether nobody but the expected holders has the page (no pin)."""
    return bool(store.get(("refs", pfn)) == expected)


def _add_reference(store: Store, pfn: int) -> None:
    refs = store.get(("refs", pfn))
    assert isinstance(refs, int)
    store.put(("refs", pfn), refs + 1)


def drop_reference(store: Store, pfn: int) -> None:
    """Drop a reference that is not the last."""
    refs = store.get(("refs", pfn))
    assert isinstance(refs, int)
    assert refs > 1
    store.put(("refs", pfn), refs - 1)


def is_cached(store: Store, cache: tuple[str | int, ...], pfn: int) -> bool:
    """Whether a page is still the one in a cell of the page or swap cache."""
    return bool(store.get(cache) == pfn)


# Swap


def folio_alloc_swap(store: Store, slot: int, pfn: int) -> int:
    """``folio_alloc_swap()``: give a page a swap slot and put it into the swap cache."""
    frames = frames_in(store, ("swap_free", slot))
    assert frames, f"slot {slot}: no swap slot is left"
    frame = frames[-1]
    store.put(("swap_free", slot), frames[:-1] or None)
    store.put(("swap_cache", frame), pfn)
    _add_reference(store, pfn)
    return frame


def swap_duplicate(store: Store, frame: int) -> None:
    """``swap_duplicate()``: one more entry names the swap slot."""
    store.put(("swap_map", frame), _swap_count(store, frame) + 1)


def swap_free(store: Store, frame: int) -> bool:
    """``swap_free()``: one entry fewer names the slot; says whether it was the last."""
    count = _swap_count(store, frame)
    assert count > 0, f"swap slot {frame:#x} is freed more often than it was named"
    store.put(("swap_map", frame), count - 1 or None)
    return count == 1


def _swap_count(store: Store, frame: int) -> int:
    count = store.get(("swap_map", frame)) or 0
    assert isinstance(count, int)
    return count


def swap_cache_get_folio(store: Store, frame: int) -> int | None:
    """``swap_cache_get_folio()``: the page that caches a swap slot, with a reference to it."""
    pfn = store.get(("swap_cache", frame))
    if pfn is None:
        return None
    assert isinstance(pfn, int)
    _add_reference(store, pfn)
    return pfn


def folio_free_swap(
    store: Store, memory: PhysicalMemory, slot: int, frame: int, pfn: int, lifo: bool
) -> bool:
    """``folio_free_swap()``: take a page that no swap entry names out of the swap cache.

    The cache's reference is the last one where the page was unmapped again meanwhile.
    """
    if not is_cached(store, ("swap_cache", frame), pfn) or _swap_count(store, frame):
        return False
    store.put(("swap_cache", frame), None)
    put_page(store, memory, slot, pfn, 1, lifo)
    return True


# Pages that may be thrown away


def folio_mark_lazyfree(store: Store, pfn: int) -> None:
    """``folio_mark_lazyfree()``: reclaim may throw the page away as long as it stays clean."""
    store.put(("lazyfree", pfn), True)


def folio_test_lazyfree(store: Store, pfn: int) -> bool:
    """``folio_test_anon() && !folio_test_swapbacked()``."""
    return store.get(("lazyfree", pfn)) is not None


def note_lazyfree(store: Store, slot: int, site: Site) -> None:
    """Note, as MADV_FREE returns, what may be lost: stores that have ended by then."""
    store.put(("lazyfree_floor", slot, site.index), store.load(site.floor))


def ptep_clear_lazyfree(store: Store, entry: Entry, owner: str, slot: int, site: Site) -> Pte:
    """``ptep_get_and_clear()`` of a page that may be thrown away: a new epoch, if nothing is lost.

    A store that has ended since MADV_FREE returned must not be lost. If there is one, the epoch
    stays, and the zeroes that the next fault finds are an older version (S2, S3).
    """
    old = ptep_get_and_clear(store, entry, owner)
    allowed = store.get(("lazyfree_floor", slot, site.index))
    epoch = store.load(site.epoch)
    store.put(("lazyfree_epoch", slot, site.index), epoch)
    if allowed is None or store.load(site.floor) == allowed:
        store.store(site.epoch, epoch + 1)
    return old


def folio_set_swapbacked(store: Store, pfn: int, slot: int, site: Site) -> None:
    """``folio_set_swapbacked()``: the page was written again and is kept, and so is its epoch."""
    store.put(("lazyfree", pfn), None)
    epoch = store.get(("lazyfree_epoch", slot, site.index))
    assert isinstance(epoch, int)
    store.store(site.epoch, epoch)


# The page cache


def filemap_get_folio(store: Store, slot: int, place: int) -> int | None:
    """``filemap_get_folio()``: the page that caches a location of a file, with a reference."""
    pfn = store.get(("page_cache", slot, place))
    if pfn is None:
        return None
    assert isinstance(pfn, int)
    _add_reference(store, pfn)
    return pfn


def filemap_add_folio(store: Store, slot: int, place: int, pfn: int) -> bool:
    """``filemap_add_folio()``: let a page cache a location; False when another does already."""
    cell = ("page_cache", slot, place)
    if store.get(cell) is not None:
        return False
    store.put(cell, pfn)
    _add_reference(store, pfn)
    return True


def frame_behind(store: Store, state: State, slot: int, place: int) -> int:
    """The frame that stands for a location's block on disk, or for the swap slot it begins in."""
    frame = store.get((BACKED[state], slot, place))
    assert isinstance(frame, int), "nothing lies behind this location"
    return frame


def folio_mark_dirty(store: Store, pfn: int) -> None:
    """``folio_mark_dirty()``."""
    store.put(("dirty", pfn), True)


def folio_test_clear_dirty(store: Store, pfn: int) -> bool:
    """``folio_test_clear_dirty()``."""
    dirty = store.get(("dirty", pfn)) is not None
    if dirty:
        store.put(("dirty", pfn), None)
    return dirty


def remove_mapping(store: Store, pfn: int, cache: tuple[str | int, ...], expected: int) -> bool:
    """``__remove_mapping()``: take a page out of the page or swap cache, unless somebody has it.

    Left alone is a page that has more references than expected, is dirty again, or is no longer
    the one cached.
    """
    if store.get(cache) != pfn or store.get(("dirty", pfn)) is not None:
        return False
    if store.get(("refs", pfn)) != expected:
        return False
    store.put(cache, None)
    store.put(("refs", pfn), expected - 1)
    return True


# Readers outside


def copy_to_reader(
    store: Store, memory: PhysicalMemory, slot: int, place: int, entry: Entry, pfn: int
) -> None:
    """``copy_page_to_iter()``: copy a page for a reader, and keep the entry that it read through.

    The reader takes its copy for the page's content as long as the entry stays as it is and lets
    no store through: that is what write-protecting a page for a reader means.
    """
    frames = frames_in(store, ("swap_free", slot))
    assert frames, f"slot {slot}: no frame is left for a reader's copy"
    store.put(("swap_free", slot), frames[:-1] or None)
    store.copy_frame(memory.first_word(pfn), memory.first_word(frames[-1]))
    pte = Pte(store.load(entry.at(store)))
    store.put(("image", slot, place), Image(_lasting(pte), frames[-1]))


def _lasting(pte: Pte) -> Pte:
    """An entry without what accesses that change nothing leave in it."""
    return Pte(hardware_bits(pte) & ~ACCESSED)


# Beginning and end of an instance


def lay_out_backing(
    store: Store, program: Program, slot: int, frames: Frames, backing: Frames
) -> None:
    """Forget what an earlier instance has left behind; hand out disk blocks and swap slots."""
    for pfn in frames:
        for name in ("folio_lock", "dirty", "lazyfree", "swap_map", "swap_cache"):
            _forget(store, (name, pfn))
    free = iter(backing)
    for place, location in enumerate(program.locations):
        _forget(store, ("image", slot, place))
        _forget(store, ("lazyfree_floor", slot, place))
        _forget(store, ("lazyfree_epoch", slot, place))
        _forget(store, ("page_cache", slot, place))
        if location.state in BACKED:
            store.put((BACKED[location.state], slot, place), next(free))
    store.put(("swap_free", slot), tuple(free) or None)
    for pfn in backing:
        store.put(("refs", pfn), 1)


def _forget(store: Store, cell: tuple[str | int, ...]) -> None:
    if store.get(cell) is not None:
        store.put(cell, None)


def copies(store: Store, slot: int, place: int, pte: Pte) -> Iterator[int]:
    """Frames that must hold a location's newest version when all is quiet, its entry being ``pte``.

    The copy of a reader whose entry has let no store through since; the page in a swap slot or in
    the swap cache; the file's block if its page is clean, and its page if nobody maps it.
    """
    image = store.get(("image", slot, place))
    if isinstance(image, Image) and image.pte == _lasting(pte) and not pte_write(pte):
        yield image.frame
    if swp_type(pte) is SwapType.SWAP:
        cached = store.get(("swap_cache", swp_offset(pte)))
        yield cached if isinstance(cached, int) else swp_offset(pte)
    elif swp_type(pte) is not SwapType.NONE:
        yield swp_offset(pte)
    page = store.get(("page_cache", slot, place))
    frame = store.get(("disk", slot, place))
    if isinstance(page, int) and not pte_present(pte):
        yield page
    clean = not isinstance(page, int) or store.get(("dirty", page)) is None
    if isinstance(frame, int) and clean and not pte & DIRTY:
        yield frame
