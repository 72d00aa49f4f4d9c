"""A CPU running in the kernel: the primitives that operations are written in.

Each method is one trap, named as the kernel's function. `Cpu.phase` is where the discipline comes
in; nothing else in an operation knows of notification.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from shootdown_daemon.machine import flush_queue, locks, page_alloc, page_table, returning, vma_lock
from shootdown_daemon.machine.cpu_folios import FolioCalls
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.mirror import Young
from shootdown_daemon.machine.phases import Binding, InvalidateRange, Phase
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked, Request, ask, trap
from shootdown_protocol.layout import owner_of
from shootdown_protocol.memory import PAGE_SIZE, Pte, make_pte, pte_pfn
from shootdown_protocol.program import MIRROR_OPERATION

R = TypeVar("R")


class Cpu(FolioCalls):
    """One task of the kernel at work on one location, inside one operation.

    ``task`` owns the locks taken, ``cpu`` numbers the free list, ``from_buddy`` makes allocations
    take what was freed last. Operations are given a `Cpu` and nothing else.
    """

    __slots__ = (
        "binding",
        "cpu",
        "entry",
        "from_buddy",
        "kslot",
        "memory",
        "operation",
        "reach",
        "site",
        "task",
    )

    def __init__(
        self, kslot: KernelSlot, task: str, cpu: int, location: int, *, from_buddy: bool = False
    ) -> None:
        """Stand at a location, outside any operation."""
        self.kslot = kslot
        self.memory = kslot.kernel.memory
        self.task = task
        self.cpu = cpu
        self.site = kslot.slot.sites[location]
        self.entry = kslot.entries[location]
        self.from_buddy = from_buddy
        self.operation = ""
        self.reach = PAGE_SIZE
        self.binding: Binding = {}

    def within(self, operation: str, phases: tuple[Phase, ...]) -> Cpu:
        """The same CPU inside an operation, with the notification bound to it."""
        cpu = self.at(self.site.index)
        cpu.operation = operation
        cpu.binding = self.kslot.kernel.binding(operation, phases)
        return cpu

    async def call(
        self, operation: tuple[str, tuple[Phase, ...]], run: Callable[[Cpu], Awaitable[None]]
    ) -> None:
        """Run an operation inside another one, or what a mutant has in its place."""
        mutated = self.kslot.kernel.mutant.operation(operation[0])
        if mutated is None:
            await run(self.within(*operation))
        else:
            await mutated.run(self.within(mutated.name, mutated.phases))

    def in_mirror(self) -> Cpu:
        """The same CPU as the thread of a mirror: its steps are the mirror's."""
        cpu = self.at(self.site.index)
        cpu.operation = MIRROR_OPERATION
        return cpu

    def at(self, location: int) -> Cpu:
        """The same CPU and operation at another location."""
        cpu = Cpu(self.kslot, self.task, self.cpu, location, from_buddy=self.from_buddy)
        cpu.operation = self.operation
        cpu.binding = self.binding
        cpu.reach = self.reach
        return cpu

    def reaching(self, size: int) -> Cpu:
        """The same CPU and operation, at work on the aligned ``size`` bytes around the location."""
        cpu = self.at(self.site.index)
        cpu.reach = size
        return cpu

    @property
    def zero_pfn(self) -> int:
        """The shared zero page."""
        return self.memory.zero_pfn

    def _do(
        self, name: str, step: Callable[..., R | Blocked], *arguments: object, detail: str = ""
    ) -> Awaitable[R]:
        return ask(Request(name, step, arguments, self.operation, self.site.index, detail))

    def step(self, name: str, step: Callable[..., R | Blocked], *arguments: object) -> Awaitable[R]:
        """One step that is no primitive of an operation, such as a driver's."""
        return self._do(name, step, *arguments)

    # Notification

    async def phase(self, phase: Phase) -> None:
        """Announce a phase: the discipline's hooks for it run here."""
        for hook in self.binding.get(phase, ()):
            await hook(self, self.span)

    @property
    def span(self) -> InvalidateRange:
        """The page of this location, or the larger stretch at work on, as a range to invalidate."""
        va = self.site.va & -self.reach
        return InvalidateRange(self.site.pasid, va, va + self.reach, self.site.index)

    async def arch_invalidate_secondary_tlbs(self, span: InvalidateRange) -> None:
        """``mmu_notifier_arch_invalidate_secondary_tlbs()``: notify all members and wait."""
        await self.kslot.kernel.driver.invalidate(self, span)

    async def flush_tlb(self) -> None:
        """``flush_tlb_mm_range()`` by somebody who needs another's pending flush now."""
        primary = self.kslot.kernel.cpu_tlb
        if primary is not None:
            await primary.flush(self, self.span)
        await self.arch_invalidate_secondary_tlbs(self.span)

    async def queue_invalidate(self, span: InvalidateRange) -> None:
        """Notify all members and do not wait for their completions."""
        await self.kslot.kernel.driver.post(self, span)

    async def queue_iova(self, span: InvalidateRange) -> None:
        """``queue_iova()``: leave the notification to the slot's flush queue."""
        await self._do("queue_iova", flush_queue.queue_iova, self.kslot.index, span)

    async def invalidate_range_start(self) -> None:
        """``mmu_notifier_invalidate_range_start()``."""
        await self._range_starts(blockable=True)
        await self.phase(Phase.RANGE_START)

    async def invalidate_range_start_nonblock(self) -> bool:
        """``mmu_notifier_invalidate_range_start_nonblock()``: False where a subscriber refuses.

        A mirror refuses whose lock is held. Its devices' TLBs need no sleep, so they never do.
        """
        if not await self._range_starts(blockable=False):
            return False
        await self.phase(Phase.RANGE_START)
        return True

    async def _range_starts(self, *, blockable: bool) -> bool:
        kernel = self.kslot.kernel
        if kernel.mirror is None:
            await self._do("invalidate_range_start", _nothing)
        elif not await kernel.mirror.range_start(self, blockable=blockable):
            return False
        await kernel.driver.range_start(self)
        return True

    async def invalidate_range_end(self) -> None:
        """``mmu_notifier_invalidate_range_end()``."""
        subscriber = self.kslot.kernel.mirror
        if subscriber is None:
            await self._do("invalidate_range_end", _nothing)
        else:
            await subscriber.range_end(self)
        await self.phase(Phase.RANGE_END)

    async def mmu_notifier_young(self, call: Young) -> bool:
        """``mmu_notifier_clear_flush_young()`` and its kin: whether a secondary MMU used the page.

        Called under the page table lock, so that a subscriber may not sleep.
        """
        subscriber = self.kslot.kernel.mirror
        return subscriber is not None and await subscriber.young(self, call)

    # Locks

    def mmap_read_lock(self) -> Awaitable[None]:
        """``mmap_read_lock()``."""
        return self._do(
            "mmap_read_lock", locks.mmap_read_lock, self.kslot.index, self.site.mm, self.cpu
        )

    def mmap_read_unlock(self) -> Awaitable[None]:
        """``mmap_read_unlock()``."""
        return self._do(
            "mmap_read_unlock", locks.mmap_read_unlock, self.kslot.index, self.site.mm, self.cpu
        )

    async def mmap_write_lock(self, *, vma: bool = True) -> None:
        """``mmap_write_lock()``, and ``vma_start_write()`` of the mappings at work on.

        Without ``vma`` those are left to faults, where there are per-VMA locks.
        """
        cpus = self.kslot.kernel.cpus
        await self._do(
            "mmap_write_lock",
            locks.mmap_write_lock,
            self.kslot.index,
            self.site.mm,
            cpus,
            self.task,
        )
        if vma and self.kslot.kernel.vma_locks:
            await self._do(
                "vma_start_write",
                vma_lock.start_write,
                self.kslot.index,
                self._mappings(self.span),
                cpus,
                self.task,
            )

    async def mmap_write_unlock(self) -> None:
        """``mmap_write_unlock()``, and before it ``vma_end_write_all()``."""
        if self.kslot.kernel.vma_locks:
            await self._do(
                "vma_end_write_all",
                vma_lock.end_write_all,
                self.kslot.index,
                tuple(range(len(self.kslot.slot.sites))),
                self.task,
            )
        await self._do(
            "mmap_write_unlock",
            locks.mmap_write_unlock,
            self.kslot.index,
            self.site.mm,
            self.task,
        )

    def _mappings(self, span: InvalidateRange) -> tuple[int, ...]:
        sites = self.kslot.slot.sites
        return tuple(
            site.index
            for site in sites
            if site.mm == self.site.mm and span.start <= site.va < span.end
        )

    def lock_vma_under_rcu(self) -> Awaitable[None]:
        """``lock_vma_under_rcu()`` of a fault; ``mmap_lock`` where there are no per-VMA locks."""
        if not self.kslot.kernel.vma_locks:
            return self.mmap_read_lock()
        return self._do(
            "lock_vma_under_rcu",
            vma_lock.start_read,
            self.kslot.index,
            self.site.index,
            self.cpu,
        )

    def vma_end_read(self) -> Awaitable[None]:
        """Drop what `lock_vma_under_rcu` took."""
        if not self.kslot.kernel.vma_locks:
            return self.mmap_read_unlock()
        return self._do(
            "vma_end_read", vma_lock.end_read, self.kslot.index, self.site.index, self.cpu
        )

    def mmap_change_lock(self) -> Awaitable[None]:
        """``mmap_lock`` as an operation holds it that only takes permissions.

        For writing, so that no fault runs beside it; for reading where the scenario says so, as
        ``uffd_wp_range()`` and NUMA hinting hold it.
        """
        return self.mmap_read_lock() if self.lets_faults_in else self.mmap_write_lock()

    def mmap_change_unlock(self) -> Awaitable[None]:
        """Drop what `mmap_change_lock` took."""
        return self.mmap_read_unlock() if self.lets_faults_in else self.mmap_write_unlock()

    @property
    def lets_faults_in(self) -> bool:
        """Whether operations that only take permissions let faults run beside them."""
        return self.kslot.kernel.lets_faults_in

    def pte_offset_map_lock(self) -> Awaitable[Pte]:
        """``pte_offset_map_lock()``: take the page table lock and give the entry."""
        return self._do(
            "pte_offset_map_lock", page_table.pte_offset_map_lock, self.entry, self.task
        )

    async def pte_offset_map_lock_kept(self) -> tuple[Cpu, Pte]:
        """`pte_offset_map_lock` by who goes on at the entry, wherever its table is moved meanwhile.

        Gives the CPU that does. The lock goes along with a table that is moved.
        """
        if not self.kslot.kernel.moves_tables:
            return self, await self.pte_offset_map_lock()
        pte, word = await self._do(
            "pte_offset_map_lock", page_table.pte_offset_map_lock_at, self.entry, self.task
        )
        kept = self.at(self.site.index)
        if word is not None:
            kept.entry = page_table.Entry(word, self.entry.lock)
        return kept, pte

    async def pte_unmap_unlock(self) -> None:
        """``pte_unmap_unlock()``, announced as a phase."""
        await self.spin_unlock()
        await self.phase(Phase.AFTER_UNLOCK)

    def spin_unlock(self) -> Awaitable[None]:
        """``pte_unmap_unlock()`` where nothing was changed: no phase."""
        return self._do("pte_unmap_unlock", locks.unlock_ptl, self.entry.lock, self.task)

    # Entries

    def ptep_get_lockless(self) -> Awaitable[Pte]:
        """``ptep_get_lockless()``: read the entry without the lock."""
        return self._do("ptep_get_lockless", page_table.ptep_get_lockless, self.entry)

    async def _change(self, name: str, step: Callable[..., Pte], *arguments: object) -> Pte:
        await self.phase(Phase.BEFORE_CLEAR)
        old = await self._do(name, step, self.entry, self.task, *arguments)
        await self.phase(Phase.CLEAR_FLUSH)
        return old

    def ptep_clear_flush(self) -> Awaitable[Pte]:
        """``ptep_clear_flush()``: clear the entry; its flush notifies, by discipline."""
        return self._change("ptep_clear_flush", page_table.ptep_get_and_clear)

    def ptep_modify_prot_start(self) -> Awaitable[Pte]:
        """``ptep_modify_prot_start()``: clear the entry until the new protection is set."""
        return self._change("ptep_modify_prot_start", page_table.ptep_get_and_clear)

    def ptep_get_and_clear(self) -> Awaitable[Pte]:
        """``ptep_get_and_clear()`` of a zap: what was mapped is gone, and a new epoch begins."""
        return self._change("ptep_get_and_clear", page_table.ptep_clear_for_good, self.site.epoch)

    def ptep_get_and_clear_full(self) -> Awaitable[Pte]:
        """``ptep_get_and_clear_full()``: the same where nobody uses the address space: no phase."""
        return self._do(
            "ptep_get_and_clear_full",
            page_table.ptep_clear_for_good,
            self.entry,
            self.task,
            self.site.epoch,
        )

    def ptep_set_wrprotect(self) -> Awaitable[Pte]:
        """``ptep_set_wrprotect()``."""
        return self._change("ptep_set_wrprotect", page_table.ptep_set_wrprotect)

    def _set(
        self, name: str, pte: Pte, step: Callable[..., None] = page_table.set_pte_at
    ) -> Awaitable[None]:
        return self._do(
            name,
            step,
            self.memory,
            self.kslot.slot,
            self.site,
            self.entry,
            self.task,
            pte,
            detail=f"frame {pte_pfn(pte):#x}",
        )

    async def set_pte_at(self, pte: Pte, operating: Cpu | None = None) -> None:
        """``set_pte_at()``: fill the clear entry.

        ``operating`` is where the operation is at work, if that is not this location.
        """
        await self._set("set_pte_at", pte)
        await (operating or self).phase(Phase.AFTER_SET)

    async def set_pte_zeroed(self, pte: Pte) -> None:
        """``set_pte_at()`` of a page of zeroes."""
        await self._set("set_pte_at", pte, page_table.set_pte_zeroed)
        await self.phase(Phase.AFTER_SET)

    async def ptep_modify_prot_commit(self, pte: Pte) -> None:
        """``ptep_modify_prot_commit()``: set the entry with its new protection."""
        await self._set("ptep_modify_prot_commit", pte)
        await self.phase(Phase.AFTER_SET)

    async def ptep_set_access_flags(self) -> None:
        """``ptep_set_access_flags()``: let stores through."""
        await self._do(
            "ptep_set_access_flags",
            page_table.ptep_set_access_flags,
            self.memory,
            self.kslot.slot,
            self.site,
            self.entry,
            self.task,
        )
        await self.phase(Phase.AFTER_SET)

    async def mk_pte(self, pfn: int, *, writable: bool) -> Pte:
        """``mk_pte()``: an entry for a frame of this location, with the frame's generation."""
        generation = await trap("", page_table.entry_generation, self.memory, self.site, pfn)
        return make_pte(pfn, writable=writable, dirty=writable, generation=generation)

    # Pages

    def alloc_page(self) -> Awaitable[int]:
        """``alloc_page()``: gives the frame's page number."""
        return self._do(
            "alloc_page",
            page_alloc.alloc_page,
            self.memory,
            self.kslot.index,
            self.cpu,
            owner_of(self.kslot.slot.instance, self.site.index),
            self.from_buddy,
        )

    def copy_user_page(self, new: int, old: int) -> Awaitable[None]:
        """``copy_user_highpage()``: the copy carries the version."""
        return self._do("copy_user_page", page_alloc.copy_user_page, self.memory, new, old)

    def clear_user_page(self, new: int) -> Awaitable[None]:
        """``clear_user_highpage()``: version 0 of the present epoch."""
        return self._do(
            "clear_user_page",
            page_alloc.clear_user_page,
            self.memory,
            self.kslot.slot,
            self.site,
            new,
        )

    def get_page(self, pfn: int) -> Awaitable[None]:
        """``get_page()``."""
        return self._do("get_page", page_alloc.get_page, pfn)

    def wp_can_reuse_anon_folio(self, pfn: int) -> Awaitable[bool]:
        """``wp_can_reuse_anon_folio()``: whether a write fault may keep the page."""
        return self._do("wp_can_reuse_anon_folio", page_alloc.wp_can_reuse_anon_folio, pfn)

    def put_page(self, pfn: int, references: int = 1) -> Awaitable[bool]:
        """``put_page()``: dropping the last reference frees the frame."""
        kernel = self.kslot.kernel
        return self._do(
            "put_page",
            page_alloc.put_page,
            self.memory,
            self.kslot.index,
            pfn,
            references,
            kernel.lifo,
            detail=f"frame {pfn:#x}",
        )

    def get_ksm_page(self) -> Awaitable[int]:
        """``get_ksm_page()``: the page of the same content that is to replace this one's."""
        return self._do("get_ksm_page", page_alloc.get_ksm_page, self.kslot.index, self.site.index)

    def pages_identical(self, page: int, other: int) -> Awaitable[bool]:
        """``pages_identical()``: compare two pages' words of this location."""
        return self._do(
            "pages_identical",
            page_alloc.pages_identical,
            self.memory,
            self.site.word_offset,
            page,
            other,
        )

    # Address space

    def vma_lookup(self) -> Awaitable[int]:
        """``vma_lookup()``: permissions of the mapping (`board.READ`, `WRITE`), 0 for none."""
        return self._do("vma_lookup", returning.vma_lookup, self.kslot.index, self.site.index)

    def vm_flags_reset(self, permissions: int) -> Awaitable[None]:
        """``vm_flags_reset()``: change the mapping's permissions; 0 removes it."""
        return self._do(
            "vm_flags_reset",
            returning.vm_flags_reset,
            self.kslot.index,
            self.site.index,
            permissions,
        )

    def op_return(
        self, *, new_epoch: bool = False, permissions: int | None = None
    ) -> Awaitable[None]:
        """The operation returns: accesses begun from now on obey the new limit.

        ``new_epoch``: nothing older than the present epoch may be met; ``permissions`` None
        leaves them as they are.
        """
        return self._do(
            "return", returning.op_return, self.site, self.operation, new_epoch, permissions
        )

    def fork_return(self, child: int) -> Awaitable[None]:
        """``copy_page_range()`` returns: the child starts at the version resident now."""
        return self._do(
            "return",
            returning.fork_return,
            self.memory,
            self.kslot.slot,
            self.site,
            self.kslot.slot.sites[child],
            self.kslot.entries[child],
            self.operation,
        )


def _nothing(_store: Store) -> None:
    """Be a place where another task may run."""
