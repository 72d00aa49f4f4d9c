"""An agent's process that is killed between two steps, and the one that takes up what it left."""

from __future__ import annotations

from typing import cast

import pytest
from tests.machine.machines import scene
from tests.verify.record_builders import column, load, location, store

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.shell.batches import AgentRun
from shootdown_device_agent.shell.legacy import legacy_of
from shootdown_engine.live_store import LiveStore
from shootdown_protocol import board, codec, messages
from shootdown_protocol import layout as at
from shootdown_protocol.history import Access, AnyRecord
from shootdown_protocol.layout import Layout
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.program import State
from shootdown_protocol.restart_messages import Legacy
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

    def __init__(self) -> None:
        self.records: list[tuple[str, AnyRecord]] = []
        self.segments: list[PlainSegment] = []
        whole = Whole(PROGRAM, DISCIPLINES["none"], self.make_store)
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
        loaded = messages.LoadProgram(0, 1, PROGRAM, board.BOARD_FIXED, 1, (0,), "")
        run = AgentRun(
            self.segments[0],
            loaded,
            welcome,
            (Device,),
            now=lambda: 0,
            fence=lambda: None,
            log=lambda _begin, _end, _instance, task, record: self.records.append((task, record)),
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
    run = ground.process()
    for _ in range(steps):
        run.make_steps(1)
    legacy = legacy_of(run, (), {}, keeps_caches=keeps_caches)
    return ground, run, cast("Legacy", codec.decode_device_from_daemon(codec.encode_device(legacy)))


@pytest.mark.parametrize("keeps_caches", [False, True])
@pytest.mark.parametrize("steps", range(0, 19, 2))
def test_every_access_is_made_once(steps: int, *, keeps_caches: bool) -> None:
    """Wherever an agent is killed, the next process makes what is left, and nothing twice."""
    ground, _, legacy = killed_after(steps, keeps_caches=keeps_caches)

    run = ground.process(legacy)
    for _ in range(200):
        run.make_steps(1)

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
