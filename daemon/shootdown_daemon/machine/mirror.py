"""Software mirrors of a page table, in HMM's and in KVM's style: the second kind of subscriber.

A mirror keeps a page table of its own, filled by walks of the CPU's. It is told when a range begins
and ends to be invalid and never in between; a sequence tells whether a walk's result may still be
used. `Mirror` is ``mmu_interval_notifier`` with ``hmm_range_fault()``, `KvmMirror` is KVM's scheme.
A faulty one is a subclass that overrides what differs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from shootdown_engine.access import Intent, Target, begin, take_effect
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.history import Kind, Step
from shootdown_protocol.memory import (
    Pte,
    hardware_bits,
    pte_generation,
    pte_pfn,
    pte_present,
    pte_write,
)
from shootdown_protocol.program import MIRROR_DROPPED, MIRROR_OPERATION, Op, Program

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_daemon.machine.kernel import KernelSlot
    from shootdown_engine.slot import Site
    from shootdown_engine.store import Store

Resolve = Callable[["Cpu", bool], Awaitable[bool]]
"""Handles a CPU page fault, for writing or not; False: it can never succeed."""

FIRST_SEQ: Final = 2
"""``invalidate_seq`` of an address space at first; it is odd while a range is invalid."""
REGISTER: Final = "mmu_notifier_register"
REMOVE: Final = "mmu_interval_notifier_remove"


class Outcome(Enum):
    """How one attempt at an access through a mirror ended."""

    DONE = 0
    AGAIN = 1
    DENIED = 2


class Young(StrEnum):
    """The callbacks of aging, by what the subscriber does with its own accessed bit."""

    CLEAR_FLUSH = "clear_flush_young"
    CLEAR = "clear_young"
    TEST = "test_young"


AGING: Final = frozenset(
    ("damon_folio_young_one", "folio_referenced_one", "page_idle_clear_pte_refs_one")
)
"""Operations that ask whether a page was used."""


def mirrored(program: Program) -> frozenset[int]:
    """Locations that a mirror column accesses: each is a subscription of its own."""
    return frozenset(
        line.location
        for column in program.columns
        if column.is_mirror
        for line in column.instructions
        if line.op in (Op.LOAD, Op.STORE, Op.PREFETCH)
    )


def comes_and_goes(program: Program) -> bool:
    """Whether a column registers a subscriber, or removes one."""
    return any(
        line.operation in (REGISTER, REMOVE)
        for column in program.columns
        for line in column.instructions
    )


def registered_later(program: Program) -> frozenset[int]:
    """Address spaces whose subscriber is not there before a column registers it."""
    return frozenset(
        program.locations[line.location].mm
        for column in program.columns
        for line in column.instructions
        if line.op is Op.RUN and line.operation == REGISTER
    )


class Mirror:
    """A mirror by ``mmu_interval_notifier`` and ``hmm_range_fault()``. All state is in cells.

    Cells: ``("mn", slot, mm)`` the address space's sequence and how many ranges are invalid;
    ``("mi", slot, location)`` a subscription's sequence; ``("spt", slot, location)`` the mirror's
    own entry; ``("mirror_lock", slot)`` the lock of its user; ``("spt_young", slot, location)``
    whether the mirror used its entry, where an operation of the program asks. Where subscribers
    come and go, ``("mi_unsubscribed", slot, location)`` is set of one that is not told, and
    ``("mi_unlisted", slot, location)`` of one whose user does not find it any more.
    """

    def __init__(self, program: Program) -> None:
        """Subscribe for each location that mirror columns access."""
        self.locations = mirrored(program)
        self.comes_and_goes = comes_and_goes(program)
        self.is_asked = any(
            line.operation in AGING for column in program.columns for line in column.instructions
        )

    def reset(self, store: Store, kslot: KernelSlot) -> None:
        """Begin with nothing mapped and no range invalid."""
        slot = kslot.index
        store.put(lock_cell(slot), None)
        for mm in range(len(kslot.slot.pasids)):
            store.put(mm_cell(slot, mm), None)
        for location in self.locations:
            store.put(seq_cell(slot, location), None)
            store.put(spt_cell(slot, location), None)
            if self.comes_and_goes:
                program = kslot.kernel.program
                later = program.locations[location].mm in registered_later(program)
                store.put(unsubscribed_cell(slot, location), later or None)
                store.put(unlisted_cell(slot, location), None)
            if self.is_asked:
                store.put(young_cell(slot, location), None)

    # Accesses

    async def access(self, cpu: Cpu, intent: Intent, resolve: Resolve) -> Outcome:
        """Attempt an access: through the mirror's entry, else fault it in and try again."""
        if self.comes_and_goes and not await cpu.step("find_object", self.step_find, cpu):
            return Outcome.DENIED
        if await cpu.step("mirror_access", self.step_access, cpu, intent):
            return Outcome.DONE
        return await self.fault(cpu, resolve, write=intent.kind is Kind.STORE)

    async def fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Outcome:
        """Fill the mirror's entry: begin, walk, lock, check, map."""
        seq = await self.read_begin(cpu)
        pte = await self.range_fault(cpu, resolve, write=write)
        if not isinstance(pte, int):
            return pte
        await self.lock(cpu)
        if not await self.read_retry(cpu, seq):
            await cpu.step("mirror_map", self.step_map, cpu, pte)
        await self.unlock(cpu)
        return Outcome.AGAIN

    async def range_fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Pte | Outcome:
        """``hmm_range_fault()``: the CPU's entry, or that one has to begin again."""
        await cpu.mmap_read_lock()
        pte = await cpu.ptep_get_lockless()
        await cpu.mmap_read_unlock()
        if pte_present(pte) and (pte_write(pte) or not write):
            return pte
        return Outcome.AGAIN if await resolve(cpu, write) else Outcome.DENIED

    def read_begin(self, cpu: Cpu) -> Awaitable[int]:
        """``mmu_interval_read_begin()``: wait while the range is invalid; gives the sequence."""
        return cpu.step("mmu_interval_read_begin", self.step_read_begin, cpu)

    def read_retry(self, cpu: Cpu, seq: int) -> Awaitable[bool]:
        """``mmu_interval_read_retry()``: whether the range was invalid meanwhile."""
        return cpu.step("mmu_interval_read_retry", self.step_read_retry, cpu, seq)

    async def lock(self, cpu: Cpu) -> None:
        """Take the lock of the mirror's user."""
        await cpu.step("mirror_lock", self.step_lock, cpu.kslot.index, cpu.task)

    async def unlock(self, cpu: Cpu) -> None:
        """Drop it."""
        await cpu.step("mirror_unlock", self.step_unlock, cpu.kslot.index, cpu.task)

    # Notification

    async def range_start(self, cpu: Cpu, *, blockable: bool) -> bool:
        """``invalidate_range_start()``: False when a range that must not sleep was refused."""
        places = tuple(site.index for site in self.overlapping(cpu))
        seq, hit = await cpu.step("invalidate_range_start", self.step_start_of, cpu, places)
        for place in hit:
            site = cpu.kslot.slot.sites[place]
            if not await self.invalidate(cpu, site, seq, blockable=blockable):
                await cpu.step("invalidate_range_end", self.step_end, cpu)
                return False
        return True

    async def range_end(self, cpu: Cpu) -> None:
        """``invalidate_range_end()``."""
        await cpu.step("invalidate_range_end", self.step_end, cpu)

    async def young(self, cpu: Cpu, call: Young) -> bool:  # noqa: ARG002 - KVM's scheme uses them
        """An interval notifier has no callback for aging: it is not asked."""
        return False

    def overlapping(self, cpu: Cpu) -> tuple[Site, ...]:
        """Subscriptions of the address space that the operation's range touches."""
        span = cpu.span
        return tuple(
            site
            for site in cpu.kslot.slot.sites
            if site.index in self.locations
            and site.mm == cpu.site.mm
            and span.start <= site.va < span.end
        )

    # Subscribers that come and go

    async def remove(self, cpu: Cpu) -> None:
        """Take an object out of use: nobody finds it any more, and then it is not told any more."""
        await self.unlist(cpu)
        await self.unsubscribe(cpu)

    async def unlist(self, cpu: Cpu) -> None:
        """Take the object from where it is looked up, and drop its entry, under the user's lock."""
        await self.lock(cpu)
        await cpu.step("unlist", self.step_unlist, cpu.kslot.index, cpu.site.index)
        await self.unlock(cpu)

    async def unsubscribe(self, cpu: Cpu) -> None:
        """``mmu_interval_notifier_remove()``: sleeps while a range is invalid."""
        await cpu.step("mmu_interval_notifier_remove", self.step_unsubscribe, cpu)

    async def invalidate(self, cpu: Cpu, site: Site, seq: int, *, blockable: bool) -> bool:
        """The subscription's callback: under its user's lock, note the sequence and drop."""
        slot = cpu.kslot.index
        if blockable:
            await cpu.step("mirror_lock", self.step_lock, slot, cpu.task)
        elif not await cpu.step("mirror_trylock", self.step_trylock, slot, cpu.task):
            return False
        await cpu.step("mirror_invalidate", self.step_invalidate, slot, site.index, seq)
        await cpu.step("mirror_unlock", self.step_unlock, slot, cpu.task)
        return True

    # Steps

    def step_access(self, store: Store, cpu: Cpu, intent: Intent) -> bool:
        """Go through the mirror's entry; False: it has none that permits this."""
        pte = mapped(store, cpu.kslot.index, cpu.site.index)
        if pte is None or (intent.kind is Kind.STORE and not pte_write(pte)):
            return False
        stale = hardware_bits(cpu.entry.read(store)) != hardware_bits(pte)
        target = Target(pte_pfn(pte), pte_generation(pte), hit=True, stale=stale)
        begun = begin(store, cpu.site)
        take_effect(store, cpu.memory, cpu.kslot.slot, intent, begun, target)
        if self.is_asked:
            store.put(young_cell(cpu.kslot.index, cpu.site.index), True)
        return True

    def step_map(self, store: Store, cpu: Cpu, pte: Pte) -> None:
        """Put an entry into the mirror's table, unless the object is out of use."""
        if self.comes_and_goes and not self.step_find(store, cpu):
            return
        store.put(spt_cell(cpu.kslot.index, cpu.site.index), pte)

    def step_read_begin(self, store: Store, cpu: Cpu) -> int | Blocked:
        """Guard: the subscription was not invalidated in a phase that goes on."""
        seq = subscription(store, cpu.kslot.index, cpu.site.index)
        return BLOCKED if seq == address_space(store, cpu)[0] else seq

    def step_read_retry(self, store: Store, cpu: Cpu, seq: int) -> bool:
        """Whether the subscription's sequence has moved."""
        return _noted(store, cpu, moved=subscription(store, cpu.kslot.index, cpu.site.index) != seq)

    def step_find(self, store: Store, cpu: Cpu) -> bool:
        """Whether the object of the location is in use."""
        return store.get(unlisted_cell(cpu.kslot.index, cpu.site.index)) is None

    def step_unlist(self, store: Store, slot: int, location: int) -> None:
        """Take the object out of use."""
        store.put(unlisted_cell(slot, location), True)
        drop(store, slot, location)

    def step_unsubscribe(self, store: Store, cpu: Cpu) -> Blocked | None:
        """Guard: no range of the address space is invalid."""
        seq, _ = address_space(store, cpu)
        if seq & 1:
            return BLOCKED
        store.put(unsubscribed_cell(cpu.kslot.index, cpu.site.index), True)
        return None

    def step_subscribe(self, store: Store, cpu: Cpu) -> None:
        """Tell the subscriber of the address space from now on."""
        for site in cpu.kslot.slot.sites:
            if site.index in self.locations and site.mm == cpu.site.mm:
                store.put(unsubscribed_cell(cpu.kslot.index, site.index), None)

    def subscribed(self, store: Store, slot: int, places: tuple[int, ...]) -> tuple[int, ...]:
        """Which of some locations are told."""
        if not self.comes_and_goes:
            return places
        return tuple(p for p in places if store.get(unsubscribed_cell(slot, p)) is None)

    def step_start_of(
        self, store: Store, cpu: Cpu, places: tuple[int, ...]
    ) -> tuple[int, tuple[int, ...]]:
        """Begin a range of some subscriptions; gives the sequence, and those to be told."""
        hit = self.subscribed(store, cpu.kslot.index, places)
        return self.step_start(store, cpu, bool(hit)), hit

    def step_start(self, store: Store, cpu: Cpu, hit: bool) -> int:
        """Count a range, and begin a phase if a subscription is hit; gives its sequence."""
        seq, active = address_space(store, cpu)
        seq |= hit
        store.put(mm_cell(cpu.kslot.index, cpu.site.mm), (seq, active + 1))
        return seq

    def step_end(self, store: Store, cpu: Cpu) -> None:
        """The last range to end ends the phase."""
        seq, active = address_space(store, cpu)
        assert active > 0, "a range ends that has not begun"
        ends = active == 1 and seq & 1
        store.put(mm_cell(cpu.kslot.index, cpu.site.mm), (seq + ends, active - 1))

    def step_invalidate(self, store: Store, slot: int, location: int, seq: int) -> None:
        """``mmu_interval_set_seq()``, and drop the entry."""
        store.put(seq_cell(slot, location), seq)
        drop(store, slot, location)

    def step_lock(self, store: Store, slot: int, owner: str) -> Blocked | None:
        """Guard: nobody holds the user's lock."""
        if store.get(lock_cell(slot)) is not None:
            return BLOCKED
        store.put(lock_cell(slot), owner)
        return None

    def step_trylock(self, store: Store, slot: int, owner: str) -> bool:
        """Take the user's lock if nobody holds it."""
        return self.step_lock(store, slot, owner) is None

    def step_unlock(self, store: Store, slot: int, owner: str) -> None:
        """Drop the user's lock."""
        assert store.get(lock_cell(slot)) == owner, f"{owner} drops a lock that it does not hold"
        store.put(lock_cell(slot), None)


class KvmMirror(Mirror):
    """KVM's scheme: ``mmu_invalidate_seq`` and ``mmu_invalidate_in_progress`` under ``mmu_lock``.

    A vCPU spins while a range is in progress: it begins its fault again and again. That is a wait.
    """

    async def range_end(self, cpu: Cpu) -> None:
        """``kvm_mmu_invalidate_end()``, for the address space's one memslot."""
        if await self._told(cpu):
            await self.lock(cpu)
            await cpu.step("invalidate_range_end", self.step_end, cpu)
            await self.unlock(cpu)
        else:
            await cpu.step("invalidate_range_end", self.step_nothing)

    async def range_start(self, cpu: Cpu, *, blockable: bool) -> bool:
        """``kvm_mmu_invalidate_begin()``: count, zap, and flush, under the lock."""
        hit = await self._told(cpu)
        if not hit:
            await cpu.step("invalidate_range_start", self.step_nothing)
            return True
        slot = cpu.kslot.index
        if blockable:
            await self.lock(cpu)
        elif not await cpu.step("mirror_trylock", self.step_trylock, slot, cpu.task):
            return False
        await cpu.step("invalidate_range_start", self.step_start, cpu, True)
        for site in hit:
            await cpu.step("mirror_invalidate", self.step_invalidate, slot, site.index, 0)
        await self.unlock(cpu)
        return True

    async def young(self, cpu: Cpu, call: Young) -> bool:
        """``kvm_mmu_notifier_clear_flush_young()`` and its kin, under ``mmu_lock``."""
        slot, used = cpu.kslot.index, False
        hit = self.overlapping(cpu)
        if hit:
            await self.lock(cpu)
            for site in hit:
                used |= await cpu.step(call.value, self.step_young, slot, site.index, call)
            await self.unlock(cpu)
        return used

    def step_young(self, store: Store, slot: int, location: int, call: Young) -> bool:
        """``kvm_age_gfn()``, ``kvm_test_age_gfn()``: whether a guest used the entry.

        It stays mapped: a guest marks it again at the next access, its TLB having been flushed.
        """
        used = store.get(young_cell(slot, location)) is not None
        if used and call is not Young.TEST:
            store.put(young_cell(slot, location), None)
        return used

    async def _told(self, cpu: Cpu) -> tuple[Site, ...]:
        """Who is on the list of subscribers as it is walked, at either end."""
        hit = self.overlapping(cpu)
        if not hit or not self.comes_and_goes:
            return hit
        places = tuple(site.index for site in hit)
        told = await cpu.step("mmu_notifier_list", self.subscribed, cpu.kslot.index, places)
        return tuple(site for site in hit if site.index in told)

    def step_nothing(self, _store: Store) -> None:
        """No memslot overlaps: no lock, no counter, at both ends."""

    def step_read_begin(self, store: Store, cpu: Cpu) -> int | Blocked:
        """Read ``mmu_invalidate_seq``. Guard: no range is in progress."""
        seq, in_progress = address_space(store, cpu)
        return BLOCKED if in_progress else seq

    def step_read_retry(self, store: Store, cpu: Cpu, seq: int) -> bool:
        """``mmu_invalidate_retry()``."""
        now, in_progress = address_space(store, cpu)
        return _noted(store, cpu, moved=bool(in_progress) or now != seq)

    def step_start(self, store: Store, cpu: Cpu, hit: bool) -> int:
        """``mmu_invalidate_in_progress++``."""
        assert hit
        seq, in_progress = address_space(store, cpu)
        store.put(mm_cell(cpu.kslot.index, cpu.site.mm), (seq, in_progress + 1))
        return seq

    def step_end(self, store: Store, cpu: Cpu) -> None:
        """``mmu_invalidate_seq++``, then ``mmu_invalidate_in_progress--``."""
        seq, in_progress = address_space(store, cpu)
        store.put(mm_cell(cpu.kslot.index, cpu.site.mm), (seq + 1, in_progress - 1))

    def step_invalidate(self, store: Store, slot: int, location: int, seq: int) -> None:
        """``kvm_unmap_gfn_range()``."""
        assert not seq
        drop(store, slot, location)


STYLES: Final[dict[str, type[Mirror]]] = {"hmm": Mirror, "kvm": KvmMirror}
"""By the option ``mirror`` of a program."""


def mapped(store: Store, slot: int, location: int) -> Pte | None:
    """The mirror's own entry of a location."""
    pte = store.get(spt_cell(slot, location))
    assert pte is None or isinstance(pte, int)
    return None if pte is None else Pte(pte)


def drop(store: Store, slot: int, location: int) -> None:
    """Give up the mirror's own entry of a location."""
    if mapped(store, slot, location) is not None:
        store.emit(Step(MIRROR_OPERATION, MIRROR_DROPPED, location, ""))
    store.put(spt_cell(slot, location), None)


def _noted(store: Store, cpu: Cpu, *, moved: bool) -> bool:
    if moved:
        store.emit(Step(MIRROR_OPERATION, MIRROR_DROPPED, cpu.site.index, ""))
    return moved


def subscription(store: Store, slot: int, location: int) -> int:
    """``interval_sub->invalidate_seq``: odd from the first on, and behind the address space's."""
    seq = store.get(seq_cell(slot, location)) or FIRST_SEQ - 1
    assert isinstance(seq, int)
    return seq


def address_space(store: Store, cpu: Cpu) -> tuple[int, int]:
    """Sequence of an address space and how many ranges of it are invalid."""
    held = store.get(mm_cell(cpu.kslot.index, cpu.site.mm)) or (FIRST_SEQ, 0)
    assert isinstance(held, tuple)
    seq, active = held
    return seq, active


def mm_cell(slot: int, mm: int) -> tuple[Hashable, ...]:
    """Cell of an address space's sequence and count."""
    return ("mn", slot, mm)


def seq_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell of a subscription's sequence."""
    return ("mi", slot, location)


def spt_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell of a mirror's own entry."""
    return ("spt", slot, location)


def unsubscribed_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell that is set while a location's subscriber is not told."""
    return ("mi_unsubscribed", slot, location)


def unlisted_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell that is set when a location's object is out of use."""
    return ("mi_unlisted", slot, location)


def young_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell of the accessed bit of a mirror's own entry."""
    return ("spt_young", slot, location)


def lock_cell(slot: int) -> tuple[Hashable, ...]:
    """Cell of the lock of the mirror's user."""
    return ("mirror_lock", slot)
