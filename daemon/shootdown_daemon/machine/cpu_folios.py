"""What a CPU can do with pages as their holders see them: the calls of `folio`, one trap each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from shootdown_daemon.machine import folio, locks, page_alloc, page_table, probes, returning
from shootdown_daemon.machine.phases import Phase
from shootdown_engine.trap import Blocked
from shootdown_protocol.memory import Pte
from shootdown_protocol.program import State

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_daemon.machine.kernel import KernelSlot
    from shootdown_daemon.machine.page_table import Entry
    from shootdown_engine.memory import PhysicalMemory
    from shootdown_engine.slot import Site

R = TypeVar("R")
SwapCache = tuple[str, int]
PageCache = tuple[str, int, int]


class FolioCalls:
    """Part of `Cpu`: isolation, expected references, swap and the page cache."""

    __slots__ = ()

    if TYPE_CHECKING:
        entry: Entry
        kslot: KernelSlot
        memory: PhysicalMemory
        operation: str
        site: Site
        task: str

        def _do(
            self, name: str, step: Callable[..., R | Blocked], *arguments: object, detail: str = ""
        ) -> Awaitable[R]:
            """One trap of the operation at work."""
            ...

        async def _change(self, name: str, step: Callable[..., Pte], *arguments: object) -> Pte:
            """Change the entry between two phases."""
            ...

        async def phase(self, phase: Phase) -> None:
            """Announce a phase."""
            ...

        def at(self, location: int) -> Cpu:
            """The same CPU at another location."""
            ...

    @property
    def state(self) -> State:
        """How the location is mapped when an instance begins."""
        return self.kslot.kernel.program.locations[self.site.index].state

    def rmap(self) -> tuple[Cpu, ...]:
        """``rmap_walk()``: every place that may map this location's page, this one first.

        A fork's child and its parent share their pages; no other two locations do.
        """
        sites = self.kslot.slot.sites
        own = _eldest(self, self.site.index)
        family = [site.index for site in sites if _eldest(self, site.index) == own]
        family.sort(key=lambda place: place != self.site.index)
        return tuple(self.at(place) for place in family)

    # Flushes that come later

    @property
    def defers_flushes(self) -> bool:
        """Whether an operation of the scenario says that its flush is pending."""
        return self.kslot.kernel.defers_flushes

    def inc_tlb_flush_pending(self) -> Awaitable[None]:
        """``inc_tlb_flush_pending()``."""
        return self._do(
            "inc_tlb_flush_pending", locks.add_pending, self.kslot.index, self.site.mm, 1
        )

    def dec_tlb_flush_pending(self) -> Awaitable[None]:
        """``dec_tlb_flush_pending()``."""
        return self._do(
            "dec_tlb_flush_pending", locks.add_pending, self.kslot.index, self.site.mm, -1
        )

    def mm_tlb_flush_pending(self) -> Awaitable[bool]:
        """``mm_tlb_flush_pending()``: whether entries were changed and their flush is to come."""
        return self._do("mm_tlb_flush_pending", locks.is_pending, self.kslot.index, self.site.mm)

    @property
    def refuses_holes(self) -> bool:
        """Whether userfaultfd refuses faults where nothing is mapped (UFFD_FEATURE_SIGBUS)."""
        word = self.site.word
        return self.kslot.kernel.moves_by_uffd and any(
            site.word == word and site.index != word for site in self.kslot.slot.sites
        )

    @property
    def frees_lazily(self) -> bool:
        """Whether the scenario has MADV_FREE."""
        return self.kslot.kernel.frees_lazily

    # Isolation

    def folio_isolate_lru(self) -> Awaitable[Pte]:
        """Take the mapped page: its lock and a reference; gives the entry, or none."""
        return self._do(
            "folio_isolate_lru", folio.folio_isolate_lru, self.memory, self.entry, self.task
        )

    def gup_fast(self) -> Awaitable[Pte]:
        """``gup_fast()``: hold the page to write to it; gives the entry, or none."""
        return self._do("gup_fast", folio.gup_fast, self.entry)

    def folio_lock(self, pfn: int) -> Awaitable[None]:
        """``folio_lock()``."""
        return self._do("folio_lock", folio.folio_lock, pfn, self.task)

    def folio_unlock(self, pfn: int) -> Awaitable[None]:
        """``folio_unlock()``."""
        return self._do("folio_unlock", folio.folio_unlock, pfn, self.task)

    def folio_ref_freeze(self, pfn: int, expected: int) -> Awaitable[bool]:
        """``folio_ref_freeze()``: False when the page has a holder not expected (a pin)."""
        return self._do("folio_ref_freeze", folio.folio_ref_freeze, pfn, expected)

    # Entries that map nothing

    async def set_pte_nonpresent(self, pte: Pte) -> None:
        """``set_pte_at()`` of a swap, migration or device entry."""
        await self._do("set_pte_at", page_table.set_pte_nonpresent, self.entry, self.task, pte)
        await self.phase(Phase.AFTER_SET)

    def replace_nonpresent(self, pte: Pte) -> Awaitable[None]:
        """``set_pte_at()`` of one non-present entry over another: nobody could have used it."""
        return self._do("set_pte_at", page_table.replace_nonpresent, self.entry, self.task, pte)

    def restore_accessible(self, pte: Pte) -> Awaitable[None]:
        """``ptep_modify_prot_commit()`` that makes an inaccessible entry present again."""
        return self._do(
            "ptep_modify_prot_commit",
            page_table.set_pte_at,
            self.memory,
            self.kslot.slot,
            self.site,
            self.entry,
            self.task,
            pte,
        )

    def ptep_clear_protnone(self) -> Awaitable[Pte]:
        """``ptep_get_and_clear()`` of an inaccessible entry: no flush goes with it."""
        return self._do("ptep_get_and_clear", page_table.ptep_get_and_clear, self.entry, self.task)

    async def ptep_get_and_clear_deferred(self) -> Pte:
        """``ptep_get_and_clear()`` of a page that stays whole; who calls it flushes later."""
        return await self._change("ptep_get_and_clear", page_table.ptep_get_and_clear)

    def zap_nonpresent(self) -> Awaitable[Pte]:
        """``pte_clear()`` of a zap: what the entry stood for is gone, and a new epoch begins."""
        return self._do(
            "pte_clear",
            page_table.ptep_clear_for_good,
            self.entry,
            self.task,
            self.site.epoch,
        )

    def migration_entry_wait(self, pte: Pte) -> Awaitable[None]:
        """``migration_entry_wait()``: guard until the entry is another."""
        slot = self.kslot.slot
        return self._do("migration_entry_wait", page_table.pte_differs, slot, self.entry, pte)

    # Swap

    def folio_alloc_swap(self, pfn: int) -> Awaitable[int]:
        """``folio_alloc_swap()``: gives the slot, in whose cache the page now is."""
        return self._do("folio_alloc_swap", folio.folio_alloc_swap, self.kslot.index, pfn)

    def swap_duplicate(self, frame: int) -> Awaitable[None]:
        """``swap_duplicate()``: an entry is about to name the slot."""
        return self._do("swap_duplicate", folio.swap_duplicate, frame)

    def swap_free(self, frame: int) -> Awaitable[bool]:
        """``swap_free()``: an entry does not name the slot any more; True for the last."""
        return self._do("swap_free", folio.swap_free, frame)

    def swap_cache_get_folio(self, frame: int) -> Awaitable[int | None]:
        """``swap_cache_get_folio()``: the page that caches the slot, with a reference."""
        return self._do("swap_cache_get_folio", folio.swap_cache_get_folio, frame)

    def folio_matches_swap_entry(self, frame: int, pfn: int) -> Awaitable[bool]:
        """``folio_matches_swap_entry()``: whether the page still caches the slot."""
        return self._do("folio_matches_swap_entry", folio.is_cached, ("swap_cache", frame), pfn)

    def folio_free_swap(self, frame: int, pfn: int) -> Awaitable[bool]:
        """``folio_free_swap()``: drop the slot that no entry names."""
        kslot = self.kslot
        return self._do(
            "folio_free_swap",
            folio.folio_free_swap,
            self.memory,
            kslot.index,
            frame,
            pfn,
            kslot.kernel.lifo,
        )

    # Aging

    async def ptep_test_and_clear_young(self) -> bool:
        """``ptep_test_and_clear_young()``; its flush is the architecture's affair."""
        await self.phase(Phase.BEFORE_CLEAR)
        young = await self._do(
            "ptep_test_and_clear_young",
            page_table.ptep_test_and_clear_young,
            self.entry,
            self.task,
        )
        await self.phase(Phase.CLEAR_FLUSH)
        return young

    # Pages that may be thrown away

    async def clear_young_dirty_ptes(self) -> Pte:
        """``clear_young_dirty_ptes()``: the page counts as neither used nor written any more."""
        old = await self._change("clear_young_dirty_ptes", page_table.clear_young_dirty_ptes)
        await self.phase(Phase.AFTER_SET)
        return old

    def folio_mark_lazyfree(self, pfn: int) -> Awaitable[None]:
        """``folio_mark_lazyfree()``."""
        return self._do("folio_mark_lazyfree", folio.folio_mark_lazyfree, pfn)

    def folio_test_lazyfree(self, pfn: int) -> Awaitable[bool]:
        """Whether reclaim may throw the page away."""
        return self._do("", folio.folio_test_lazyfree, pfn)

    def folio_set_swapbacked(self, pfn: int) -> Awaitable[None]:
        """``folio_set_swapbacked()``: the page is kept."""
        return self._do(
            "folio_set_swapbacked", folio.folio_set_swapbacked, pfn, self.kslot.index, self.site
        )

    def ptep_clear_lazyfree(self) -> Awaitable[Pte]:
        """``ptep_clear_flush()`` of a page that may be thrown away."""
        return self._change(
            "ptep_clear_flush", folio.ptep_clear_lazyfree, self.kslot.index, self.site
        )

    async def note_lazyfree(self) -> None:
        """Note what may be lost from now on."""
        await self._do("", folio.note_lazyfree, self.kslot.index, self.site)

    # A device that has a page to itself

    def set_pte_permitted(self, pte: Pte) -> Awaitable[None]:
        """``set_pte_at()`` that lets accesses through again which were ruled out."""
        return self._do(
            "set_pte_at",
            returning.set_pte_permitted,
            self.memory,
            self.kslot.slot,
            self.site,
            self.entry,
            self.task,
            pte,
        )

    def exclusive_return(self) -> Awaitable[None]:
        """``make_device_exclusive()`` returns: nobody else has access, unless a fault was first."""
        return self._do("return", returning.exclusive_return, self.site, self.entry, self.operation)

    # The kernel's own stores

    def copy_to_page(self, pfn: int) -> Awaitable[None]:
        """``copy_to_page()``: write a breakpoint into a page that is mapped."""
        return self._do(
            "copy_to_page",
            probes.copy_to_mapped_page,
            self.memory,
            self.kslot.slot,
            self.site,
            pfn,
        )

    def copy_to_new_page(self, pfn: int) -> Awaitable[int]:
        """``copy_to_page()`` of a page that nobody sees yet; gives epoch and version."""
        return self._do(
            "copy_to_page", probes.copy_to_page, self.memory, self.kslot.slot, self.site, pfn
        )

    async def set_pte_published(self, pte: Pte, order: int) -> None:
        """``set_pte_at()``, with which the store of `copy_to_new_page` has ended."""
        await self._do(
            "set_pte_at",
            probes.set_pte_published,
            self.memory,
            self.kslot.slot,
            self.site,
            self.entry,
            self.task,
            pte,
            order,
        )
        await self.phase(Phase.AFTER_SET)

    # Contents

    def folio_copy(self, name: str, new: int, old: int) -> Awaitable[None]:
        """Copy a page under a kernel function's name; the copy carries the version."""
        return self._do(name, page_alloc.copy_user_page, self.memory, new, old)

    def copy_page_to_iter(self, pfn: int) -> Awaitable[None]:
        """``copy_page_to_iter()``: copy the page for a reader outside."""
        return self._do(
            "copy_page_to_iter",
            folio.copy_to_reader,
            self.memory,
            self.kslot.index,
            self.site.index,
            self.entry,
            pfn,
        )

    # The page cache

    async def disk_block(self) -> int:
        """The frame that stands for the location's block on disk."""
        return await self._do("", folio.frame_behind, State.FILE, self.kslot.index, self.site.index)

    def filemap_get_folio(self) -> Awaitable[int | None]:
        """``filemap_get_folio()``: the page that caches the location, with a reference."""
        return self._do(
            "filemap_get_folio", folio.filemap_get_folio, self.kslot.index, self.site.index
        )

    def filemap_add_folio(self, pfn: int) -> Awaitable[bool]:
        """``filemap_add_folio()``: False when another page caches the location already."""
        return self._do(
            "filemap_add_folio", folio.filemap_add_folio, self.kslot.index, self.site.index, pfn
        )

    def folio_is_mapping(self, pfn: int) -> Awaitable[bool]:
        """Whether the page still caches the location, now that its lock is held."""
        return self._do("folio_mapping", folio.is_cached, self.page_cache, pfn)

    def folio_mark_dirty(self, pfn: int) -> Awaitable[None]:
        """``folio_mark_dirty()``: the page is newer than its file."""
        return self._do("folio_mark_dirty", folio.folio_mark_dirty, pfn)

    def folio_test_clear_dirty(self, pfn: int) -> Awaitable[bool]:
        """``folio_test_clear_dirty()``: whether it was dirty."""
        return self._do("folio_test_clear_dirty", folio.folio_test_clear_dirty, pfn)

    def remove_mapping(
        self, pfn: int, cache: SwapCache | PageCache, expected: int
    ) -> Awaitable[bool]:
        """``__remove_mapping()``: out of its cache, unless somebody has it or it is dirty."""
        return self._do("remove_mapping", folio.remove_mapping, pfn, cache, expected)

    @property
    def page_cache(self) -> PageCache:
        """The cell that says which page caches the location."""
        return ("page_cache", self.kslot.index, self.site.index)


def _eldest(cpu: FolioCalls, place: int) -> int:
    """Where a line of forks begins."""
    sites = cpu.kslot.slot.sites
    while sites[place].parent >= 0:
        place = sites[place].parent
    return place
