"""The verdict on a whole run: violation, ok, or inconclusive with its reasons.

Ok is said only when nothing speaks against it: instances were judged and none is wrong, and the
counters show that the race could have happened.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, Protocol

import msgspec

from shootdown_protocol.history import Stamped
from shootdown_protocol.program import Op, Program, State
from shootdown_verify.check import protocol
from shootdown_verify.check.finding import Finding, Model
from shootdown_verify.check.local import check_record
from shootdown_verify.judge.batches import Batch, read_batches
from shootdown_verify.judge.blame import Blame
from shootdown_verify.judge.counters import Counters
from shootdown_verify.judge.instance import InstanceJudge, InstanceVerdict
from shootdown_verify.judge.outcome import Condition

OK: Final = "ok"
VIOLATION: Final = "violation"
INCONCLUSIVE: Final = "inconclusive"

NO_DISCIPLINE: Final = "none"

_NOTIFYING_ON_STORE: Final = frozenset({State.COW, State.COW_SOLE, State.ZERO, State.KSM_PAIR})
"""States in which a store's fault replaces what an entry maps."""


class Judged(Protocol):
    """What the judge needs of a scenario."""

    @property
    def program(self) -> Program:
        """What ran."""
        ...

    @property
    def conditions(self) -> Sequence[Condition]:
        """Forbidden outcomes."""
        ...


@dataclass(slots=True)
class OutcomeCount:
    """How often an outcome was seen, in how many violations, and whether it is forbidden."""

    count: int = 0
    violations: int = 0
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A violating instance: its number, its records in the order of their ends, its verdict."""

    instance: int
    records: tuple[Stamped, ...]
    verdict: InstanceVerdict


@dataclass(slots=True)
class RunVerdict:
    """What was found in a run; ``verdict`` is `OK`, `VIOLATION` or `INCONCLUSIVE`.

    ``instances`` counts those judged, ``violations`` those with a finding, ``findings`` the
    findings by check and title. ``reasons`` say why a run without violation is not ok.
    """

    verdict: str = INCONCLUSIVE
    instances: int = 0
    violations: int = 0
    weakest_model: Model | None = None
    histogram: dict[str, OutcomeCount] = field(default_factory=dict)
    findings: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    counters: Counters = field(default_factory=Counters)
    records: int = 0
    first: Example | None = None
    examples: dict[tuple[str, str], Example] = field(default_factory=dict)
    """The first instance with each kind of finding."""
    sample: Example | None = None
    """The first instance that was right: what to show where nothing is wrong."""
    devices: dict[str, int] = field(default_factory=dict)
    """Violating instances by the device whose access or completion was wrong (`blame`)."""


class RunJudge:
    """Judges a run batch by batch, so that a progress line can be shown meanwhile."""

    def __init__(self, scenario: Judged, *, discipline: str, agents: int = 1) -> None:
        """Begin a run of a scenario under a discipline, on so many agents."""
        self.program = scenario.program
        self.verdict = RunVerdict()
        self._discipline = discipline
        self._blame = Blame(scenario.program)
        self._judge = InstanceJudge(scenario.program, scenario.conditions)
        self._itags = protocol.ItagUse(agents)
        self._late = 0
        self._cut_off: list[str] = []

    def judge_batch(self, batch: Batch, *, ended: bool) -> None:
        """Judge every instance of a batch; ``ended``: the daemon has declared it ended."""
        self._judge_itags(batch)
        for number, records in batch.instances.items():
            self.verdict.records += len(records)
            judged = self._judge.judge(records, complete=ended, explain=False)
            self._count(number, records, judged, ended=ended)
        for stamped in batch.late:
            self._judge_late(stamped)

    def finish(self, doubts: Iterable[str] = ()) -> RunVerdict:
        """Give the verdict; ``doubts`` are the testbed's own reasons against ok."""
        verdict = self.verdict
        verdict.reasons = (*doubts, *self._reasons())
        if verdict.violations:
            verdict.verdict = VIOLATION
        else:
            verdict.verdict = INCONCLUSIVE if verdict.reasons else OK
        return verdict

    def _count(
        self, number: int, records: list[Stamped], judged: InstanceVerdict, *, ended: bool
    ) -> None:
        verdict = self.verdict
        verdict.counters.add(judged.counters)
        if judged.cut_off:
            self._cut_off.append(judged.cut_off)
        if not judged.unfinished:
            verdict.instances += 1
            seen = verdict.histogram.setdefault(judged.outcome, OutcomeCount())
            seen.count += 1
            seen.forbidden |= judged.forbidden
            seen.violations += bool(judged.findings)
        if not judged.findings:
            if verdict.sample is None and not judged.unfinished:
                verdict.sample = self._example(number, records, ended=ended)
            return
        verdict.violations += 1
        for finding in judged.findings:
            self._tally(finding)
        for device in self._blame.devices(judged.findings, records):
            verdict.devices[device] = verdict.devices.get(device, 0) + 1
        self._meet_model(judged.weakest_model)
        kinds = {(finding.check, finding.title) for finding in judged.findings}
        if not kinds <= verdict.examples.keys():
            example = self._example(number, records, ended=ended)
            verdict.first = verdict.first or example
            for kind in kinds:
                verdict.examples.setdefault(kind, example)

    def _judge_itags(self, batch: Batch) -> None:
        """What the host did with ITags, whichever instance it was for."""
        records = (*chain.from_iterable(batch.instances.values()), *batch.late)
        for finding in self._itags.observe(protocol.of_host(records)):
            self._tally(finding)
            self.verdict.violations += 1
            kind = finding.check, finding.title
            if kind not in self.verdict.examples:
                alone = replace(self._judge.judge((), complete=False), findings=(finding,))
                self.verdict.examples[kind] = Example(-1, (), alone)

    def _tally(self, finding: Finding) -> None:
        kind = finding.check, finding.title
        self.verdict.findings[kind] = self.verdict.findings.get(kind, 0) + 1

    def _meet_model(self, model: Model | None) -> None:
        weakest = self.verdict.weakest_model
        if model is not None and (weakest is None or model < weakest):
            self.verdict.weakest_model = model

    def _example(self, number: int, records: list[Stamped], *, ended: bool) -> Example:
        """Judge an instance once more, explained, with its processes' records merged."""
        merged = tuple(sorted(records, key=_moment))
        return Example(number, merged, self._judge.judge(merged, complete=ended))

    def _judge_late(self, stamped: Stamped) -> None:
        """A record that no open instance owns is judged by itself; a finding is a violation."""
        self.verdict.records += 1
        self._late += stamped.instance >= 0
        finding = check_record(stamped.record, self.program)
        if finding is None:
            return
        finding = msgspec.structs.replace(finding, task=stamped.task, index=0)
        self._tally(finding)
        self.verdict.violations += 1
        if self.verdict.first is None:
            alone = self._judge.judge((stamped,), complete=False)
            alone = replace(alone, findings=(finding,))
            self.verdict.first = Example(stamped.instance, (stamped,), alone)
            kind = finding.check, finding.title
            self.verdict.examples.setdefault(kind, self.verdict.first)

    def _reasons(self) -> list[str]:
        """What of the race was not seen to happen."""
        verdict, counters = self.verdict, self.verdict.counters
        told = bool(self.program.devices) and self._discipline != NO_DISCIPLINE
        notifies = told and has_notifying_operation(self.program)
        evidence = {
            "no instance was judged": verdict.instances,
            "no access went through a translation cached before (no warm hit)": counters.atc_hits,
            "no access could have been stale (no hit whose entry had changed)": (
                counters.stale_eligible_hits
            ),
            "no invalidation was completed": counters.invalidations_completed or not notifies,
            "no device access fell within an operation (no overlap)": (
                counters.overlapped_instances
            ),
        }
        reasons = [reason for reason, seen in evidence.items() if not seen]
        cut_off = len(self._cut_off)
        if cut_off:
            reasons.append(f"{cut_off} instances were cut off (the first by {self._cut_off[0]})")
        if counters.unfinished_instances > cut_off:
            reasons.append(f"{counters.unfinished_instances - cut_off} instances did not finish")
        if self._late:
            reasons.append(f"{self._late} records came after their batch had been judged")
        return reasons if verdict.instances else reasons[:1] + reasons[5:]


def judge_run(
    histories: Sequence[Iterable[Stamped]],
    scenario: Judged,
    *,
    instances_per_batch: int,
    ended_batches: Container[int],
    discipline: str,
    doubts: Iterable[str] = (),
    progress: Callable[[RunVerdict], object] | None = None,
) -> RunVerdict:
    """Judge a run's histories, one a process, in the memory of one batch.

    ``ended_batches`` are those that the daemon has declared ended; ``progress`` is called with
    the verdict so far after each batch.
    """
    judge = RunJudge(scenario, discipline=discipline)
    for batch in read_batches(histories, instances_per_batch):
        judge.judge_batch(batch, ended=batch.number in ended_batches)
        if progress is not None:
            progress(judge.verdict)
    return judge.finish(doubts)


def has_notifying_operation(program: Program) -> bool:
    """Whether a column does what makes the kernel notify: an operation, or a store that faults."""
    return any(
        line.op == Op.RUN
        or (line.op == Op.STORE and program.locations[line.location].state in _NOTIFYING_ON_STORE)
        for column in program.columns
        for line in column.instructions
    )


def _moment(stamped: Stamped) -> tuple[int, int, int]:
    """When a record's step had been made: the key that merges the streams of one instance."""
    return stamped.end, stamped.begin, stamped.sequence
