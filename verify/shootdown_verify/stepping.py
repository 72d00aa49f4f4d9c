"""Going through a scenario step by step: what can go, what a step has changed, and back again.

There is no way to unmake a step, so undoing one makes the whole schedule but its last step anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.local import check_record
from shootdown_verify.check.wording import frame_name
from shootdown_verify.judge.instance import judge_instance
from shootdown_verify.judge.outcome import Condition
from shootdown_verify.replay_file import NO_NAME, ReplayStep, count_occurrences
from shootdown_verify.replaying import Follower
from shootdown_verify.report.moments import Change, moments
from shootdown_verify.whole import DeviceMaker

NOTHING = "none"


class Choice(NamedTuple):
    """A task, the full name of the step that it is to make next, and which location it is about."""

    task: str
    step: str
    about: str

    def __str__(self) -> str:
        """``device.atc_lookup A``."""
        return f"{self.step} {self.about}".rstrip()


@dataclass(slots=True)
class StepMade:
    """One step: what its records say, what it changed, and what was wrong with it."""

    task: str
    step: str
    said: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Stepping:
    """A scenario under somebody's hand; ``made`` are the steps so far."""

    def __init__(
        self,
        program: Program,
        discipline: Discipline,
        conditions: Sequence[Condition] = (),
        make_device: DeviceMaker = Device,
        mutant: Mutant = RIGHT,
    ) -> None:
        """Begin where nothing has happened."""
        self.program = program
        self.made: list[StepMade] = []
        self._discipline = discipline
        self._conditions = conditions
        self._make_device = make_device
        self._mutant = mutant
        self._follower = self._new()

    def enabled(self) -> list[Choice]:
        """Tasks that can go."""
        return [self._choice(task) for task, _ in self._follower.enabled()]

    def waiting(self) -> list[Choice]:
        """Tasks that cannot go and have not ended; a step without a name only waits for work."""
        able = {task for task, _ in self._follower.enabled()}
        return [
            self._choice(task.name)
            for task in self._follower.whole.tasks
            if task.request is not None and task.name not in able and task.request.name
        ]

    def make(self, task: str) -> StepMade:
        """Let a task make its step; `ValueError` if it cannot go."""
        follower = self._follower
        before, told = self.state(), len(follower.records)
        step = follower.make(task)
        after = self.state()
        made = StepMade(task, step or NO_NAME)
        made.said = self._said(len(follower.records))[len(self._said(told)) :]
        made.changes = [
            Change(subject, before[subject], now)
            for subject, now in after.items()
            if before[subject] != now
        ]
        found = (check_record(stamped.record, self.program) for stamped in follower.records[told:])
        made.findings = [finding for finding in found if finding is not None]
        self.made.append(made)
        return made

    def undo(self) -> StepMade | None:
        """Go back by a step; gives the step that is no more, if there was one."""
        if not self.made:
            return None
        undone = self.made.pop()
        self._follower = self._new()
        for made in self.made:
            self._follower.make(made.task)
        return undone

    def schedule(self) -> tuple[ReplayStep, ...]:
        """The steps so far, as a replay file has them."""
        return count_occurrences(
            (made.task, "" if made.step == NO_NAME else made.step) for made in self.made
        )

    def judged(self) -> tuple[tuple[Finding, ...], str]:
        """Findings and outcome if what is left ran freely; the steps so far stay as they are."""
        follower = self._new()
        for made in self.made:
            follower.make(made.task)
        follower.finish()
        verdict = judge_instance(follower.records, self.program, self._conditions)
        return verdict.findings, verdict.outcome

    def state(self) -> dict[str, str]:
        """What entries map and caches hold, in words, by subject."""
        return dict(self._state())

    def _state(self) -> Iterator[tuple[str, str]]:
        whole, store = self._follower.whole, self._follower.store
        for site, entry in zip(whole.slot.sites, whole.kslot.entries, strict=True):
            yield f"entry {site.name}", _say_entry(entry.read(store))
        for device in whole.devices:
            for site in whole.slot.sites:
                held = atc.cached(store, atc.atc_cell(device.number, site.pasid, site.vpn))
                said = NOTHING if held is None else frame_name(held.pfn)
                writable = " writable" if held is not None and held.writable else ""
                yield f"atc {device.config.name} {site.name}", said + writable

    def _said(self, count: int) -> list[str]:
        """What the first records say, in the words of a timeline."""
        told = moments(self._follower.records[:count], self.program, frozenset())
        return [
            f"{moment.group}: {moment.item}" if moment.group else moment.item
            for moment in told
            if moment.item
        ]

    def _choice(self, name: str) -> Choice:
        request = self._follower.tasks[name].request
        assert request is not None
        about = self.program.locations[request.location].name if request.location >= 0 else ""
        return Choice(name, request.full_name or NO_NAME, about)

    def _new(self) -> Follower:
        return Follower(self.program, self._discipline, self._make_device, self._mutant)


def _say_entry(entry: int) -> str:
    if not pte_present(entry):
        return NOTHING
    return frame_name(pte_pfn(entry)) + (" writable" if pte_write(entry) else "")
