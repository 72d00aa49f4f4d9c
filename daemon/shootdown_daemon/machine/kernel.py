"""The kernel's fixed facts: memory, slots with their tables and arenas, and how one is made ready.

Nothing here runs: steps are in the modules beside it, the tasks in ``columns``.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_daemon.machine.disciplines import DISCIPLINES, Discipline
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_daemon.machine.page_alloc import check_poison, free_frame
from shootdown_daemon.machine.page_table import Entry, TableBuilder, resident
from shootdown_daemon.machine.phases import Binding, Phase, bind
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_protocol.board import READ, WRITE, pack_limit
from shootdown_protocol.layout import OWNER_KERNEL, owner_of
from shootdown_protocol.memory import NONE, Pte, make_pte, pte_present
from shootdown_protocol.program import Op, Program, State, When
from shootdown_protocol.words import data_word

WRITABLE_STATES = (State.RW, State.PINNED)
SPARE_FRAMES = 2
"""Frames of an arena beyond what its columns can need, at the far end of the buddy list."""


class Kernel:
    """Immutable facts of one kernel: its memory, its program, and how operations are notified."""

    def __init__(
        self,
        memory: PhysicalMemory,
        directory: int,
        program: Program,
        discipline: Discipline,
        mutant: Mutant = RIGHT,
    ) -> None:
        """Bind the program's operations to ``discipline``, all others to ``clear_flush``."""
        self.memory = memory
        self.directory = directory
        self.program = program
        self.discipline = discipline
        self.mutant = mutant
        self.driver = mutant.driver()
        self.lifo = program.options.get("reuse", "lifo") == "lifo"
        self.lets_faults_in = program.options.get("mmap_lock", "write") == "read"
        self.lock_per_mm = program.options.get("ptl", "split") == "mm"
        self.spare_cpu = len(list_lengths(program)) - 1
        columns = {column.cpu for column in program.columns if column.device < 0}
        self.cpus = tuple(sorted(columns | {self.spare_cpu}))
        self.list_lengths = list_lengths(program)
        self._bindings: dict[str, Binding] = {}

    def binding(self, operation: str, phases: tuple[Phase, ...]) -> Binding:
        """Hooks of one operation by phase."""
        binding = self._bindings.get(operation)
        if binding is None:
            bound = operation in self.program.bound
            discipline = self.discipline if bound else DISCIPLINES["clear_flush"]
            binding = self._bindings[operation] = bind(discipline, phases)
        return binding


class KernelSlot:
    """One slot as the kernel sees it: tables, entries and the frames of its arena."""

    def __init__(
        self,
        kernel: Kernel,
        slot: Slot,
        builder: TableBuilder,
        frames: Iterator[int],
    ) -> None:
        """Build the tables of every address space and take the arena's frames."""
        self.kernel = kernel
        self.slot = slot
        self.index = slot.index
        self.roots = tuple(builder.new_table() for _ in slot.pasids)
        for pasid, root in zip(slot.pasids, self.roots, strict=True):
            builder.set_pasid(kernel.directory, pasid, root)
        self.entries = tuple(self._entry(builder, site) for site in slot.sites)
        self.frames = tuple(next(frames) for _ in range(frames_needed(kernel.program)))
        for pfn in self.frames:
            free_frame(builder.store, kernel.memory, pfn)

    def _entry(self, builder: TableBuilder, site: Site) -> Entry:
        table, word = builder.leaf(self.roots[site.mm], site.va)
        lock = self.roots[site.mm] if self.kernel.lock_per_mm else table
        return Entry(word, lock)


def tables_needed(program: Program) -> int:
    """Table pages of one slot: per address space a root and a PDPT, a PD a GiB, a PT a 2 MiB."""
    directories = {(place.mm, place.va >> 30) for place in program.locations}
    upper = {(place.mm, place.va >> 39) for place in program.locations}
    leaves = {(place.mm, place.va >> 21) for place in program.locations}
    return len(program.mms) + len(upper) + len(directories) + len(leaves)


def pages_mapped(program: Program) -> int:
    """Data frames that the initial state of one slot takes."""
    frames = {State.NONE: 0, State.ZERO: 0, State.KSM_PAIR: 2}
    return sum(frames.get(place.state, 1) for place in program.locations)


def list_lengths(program: Program) -> tuple[int, ...]:
    """Frames on each CPU's own list: one a fault or operation that may allocate.

    The last list serves page requests. A store ``when freed`` takes from the buddy list.
    """
    lengths = [
        sum(
            1
            for line in column.instructions
            if line.op is Op.RUN
            or (line.op in (Op.STORE, Op.LOAD) and line.when not in (When.FREED, When.WRITABLE))
        )
        for column in program.columns
        if column.device < 0
    ]
    return (*lengths, 2 * len(program.locations))


def frames_needed(program: Program) -> int:
    """Data frames of one slot's arena."""
    return pages_mapped(program) + sum(list_lengths(program)) + SPARE_FRAMES


def prepare(store: Store, kslot: KernelSlot, instance: int) -> None:
    """Lay out the initial state of an instance: frames, entries, VMAs, free lists, board words."""
    kernel, slot = kslot.kernel, kslot.slot
    slot.instance = instance
    for pfn in kslot.frames:
        if store.get(("refs", pfn)) is not None:
            store.put(("refs", pfn), None)
            free_frame(store, kernel.memory, pfn)
    free = iter(kslot.frames)
    for site, entry in zip(slot.sites, kslot.entries, strict=True):
        _prepare_location(store, kslot, site, entry, free)
    for cpu, length in enumerate(kernel.list_lengths):
        store.put(("pcp", slot.index, cpu), tuple(next(free) for _ in range(length)) or None)
    store.put(("buddy", slot.index), tuple(free))
    store.put(("freed", slot.index), None)
    store.store(slot.started, 0)
    for word in slot.ended:
        store.store(word, 0)


def _prepare_location(
    store: Store, kslot: KernelSlot, site: Site, entry: Entry, free: Iterator[int]
) -> None:
    place = kslot.kernel.program.locations[site.index]
    permissions = READ if place.state is State.RO else READ | WRITE
    store.put(("vma", kslot.index, site.index), permissions)
    store.store(site.epoch, 0)
    store.store(site.returned, 0)
    store.store(site.version, 0)
    store.store(site.floor, 0)
    store.store(site.limit, pack_limit(0, permissions))
    store.store(entry.word, _initial_pte(store, kslot, site, free))


def _initial_pte(store: Store, kslot: KernelSlot, site: Site, free: Iterator[int]) -> Pte:
    place = kslot.kernel.program.locations[site.index]
    memory = kslot.kernel.memory
    if place.state is State.NONE:
        return NONE
    if place.state is State.ZERO:
        zero = memory.zero_pfn
        return make_pte(zero, writable=False)
    pfn = _initial_page(store, kslot, site, next(free))
    if place.state in (State.COW, State.PINNED):
        store.put(("refs", pfn), 2)
    if place.state in (State.COW_SOLE, State.KSM_PAIR):
        store.put(("ksm", pfn), True)
    if place.state is State.KSM_PAIR:
        kpage = _initial_page(store, kslot, site, next(free))
        store.put(("ksm", kpage), True)
        store.put(("kpage", kslot.index, site.index), kpage)
    generation = memory.generation(store, pfn)
    return make_pte(pfn, writable=place.state in WRITABLE_STATES, generation=generation)


def _initial_page(store: Store, kslot: KernelSlot, site: Site, pfn: int) -> int:
    place = kslot.kernel.program.locations[site.index]
    memory = kslot.kernel.memory
    store.store(memory.owner_word(pfn), owner_of(kslot.slot.instance, site.index))
    store.put(("refs", pfn), 1)
    word = data_word(kslot.slot.instance, site.index, 0, 0, place.value)
    store.store(memory.first_word(pfn) + site.word_offset, word)
    return pfn


def settle(store: Store, kslot: KernelSlot) -> None:
    """Report the final state of an instance: what every entry maps, and poison found broken."""
    memory = kslot.kernel.memory
    for site, entry in zip(kslot.slot.sites, kslot.entries, strict=True):
        pte = Pte(store.load(entry.word))
        if pte_present(pte):
            store.emit(resident(store, memory, kslot.slot, site, pte, final=True))
    for pfn in kslot.frames:
        if store.get(("refs", pfn)) is None and not check_poison(store, memory, pfn):
            free_frame(store, memory, pfn)


def claim_kernel_frame(store: Store, memory: PhysicalMemory, pfn: int) -> None:
    """Mark a frame as the kernel's own (tables, zero page)."""
    store.store(memory.owner_word(pfn), OWNER_KERNEL)
