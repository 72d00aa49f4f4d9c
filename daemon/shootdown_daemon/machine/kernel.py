"""The kernel's fixed facts: memory, slots with their tables and arenas, and how one is made ready.

Nothing here runs: steps are in the modules beside it, the tasks in ``columns``.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_daemon.machine import cpu_tlb, folio, function, pasid, region, tlb_batch
from shootdown_daemon.machine.command_driver import driver_for
from shootdown_daemon.machine.disciplines import DISCIPLINES, Discipline, bind_operation
from shootdown_daemon.machine.mutant import RIGHT, Mutant, mirror_of
from shootdown_daemon.machine.page_alloc import check_poison, free_frame
from shootdown_daemon.machine.page_table import Entry, TableBuilder, resident
from shootdown_daemon.machine.phases import Binding, Phase
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot, reuses_pasid
from shootdown_engine.store import Store
from shootdown_protocol.board import READ, WRITE, pack_limit
from shootdown_protocol.device_options import ON
from shootdown_protocol.layout import OWNER_KERNEL, owner_of
from shootdown_protocol.memory import (
    NONE,
    PAGE_SHIFT,
    Pte,
    make_pte,
    make_table_entry,
    pte_pfn,
    pte_present,
)
from shootdown_protocol.program import GIGANTIC_STATES, HUGE_STATES, Op, Program, State, When
from shootdown_protocol.swapops import SwapType, make_swap_pte
from shootdown_protocol.words import data_word, is_poison

WRITABLE_STATES = (State.RW, State.PINNED, State.FILE, State.KSM_TWIN, State.FILE_THP)
KSM_STATES = (State.KSM_PAIR, State.KSM_TWIN)
LOCKLESS_WALK = "gup_fast_pte_range"
"""The operation that walks the tables without a lock."""
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
        self.driver = driver_for(mutant.driver, program.options)
        self.mirror = mirror_of(mutant, program)
        self.cpu_tlb = cpu_tlb.tlb_of(mutant.primary, program)
        self.lifo = program.options.get("reuse", "lifo") == "lifo"
        self.lets_faults_in = program.options.get("mmap_lock", "write") == "read"
        self.binds = pasid.binds(program)
        self.reuses_pasid = reuses_pasid(program)
        self.stop_markers = program.options.get("stop_markers") == ON
        said = program.options.get("page_request_queue")
        self.page_request_queue = None if said is None else int(said)
        self.vma_locks = program.options.get("vma_lock") == ON
        self.lock_per_mm = program.options.get("ptl", "split") == "mm"
        self.moves_by_uffd = "move_pages_ptes" in operations_of(program)
        self.moves_tables = "move_normal_pmd" in operations_of(program)
        self.frees_lazily = "madvise_free_single_vma" in operations_of(program)
        self.ad_bits = program.options.get("ad_bits") == ON
        self.defers_flushes = "uffd_wp_range" in operations_of(program)
        self.batches_flushes = tlb_batch.batches(program)
        self.backs_pages = folio.is_needed(program)
        self.spare_cpu = len(list_lengths(program)) - 1
        columns = {column.cpu for column in program.columns if column.device < 0}
        self.cpus = tuple(sorted(columns | {self.spare_cpu}))
        self.list_lengths = list_lengths(program)
        self.regions = region.regions_of(program) if region.has_regions(program) else ()
        self.pages_in_a_region = region.pages_in_a_region(program)
        self.lockless_walkers = lockless_walkers(program)
        self._bindings: dict[str, Binding] = {}

    def binding(self, operation: str, phases: tuple[Phase, ...]) -> Binding:
        """Hooks of one operation by phase."""
        binding = self._bindings.get(operation)
        if binding is None:
            bound = operation in self.program.bound
            discipline = self.discipline if bound else DISCIPLINES["clear_flush"]
            binding = self._bindings[operation] = bind_operation(discipline, operation, phases)
            if self.cpu_tlb is not None and phases:
                self.cpu_tlb.bind(binding, operation, phases)
        return binding


def operations_of(program: Program) -> set[str]:
    """Names of the operations in a program's columns."""
    lines = (line for column in program.columns for line in column.instructions)
    return {line.operation for line in lines if line.op is Op.RUN}


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
        self.pasid_words = tuple(
            builder.set_pasid(kernel.directory, number, root)
            for number, root in zip(slot.pasids, self.roots, strict=True)
        )
        self.entries: tuple[Entry, ...] = tuple(self._entry(builder, site) for site in slot.sites)
        self.frames = tuple(next(frames) for _ in range(frames_needed(kernel.program)))
        for pfn in self.frames:
            free_frame(builder.store, kernel.memory, pfn)

    def _entry(self, builder: TableBuilder, site: Site) -> Entry:
        if self.kernel.regions:
            return self._region_entry(builder, site)
        table, word = builder.leaf(self.roots[site.mm], site.va)
        lock = self.roots[site.mm] if self.kernel.lock_per_mm else table
        return Entry(word, lock)

    def _region_entry(self, builder: TableBuilder, site: Site) -> Entry:
        """The entry of a location whose page-table page may come and go."""
        program, root = self.kernel.program, self.roots[site.mm]
        shared = region.is_shared(program, site.index)
        gigantic = region.is_gigantic(program, site.index)
        level = region.PUD_LEVEL if shared or gigantic else region.PMD_LEVEL
        table, top = builder.way(root, site.va, level)
        first = program.locations[site.index].alias if shared else -1
        if first >= 0:
            home = self.slot.sites[first]
            table, _ = builder.way(self.roots[home.mm], home.va, level)
        lock, pmd_lock = (root, -root) if self.kernel.lock_per_mm else (-top, table)
        source = program.locations[site.index].alias
        if self.kernel.moves_tables and source >= 0:  # A page-table page takes its lock along.
            lock = -builder.way(root, self.slot.sites[source].va, level)[1]
        kind = region.GiganticEntry if gigantic else region.RegionEntry
        return kind(self.kernel.memory, site.va, top, level, lock, pmd_lock)


def tables_needed(program: Program) -> int:
    """Table pages of one slot: per address space a root and a PDPT, a PD a GiB, a PT a 2 MiB."""
    directories = {(place.mm, place.va >> 30) for place in program.locations}
    upper = {(place.mm, place.va >> 39) for place in program.locations}
    leaves = {(place.mm, place.va >> 21) for place in program.locations}
    if region.has_regions(program):
        return len(program.mms) + len(upper) + len(set(region.level_2_tables(program)))
    return len(program.mms) + len(upper) + len(directories) + len(leaves)


def pages_mapped(program: Program) -> int:
    """Data frames that the initial state of one slot takes."""
    return sum(_PAGES.get(place.state, 1) for place in program.locations)


_PAGES = {State.NONE: 0, State.ZERO: 0, State.SWAPPED: 0} | dict.fromkeys(
    (State.KSM_PAIR, State.KSM_TWIN, State.UPROBED), 2
)
"""Frames that a location begins with, where it is not one."""


def list_lengths(program: Program) -> tuple[int, ...]:
    """Frames on each CPU's own list: one a fault or operation that may allocate.

    The last list serves page requests. A store ``when freed`` takes from the buddy list. Where
    page-table pages come and go, each may need one of those too.
    """
    each = 2 if region.has_regions(program) else 1
    lengths = [
        sum(
            each
            for line in column.instructions
            if line.op is Op.RUN
            or (line.op in (Op.STORE, Op.LOAD) and line.when not in (When.FREED, When.WRITABLE))
        )
        for column in program.columns
        if column.device < 0
    ]
    return (*lengths, 2 * each * len(program.locations))


def lockless_walkers(program: Program) -> tuple[int, ...]:
    """CPUs whose columns walk the tables without a lock."""
    return tuple(
        column.cpu
        for column in program.columns
        if any(line.operation == LOCKLESS_WALK for line in column.instructions)
    )


def frames_needed(program: Program) -> int:
    """Frames of one slot's arena: data, what lies behind it, and table pages that come and go."""
    backing = folio.backing_needed(program)
    needed = pages_mapped(program) + sum(list_lengths(program)) + backing + SPARE_FRAMES
    if region.has_regions(program):
        needed += region.tables_in_arena(program) + region.frames_of_huge_lists(program)
    return needed


def prepare(store: Store, kslot: KernelSlot, instance: int) -> None:
    """Lay out the initial state of an instance: frames, entries, VMAs, free lists, board words."""
    kernel, slot = kslot.kernel, kslot.slot
    slot.instance = instance
    for pfn in kslot.frames:
        if store.get(("refs", pfn)) is not None:
            store.put(("refs", pfn), None)
            free_frame(store, kernel.memory, pfn)
    free = iter(kslot.frames)
    if kernel.backs_pages:
        taken = tuple(next(free) for _ in range(folio.backing_needed(kernel.program)))
        folio.lay_out_backing(store, kernel.program, slot.index, kslot.frames, taken)
    for site in slot.sites:
        _prepare_location(store, kslot, site)
    for pasid_word, root in zip(kslot.pasid_words, kslot.roots, strict=True):
        store.store(pasid_word, make_table_entry(root))
    if kernel.binds:
        pasid.begin(store, kslot)
        function.begin(store, slot)
    if kernel.stop_markers:
        pasid.forget_stop_markers(store, slot.pasids)
    if kernel.mirror is not None:
        kernel.mirror.reset(store, kslot)
    if kernel.regions:
        for members in kernel.regions:
            _prepare_region(store, kslot, members, free)
        _prepare_huge_lists(store, kslot, free)
    else:
        for site, entry in zip(slot.sites, kslot.entries, strict=True):
            store.store(entry.word, _initial_pte(store, kslot, site, free))
    for cpu, length in enumerate(kernel.list_lengths):
        store.put(("pcp", slot.index, cpu), tuple(next(free) for _ in range(length)) or None)
    store.put(("buddy", slot.index), tuple(free))
    store.put(("freed", slot.index), None)
    cpu_tlb.prepare(store, kslot)
    if kernel.batches_flushes:
        tlb_batch.forget(store, slot.index, len(slot.pasids))
    store.store(slot.started, 0)
    for word in slot.ended:
        store.store(word, 0)


def _prepare_location(store: Store, kslot: KernelSlot, site: Site) -> None:
    place = kslot.kernel.program.locations[site.index]
    permissions = READ if place.state in (State.RO, State.UPROBED) else READ | WRITE
    is_destination = place.alias >= 0 and place.state is State.NONE
    store.put(("vma", kslot.index, site.index), None if is_destination else permissions)
    store.store(site.epoch, 0)
    store.store(site.returned, 0)
    store.store(site.version, 0)
    store.store(site.floor, 0)
    store.store(site.limit, pack_limit(0, permissions))


def _initial_pte(store: Store, kslot: KernelSlot, site: Site, free: Iterator[int]) -> Pte:
    place = kslot.kernel.program.locations[site.index]
    memory = kslot.kernel.memory
    if place.state is State.NONE:
        return NONE
    if place.state is State.ZERO:
        zero = memory.zero_pfn
        return make_pte(zero, writable=False)
    if place.state is State.SWAPPED:
        frame = folio.frame_behind(store, place.state, kslot.index, site.index)
        _fill(store, kslot, site, frame)
        folio.swap_duplicate(store, frame)
        return make_swap_pte(SwapType.SWAP, frame, writable=True)
    pfn = _initial_page(store, kslot, site, next(free))
    if place.state is State.FILE:
        _fill(store, kslot, site, folio.frame_behind(store, place.state, kslot.index, site.index))
        folio.filemap_add_folio(store, kslot.index, site.index, pfn)
    if place.state is State.UPROBED:
        text = _initial_page(store, kslot, site, next(free))
        folio.filemap_add_folio(store, kslot.index, site.index, text)
        folio.drop_reference(store, text)
    if place.state in (State.COW, State.PINNED):
        store.put(("refs", pfn), 2)
    if place.state in (State.COW_SOLE, State.KSM_PAIR):
        store.put(("ksm", pfn), True)
    if place.state in KSM_STATES:
        kpage = _initial_page(store, kslot, site, next(free))
        store.put(("ksm", kpage), True)
        store.put(("kpage", kslot.index, site.index), kpage)
    generation = memory.generation(store, pfn)
    writable = place.state in WRITABLE_STATES
    dirty = place.state is State.FILE
    return make_pte(pfn, writable=writable, generation=generation, dirty=dirty)


def _initial_page(store: Store, kslot: KernelSlot, site: Site, pfn: int) -> int:
    memory = kslot.kernel.memory
    store.store(memory.owner_word(pfn), owner_of(kslot.slot.instance, site.index))
    store.put(("refs", pfn), 1)
    _fill(store, kslot, site, pfn)
    return pfn


def _fill(store: Store, kslot: KernelSlot, site: Site, pfn: int) -> None:
    """Put a location's value into a frame, as version 0."""
    value = kslot.kernel.program.locations[site.index].value
    word = data_word(kslot.slot.instance, site.index, 0, 0, value)
    store.store(kslot.kernel.memory.first_word(pfn) + site.word_offset, word)


def _prepare_region(
    store: Store, kslot: KernelSlot, members: tuple[int, ...], free: Iterator[int]
) -> None:
    """Lay out one region: its table pages, or the 2 MiB page that a PMD entry maps."""
    kernel, program = kslot.kernel, kslot.kernel.program
    first = program.locations[members[0]]
    entry = kslot.entries[members[0]]
    assert isinstance(entry, region.RegionEntry)
    if entry.shares_table and not _prepare_shared(store, kslot, members[0], free):
        return
    pmd = entry.pmd_at(store)
    assert pmd is not None
    if first.state in HUGE_STATES:
        store.store(pmd, _initial_pmd(store, kslot, members, free))
    elif (kernel.moves_tables and first.alias >= 0) or any(
        home >= 0 and program.locations[home].state in HUGE_STATES
        for home in (first.alias, first.parent)
    ):
        store.store(pmd, NONE)
    else:
        _prepare_table(store, kslot, members, (pmd, next(free)), free)


def _prepare_shared(store: Store, kslot: KernelSlot, location: int, free: Iterator[int]) -> bool:
    """Lead to the table of level 2 that two address spaces share; False for the second of them."""
    entry = kslot.entries[location]
    assert isinstance(entry, region.RegionEntry)
    home = kslot.kernel.program.locations[location].alias
    if home >= 0:
        other = kslot.entries[home]
        assert isinstance(other, region.RegionEntry)
        pud = store.load(other.top)
        store.store(entry.top, pud)
        store.put(("pt_share", pte_pfn(pud)), 1)
        return False
    table = next(free)
    region.new_table(store, kslot.kernel.memory, table)
    store.store(entry.top, region.table_entry(store, kslot.kernel.memory, table))
    return True


def _prepare_table(
    store: Store,
    kslot: KernelSlot,
    members: tuple[int, ...],
    place: tuple[int, int],
    free: Iterator[int],
) -> None:
    """Put a page-table page in place (the PMD entry's word and the page), with its leaves."""
    memory = kslot.kernel.memory
    pmd, table = place
    region.new_table(store, memory, table)
    store.store(pmd, region.table_entry(store, memory, table))
    sites = [kslot.slot.sites[location] for location in members]
    if kslot.kernel.program.locations[members[0]].state is State.FILE_THP:
        _prepare_folio(store, kslot, sites, free)
        return
    for site in sites:
        entry = kslot.entries[site.index]
        store.store(entry.at(store), _initial_pte(store, kslot, site, free))


def _prepare_folio(store: Store, kslot: KernelSlot, sites: list[Site], free: Iterator[int]) -> None:
    """A 2 MiB folio in the page cache, each of its pages mapped by an entry of its own."""
    memory = kslot.kernel.memory
    pages = [_initial_page(store, kslot, site, next(free)) for site in sites]
    region.one_generation(store, memory, pages)
    store.put(("folio", kslot.index, sites[0].index), pages[0])
    for site, page in zip(sites, pages, strict=True):
        store.put(("refs", page), 2)
        pte = make_pte(page, writable=True, generation=memory.generation(store, page))
        store.store(kslot.entries[site.index].at(store), pte)


def _initial_pmd(
    store: Store, kslot: KernelSlot, members: tuple[int, ...], free: Iterator[int]
) -> Pte:
    """The PMD entry of a region that begins as one 2 MiB page."""
    program, memory = kslot.kernel.program, kslot.kernel.memory
    site, state = kslot.slot.sites[members[0]], program.locations[members[0]].state
    if state is State.HUGE_ZERO:
        return region.make_pmd(memory.zero_pfn, site, writable=False, generation=0)
    pages = [_initial_page(store, kslot, kslot.slot.sites[m], next(free)) for m in members]
    region.one_generation(store, memory, pages)
    cow = state in (State.HUGE_COW, State.HUGETLB_COW, State.HUGETLB_1G_COW)
    if cow:
        store.put(("refs", pages[0]), 2)
    generation = memory.generation(store, pages[0])
    level = region.PUD_LEVEL if state in GIGANTIC_STATES else region.PMD_LEVEL
    return region.make_pmd(pages[0], site, writable=not cow, generation=generation, level=level)


def _prepare_huge_lists(store: Store, kslot: KernelSlot, free: Iterator[int]) -> None:
    """Give each CPU the 2 MiB pages that its column may need, each a run of pages."""
    kernel = kslot.kernel
    for cpu, length in enumerate(region.huge_list_lengths(kernel.program)):
        runs = []
        for _ in range(length):
            run = [next(free) for _ in range(kernel.pages_in_a_region)]
            runs.append(run[0])
        store.put(("huge", kslot.index, cpu), tuple(runs) or None)


def settle(store: Store, kslot: KernelSlot) -> None:
    """Report the final state of an instance: what every entry maps, and poison found broken."""
    memory = kslot.kernel.memory
    copied = kslot.kernel.backs_pages
    for site, entry in zip(kslot.slot.sites, kslot.entries, strict=True):
        pte = entry.read(store)
        if is_poison(pte):  # Its page-table page is free, and was walked through all the same.
            continue
        if copied:
            for frame in folio.copies(store, kslot.index, site.index, pte):
                store.emit(
                    resident(store, memory, kslot.slot, site, Pte(frame << PAGE_SHIFT), final=True)
                )
        if pte_present(pte):
            store.emit(resident(store, memory, kslot.slot, site, pte, final=True))
    for pfn in kslot.frames:
        if store.get(("refs", pfn)) is None and not check_poison(store, memory, pfn):
            free_frame(store, memory, pfn)


def claim_kernel_frame(store: Store, memory: PhysicalMemory, pfn: int) -> None:
    """Mark a frame as the kernel's own (tables, zero page)."""
    store.store(memory.owner_word(pfn), OWNER_KERNEL)
