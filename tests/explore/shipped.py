"""The shipped scenarios, and their counterexamples made again on words of memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from tests.litmus.texts import SCENARIOS, read_file

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.machine.device import Device
from shootdown_engine.live_store import LiveStore
from shootdown_protocol.history import AnyRecord
from shootdown_protocol.layout import Layout
from shootdown_verify.explore.explorer import Exploration
from shootdown_verify.explore.result import Budget
from shootdown_verify.litmus import Scenario
from shootdown_verify.whole import Whole

LARGE = "first-touch"
"""The one scenario with more than 20,000 states after reduction."""
ALL = {path.stem: read_file(path) for path in SCENARIOS}
CLAIMS = [
    (scenario.name, expectation.subject)
    for scenario in ALL.values()
    for expectation in scenario.expectations
    if not expectation.kind and (scenario.name != LARGE or expectation.subject == "none")
]
"""Every claim about a discipline, as (scenario, discipline); of the large one, the cheapest."""

MUTANT_CLAIMS = [
    (scenario.name, expectation.subject, expectation.by)
    for scenario in ALL.values()
    for expectation in scenario.expectations
    if expectation.mutant
]
"""Every claim about a mutant, as (scenario, mutant, checks)."""

NEED_A_FAULT = ("empties_queue", "repeats_for_ever", "skips_timed_out")
"""Mutants that show only where a completion is lost: `test_time_outs` has them."""

DEVICE_CLAIMS = [
    (scenario.name, expectation.subject, expectation.by)
    for scenario in ALL.values()
    for expectation in scenario.expectations
    if expectation.device and not expectation.other
]
"""Every claim about a faulty device, as (scenario, device, checks)."""

JOINED_CLAIMS = [
    (scenario.name, expectation)
    for scenario in ALL.values()
    for expectation in scenario.expectations
    if expectation.other or expectation.mutant
]
"""Every claim about a mutant, or two things together, such as a faulty device and a discipline."""


def live_whole(scenario: Scenario, discipline: str) -> Whole:
    """An instance on words of memory, as live processes have it."""

    def make_store(layout: Layout) -> LiveStore:
        return LiveStore(memoryview(array("Q", bytes(8 * layout.words))))

    whole = Whole(scenario.program, DISCIPLINES[discipline], make_store)
    live_store(whole).records.clear()
    return whole


def live_store(whole: Whole) -> LiveStore:
    """Its store."""
    assert isinstance(whole.store, LiveStore)
    return whole.store


def make_again(whole: Whole, schedule: Iterable[tuple[str, str]]) -> list[tuple[str, AnyRecord]]:
    """Make a schedule's steps, each given as task and step; gives what they report."""
    tasks = {task.name: task for task in whole.tasks}
    store = live_store(whole)
    made = []
    for name, step in schedule:
        request = tasks[name].request
        assert request is not None
        assert request.full_name == step
        assert tasks[name].step(store)
        made += [(name, record) for record in store.records]
        store.records.clear()
    return made


def exploration(scenario: Scenario, discipline: str) -> Exploration:
    """An instance on an exploring store, with registers."""
    return Exploration(
        scenario.program,
        DISCIPLINES[discipline],
        scenario.conditions,
        Device,
        Budget(),
        registers=True,
    )
