"""How a run's frames, tables and slots are laid out in the segment."""

from __future__ import annotations

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.kernel import Kernel, KernelSlot, frames_needed, tables_needed
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_daemon.machine.page_table import TableBuilder
from shootdown_engine.live_store import LiveStore
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Slot, pasids_from
from shootdown_protocol import layout as at
from shootdown_protocol.board import BOARD_FIXED, SlotLayout
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.layout import Layout
from shootdown_protocol.memory import PASID_DIRECTORY_PAGES, Pfn
from shootdown_protocol.program import Program
from shootdown_protocol.segment import Segment

PASID_FIRST = 0x100
BANKS = 2
"""Batches with slots at a time: one that runs, one that is made ready."""


class RunMemory:
    """Frames, tables and slots of one run, built anew in the whole of a segment.

    ``slots`` are two banks of ``bank`` slots each.
    """

    def __init__(
        self,
        segment: Segment,
        store: LiveStore,
        program: Program,
        discipline: Discipline,
        instances_per_batch: int,
        mutant: Mutant = RIGHT,
    ) -> None:
        """Lay out as many slots as asked for and as fit."""
        layout = segment.layout
        numbers = iter(range(at.PFN_BASE, at.PFN_BASE + layout.frames))
        self.memory = PhysicalMemory(layout, Pfn(next(numbers)))
        self.bank = self._slots_that_fit(layout, program, instances_per_batch)
        store.fill_frame(self.memory.first_word(self.memory.zero_pfn), 0)
        builder = self.builder = TableBuilder(store, self.memory, numbers)
        self.directory = builder.new_directory()
        segment.words[at.H_ZERO_PFN] = self.memory.zero_pfn
        segment.words[at.H_PASID_DIRECTORY] = self.directory
        kernel = Kernel(self.memory, self.directory, program, discipline, mutant)
        slot_words = SlotLayout.of(program).words
        mms = len(program.mms)
        self.slots = [
            KernelSlot(
                kernel,
                Slot(
                    program,
                    index,
                    layout.board + BOARD_FIXED + index * slot_words,
                    pasids_from(program, PASID_FIRST + index * mms),
                ),
                builder,
                numbers,
            )
            for index in range(BANKS * self.bank)
        ]

    def _slots_that_fit(self, layout: Layout, program: Program, wanted: int) -> int:
        a_slot = tables_needed(program) + frames_needed(program)
        pasid_tables = BANKS * wanted * len(program.mms) // 512 + 2
        own = 1 + PASID_DIRECTORY_PAGES
        by_frames = (layout.frames - own - pasid_tables) // a_slot // BANKS
        words = SlotLayout.of(program).words
        by_board = (layout.board_words - BOARD_FIXED) // words // BANKS
        bank = min(wanted, by_frames, by_board)
        if bank < 1:
            raise UsageError(
                ErrorCode.USAGE,
                seen=f"{layout.frames} frames and {layout.board_words} board words",
                expected=f"at least {BANKS * a_slot + own + pasid_tables} and {BANKS * words}",
                where=f"the testbed's memory, for the scenario {program.name}",
            )
        return bank
