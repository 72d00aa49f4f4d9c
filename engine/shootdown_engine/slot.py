"""A slot: where one running instance of a program finds its board words, addresses and PASIDs.

Only numbers that stay the same while an instance runs may live here; both machines use them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shootdown_protocol.board import (
    L_EPOCH,
    L_FLOOR,
    L_LIMIT,
    L_RETURNED,
    L_VERSION,
    S_STARTED,
    SlotLayout,
)
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.program import (
    DETACH,
    GIGANTIC_STATES,
    HUGE_STATES,
    Instruction,
    Op,
    Program,
    State,
)

HUGE_SHIFT: Final = 21
"""log2 of 2 MiB."""
GIGANTIC_SHIFT: Final = 30
"""log2 of 1 GiB."""
TAKE_ROOTS: Final = ("exit_mmap", "iommu_sva_unbind_device", DETACH)
"""Operations that take a PASID's root away."""
COLLAPSE: Final = "collapse_huge_page"
"""The operation that maps a 2 MiB page where none was."""
REUSED: Final = "reused"
"""Value of the option ``pasid``: the address spaces have one PASID, one after the other."""


class Site:
    """One location of one slot: its addresses and the board words that judge its accesses.

    ``word_offset`` is where in its page the logical word lies, in words; ``returns`` is how many
    operations on the location have to return until all have. ``word`` is the location whose
    logical word lies here: its own index, or that of the location it is another address of.
    """

    __slots__ = (
        "epoch",
        "floor",
        "index",
        "limit",
        "mm",
        "name",
        "parent",
        "pasid",
        "returned",
        "returns",
        "va",
        "version",
        "vpn",
        "word",
        "word_offset",
    )

    def __init__(
        self, program: Program, location: int, first_word: int, pasid: int, home: Site | None
    ) -> None:
        """Place a location whose board words begin at ``first_word``.

        ``home`` is the site that it is another address of: they share one logical word.
        """
        declared = program.locations[location]
        self.index = location
        self.name = declared.name
        self.mm = declared.mm
        self.va = declared.va
        self.vpn = declared.va >> PAGE_SHIFT
        self.parent = declared.parent
        self.pasid = pasid
        self.word_offset = (declared.va & 0xFFF) >> 3
        self.word: int = location if home is None else home.word
        self.floor: int = first_word + L_FLOOR if home is None else home.floor
        self.limit = first_word + L_LIMIT
        self.version: int = first_word + L_VERSION if home is None else home.version
        self.epoch: int = first_word + L_EPOCH if home is None else home.epoch
        self.returned = first_word + L_RETURNED
        self.returns = operations_on(program, location)


def operations_on(program: Program, location: int) -> int:
    """How many operations the columns name on a location, on its parent, or on its alias."""
    lines = [line for column in program.columns for line in column.instructions]
    return operations_in(program, lines, location)


def operations_in(program: Program, lines: Sequence[Instruction], location: int) -> int:
    """How many of some instructions are such operations."""
    declared = program.locations[location]
    places = (location, declared.parent, declared.alias)
    return sum(line.op is Op.RUN and line.location in places for line in lines)


def roots_may_go(program: Program) -> bool:
    """Whether an operation of a program takes a PASID's root away."""
    return any(
        line.operation in TAKE_ROOTS for column in program.columns for line in column.instructions
    )


def reuses_pasid(program: Program) -> bool:
    """Whether the address spaces of a program have one PASID, one after the other."""
    return program.options.get("pasid") == REUSED


def pasids_from(program: Program, first: int) -> tuple[int, ...]:
    """The PASID of each address space, from a number on that a slot has to itself."""
    spaces = len(program.mms)
    return (first,) * spaces if reuses_pasid(program) else tuple(range(first, first + spaces))


def stopping_together(program: Program, column: int) -> set[int]:
    """Device columns after the last of which no page request of a column's PASID follows.

    Those of its device; where another address space has the PASID next, those of its own only.
    """
    device = program.columns[column].device
    of_device = {i for i, each in enumerate(program.columns) if each.device == device}
    if not reuses_pasid(program):
        return of_device
    own = _spaces_of(program, column)
    return {other for other in of_device if _spaces_of(program, other) & own}


def _spaces_of(program: Program, column: int) -> set[int]:
    lines = program.columns[column].instructions
    return {program.locations[line.location].mm for line in lines if line.location >= 0}


def leaf_shifts(program: Program) -> tuple[int, ...]:
    """Sizes of the pages that a program's tables may map, as log2 of bytes, the smallest first."""
    begins = any(
        place.state in HUGE_STATES - GIGANTIC_STATES or place.state is State.FILE_THP
        for place in program.locations
    )
    collapses = any(
        line.operation == COLLAPSE for column in program.columns for line in column.instructions
    )
    larger = (HUGE_SHIFT,) if begins or collapses else ()
    if any(place.state in GIGANTIC_STATES for place in program.locations):
        larger = (*larger, GIGANTIC_SHIFT)
    return (PAGE_SHIFT, *larger)


class Slot:
    """Everything of one instance that both sides know.

    ``instance`` changes when the slot is used again; all else is fixed for a run. ``pasids`` has
    one PASID an address space of the program, the same for all where they have it in turn.
    ``functions`` are the first words of its devices' registers, where the program uses any.
    """

    def __init__(
        self, program: Program, index: int, first_word: int, pasids: tuple[int, ...]
    ) -> None:
        """Lay a slot out from its first board word (an index into the segment)."""
        layout = SlotLayout.of(program)
        self.program = program
        self.index = index
        self.instance = 0
        self.first_word = first_word
        self.words = layout.words
        self.pasids = pasids
        self.started = first_word + S_STARTED
        self.ended = tuple(first_word + layout.ended(c) for c in range(len(program.columns)))
        self.functions = tuple(first_word + layout.function(d) for d in range(layout.functions))
        self.sites = _sites(program, layout, first_word, pasids)
        self.vpns: dict[int, tuple[int, ...]] = {
            pasid: tuple(dict.fromkeys(site.vpn for site in self.sites if site.pasid == pasid))
            for pasid in pasids
        }


def _sites(
    program: Program, layout: SlotLayout, first_word: int, pasids: tuple[int, ...]
) -> tuple[Site, ...]:
    sites: list[Site] = []
    for index, declared in enumerate(program.locations):
        home = sites[declared.alias] if declared.alias >= 0 else None
        words = first_word + layout.location(index)
        sites.append(Site(program, index, words, pasids[declared.mm], home))
    return tuple(sites)
