"""An agent's process that is killed between two steps, and the one that takes up what it left."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from tests.machine.machines import scene
from tests.verify.record_builders import column, load, location, run, store

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.shell.live_run import LiveRun
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.shell.batches import AgentRun
from shootdown_device_agent.shell.legacy import legacy_of
from shootdown_engine.live_store import LiveStore
from shootdown_protocol import board, codec, messages
from shootdown_protocol import layout as at
from shootdown_protocol.history import Access, AnyRecord, Invalidation
from shootdown_protocol.layout import Layout
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.program import Program, State
from shootdown_protocol.restart_messages import KeptCell, Legacy
from shootdown_protocol.segment import Segment
from shootdown_verify.whole import PASID_FIRST, Whole

COLUMNS = (
    column("DEV0", load(0, "r0"), store(1, 5), load(1, "r1")),
    column("DEV1", load(1, "r2"), load(0, "r3")),
)
PLACES = tuple(location(name, state=State.RW) for name in "AB")
PROGRAM = scene(*COLUMNS, places=PLACES, warm=(0,), speculate=(1,))
BEGIN = messages.BatchBegin(0, 1, 1, 7, 4, (messages.BatchSlot(0, 0, (0,), (PASID_FIRST,)),))


class Ground:
    """Memory with one instance in it, and a batch of it; ``records`` are all processes'."""

    def __init__(self, program: Program = PROGRAM) -> None:
        self.program = program
        self.records: list[tuple[str, AnyRecord]] = []
        self.segments: list[PlainSegment] = []
        whole = Whole(program, DISCIPLINES["none"], self.make_store)
        words = self.segments[0].words
        words[at.H_PASID_DIRECTORY] = whole.directory
        words[at.H_ZERO_PFN] = whole.memory.zero_pfn
        words[self.segments[0].layout.board + board.IDLE] = 1
        words[whole.slot.started] = 1
        self.slot = whole.slot

    def make_store(self, layout: Layout) -> LiveStore:
        """A store over the memory that the agents map, too."""
        self.segments.append(PlainSegment(layout))
        return LiveStore(self.segments[0].words)

    def process(self, legacy: Legacy | None = None) -> AgentRun:
        """An agent's process, with the batch begun, which may run from then on."""
        welcome = messages.Welcome(0, 1, 0, "", 0, 100, 200, 1, True, 0, False)
        loaded = messages.LoadProgram(0, 1, self.program, board.BOARD_FIXED, 1, (0,), "")
        run = AgentRun(
            self.segments[0],
            loaded,
            welcome,
            (Device,),
            now=lambda: 0,
            fence=lambda: None,
            log=lambda entry: self.records.append(entry[3:]),
        )
        run.legacy = legacy
        run.begin_batch(BEGIN)
        self.segments[0].words[self.segments[0].layout.board + board.GO] = 1
        return run

    def accesses(self) -> list[tuple[str, int]]:
        """Column and location of every access, column by column in their order."""
        made = [(task, each) for task, each in self.records if isinstance(each, Access)]
        return sorted(((task, each.location) for task, each in made), key=lambda each: each[0])

    def is_done(self) -> bool:
        """Whether the batch is over at the agent."""
        word = self.segments[0].layout.board + board.agent_word(0, board.A_DONE)
        return bool(self.segments[0].words[word] == 1)


def killed_after(steps: int, *, keeps_caches: bool) -> tuple[Ground, AgentRun, Legacy]:
    """The ground when an agent was killed after some steps, and what it left, off the wire."""
    ground = Ground()
    process = ground.process()
    for _ in range(steps):
        process.make_steps(1)
    legacy = legacy_of(process, (), {}, keeps_caches=keeps_caches)
    sent = codec.decode_device_from_daemon(codec.encode_device(legacy))
    return ground, process, cast("Legacy", sent)


@pytest.mark.parametrize("keeps_caches", [False, True])
@pytest.mark.parametrize("steps", range(0, 19, 2))
def test_every_access_is_made_once(steps: int, *, keeps_caches: bool) -> None:
    """Wherever an agent is killed, the next process makes what is left, and nothing twice."""
    ground, _, legacy = killed_after(steps, keeps_caches=keeps_caches)

    process = ground.process(legacy)
    for _ in range(200):
        process.make_steps(1)

    assert ground.is_done()
    assert ground.accesses() == [
        *(("DEV0", place) for place in (0, 1, 1)),
        *(("DEV1", place) for place in (1, 0)),
    ]


def cached(run: AgentRun) -> dict[object, object]:
    """What an agent's caches hold."""
    return {cell: value for cell, value in run.store.cells.items() if cell[0] in {"atc", "iotlb"}}


def test_a_tlb_outlives_its_process() -> None:
    """The next process holds just what the last one held, or nothing at all."""
    ground, run, legacy = killed_after(16, keeps_caches=True)
    assert cached(run)

    assert cached(ground.process(legacy)) == cached(run)

    ground, run, legacy = killed_after(16, keeps_caches=False)
    assert cached(ground.process(legacy)) == {}


def test_a_register_is_obeyed_behind_the_last_column() -> None:
    """A kernel may reset a device whose columns have ended, and whose process was killed then."""
    columns = (column("CPU0", run("pci_reset_function", 0)), column("DEV0", load(0)))
    ground = Ground(scene(*columns, places=PLACES))
    process = ground.process()
    while not ground.is_done():
        process.make_steps(1)
    words, (first,) = ground.segments[0].words, ground.slot.functions
    words[first + board.F_CONTROL] = 0
    process.make_steps(9)
    assert words[first + board.F_STATUS] == 0

    legacy = legacy_of(process, (), {}, keeps_caches=False)
    following = ground.process(legacy)
    assert not following.devices[0].ats_enabled(following.store, ground.slot)
    words[first + board.F_CONTROL] = board.ONE_RESET
    following.make_steps(9)

    assert words[first + board.F_STATUS] == board.ONE_RESET


def test_registers_of_another_batch_are_not_taken_up() -> None:
    """What is left of a batch that is over says nothing to a process that never heard of it."""
    columns = (column("CPU0", run("pci_reset_function", 0)), column("DEV0", load(0)))
    ground = Ground(scene(*columns, places=PLACES))
    left = legacy_of(ground.process(), (), {}, keeps_caches=True)
    elsewhere = KeptCell("function", (0, 9), (board.ONE_RESET,))

    following = ground.process(msgspec.structs.replace(left, cells=(*left.cells, elsewhere)))

    assert legacy_of(following, (), {}, keeps_caches=True).cells == left.cells


def test_what_is_asked_again_is_not_the_next_instances() -> None:
    """A slot that is made ready for another instance has no late invalidation."""
    ground = Ground()
    process = ground.process()
    late = Invalidation("applied", "d0", 3, PASID_FIRST, 0, 0)
    assert process._instance_of(late) == 0

    ground.segments[0].words[ground.slot.started] = 0

    assert process._instance_of(late) == -1


def racing(program: Program) -> LiveRun:
    """The daemon's side of a run whose only batch is under way, its device columns ended."""
    live = LiveRun(
        cast("Segment", PlainSegment(Layout(512, 4096, 5))),
        program,
        DISCIPLINES["clear_flush"],
        agents=(0,),
        instances=2,
        instances_per_batch=2,
        window=2,
        seed=1,
        now=lambda: 0,
        fence=lambda: None,
        log=lambda *_: None,
    )
    for word in (board.A_WARM, board.A_DONE):
        live.advance()
        live.segment.words[live.segment.layout.board + board.agent_word(0, word)] = 1
    live.advance()
    return live


@pytest.mark.parametrize(("operation", "needed"), [("pci_reset_function", 1), ("zap_pte_range", 0)])
def test_a_kernel_needs_whoever_obeys_its_registers(operation: str, needed: int) -> None:
    """A batch goes on at an agent for as long; once it was cut off there, it does not."""
    columns = (column("CPU0", run(operation, 0)), column("DEV0", load(0)))
    live = racing(scene(*columns, places=PLACES))

    assert len(live.unfinished_at(0)) == needed
    live.cut_off_agent(0)
    assert live.unfinished_at(0) == []


def test_a_kernel_that_goes_on_is_cut_off_with_its_agent() -> None:
    """What a killed agent said last may be lost, such as a marker that a kernel waits for."""
    columns = (column("CPU0", run("zap_pte_range", 0)), column("DEV0", load(0)))
    live = racing(scene(*columns, places=PLACES))
    over = live.slots[1].slot
    live.segment.words[over.ended[0]] = over.instance + 1

    lost = live.cut_off_agent(0)

    assert [kslot.index for kslot in lost] == [0]
