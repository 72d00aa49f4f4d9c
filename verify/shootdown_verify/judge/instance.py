"""The verdict on one instance: local findings, the condition, and the models that name them.

Which instances the models look at, and why judging by memory is exact:

* S1 to S5 look at one record and no clock, so they are asked of every record (`scan`); they are
  cheap. S2 is the real-time model, exactly, because an access reads its floor as it begins.
* Coherence, causality, TSO and SC see of an instance only its *shape* (`events.Shape`): for each
  thread, in program order, the kind, word and version of its accesses, and its syncs. Page
  numbers, ITags, PASIDs and times are not in it. So shapes are judged once each and remembered:
  equal shapes are the same history up to renaming, and no verdict is guessed.
* The real-time model by intervals needs the times. It is asked only to name the model of a
  finding that breaks no untimed model and is not S2 itself, which is rare, and never remembered.
* A distinct outcome is put to the condition once (`outcome.OutcomeReader`).

S1 to S5 and the condition decide. Of the models, only the two that no hardware may break decide
too: a shape without coherence or causality, though each of its accesses is right by itself (the
overtaken store had taken effect, and its end was not yet published), is a finding of S2's. TSO
and SC only name, since a CPU's store buffer may break SC with no page table involved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shootdown_protocol.history import Access, Stamped
from shootdown_protocol.program import Program
from shootdown_protocol.words import VERSION_BITS
from shootdown_verify.check import after_return, freshness, liveness, protocol, translation
from shootdown_verify.check.events import SYNC, Entry, Shape, build_execution
from shootdown_verify.check.finding import CONDITION, Finding, Model
from shootdown_verify.check.graph import Cycle
from shootdown_verify.check.models import UNTIMED, Broken, weakest_broken
from shootdown_verify.judge.counters import Counters
from shootdown_verify.judge.explain import (
    began,
    edge_sentences,
    floor_sentences,
    return_sentences,
    translation_sentences,
)
from shootdown_verify.judge.outcome import Condition, Outcome, OutcomeReader
from shootdown_verify.judge.scan import Roles, Scan, scan

NAMED_BY_MODELS: Final = frozenset({freshness.NAME, "S3", CONDITION})
"""Checks whose findings are about values, so that a memory model can say how bad they are."""

_SHAPES_MAX: Final = 1 << 16
"""Shapes remembered; one instance of a scenario has a few hundred."""


@dataclass(frozen=True, slots=True)
class InstanceVerdict:
    """What was found in one instance.

    ``weakest_model`` is None where no model is broken. ``registers`` are keyed ``COLUMN:register``
    and hold ``denied`` for a denied load. Of ``unfinished`` instances single records are judged;
    of one that a fault ``cut_off`` (it says which), none.
    """

    findings: tuple[Finding, ...]
    weakest_model: Model | None
    registers: dict[str, int | str]
    finals: dict[str, int]
    outcome: str
    forbidden: bool
    overlapped: bool
    unfinished: bool
    counters: Counters
    cut_off: str = ""


@dataclass(slots=True)
class _Models:
    """What the models are given of an instance: its shape, and which record each entry was."""

    shape: Shape
    members: tuple[int, ...]
    legal_window_reads: int = 0
    cycle: Cycle | None = None
    model: Model | None = None


@dataclass(slots=True)
class InstanceJudge:
    """Judges instances of one program, and remembers what it has judged."""

    program: Program
    conditions: Sequence[Condition] = ()
    _roles: Roles = field(init=False)
    _outcomes: OutcomeReader = field(init=False)
    _broken: dict[Shape, Broken | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read what stays the same for all instances off the program."""
        self._roles = Roles(self.program)
        self._outcomes = OutcomeReader(self.program, self.conditions)

    def judge(
        self, records: Sequence[Stamped], *, complete: bool, explain: bool = True
    ) -> InstanceVerdict:
        """Judge one instance's records; each task's must be in the order in which it made them.

        ``complete``: the daemon has declared the instance's batch ended, so a column without an
        end waits for ever (S5). Otherwise such an instance is unfinished.
        ``explain``: give findings their edges, which takes longer than all the rest.
        """
        seen = scan(records, self._roles)
        missing = len(seen.ended) < len(self.program.columns)
        if seen.cut_off or (missing and not complete):
            return _unfinished(seen)
        models = self._models(seen, records)
        findings = seen.findings
        outcome = self._outcomes.read(seen.registers, seen.finals)
        if missing:
            findings.extend(liveness.waits_for_ever(seen.ended, self.program))
            outcome = outcome._replace(forbidden=None)
        self._weigh(findings, outcome, models)
        findings.extend(_of_protocol(seen, records, self.program))
        if findings:
            self._name_model(findings, models, records, explain=explain)
        if explain and findings:
            findings = self._explained(findings, models, records)
        return _verdict(seen, findings, models, outcome)

    def _weigh(self, findings: list[Finding], outcome: Outcome, models: _Models) -> None:
        """Add the finding of the condition, or that of order where nothing else was found."""
        broken = self._untimed(models.shape)
        if outcome.forbidden is not None:
            why = f"ended with {outcome.text}, which the scenario forbids: {outcome.forbidden}"
            findings.append(Finding(CONDITION, "forbidden-outcome", why, task="the instance"))
        elif broken is not None and broken.model <= Model.CAUSAL and not findings:
            findings.append(_order_finding(broken, models))

    def _name_model(
        self,
        findings: list[Finding],
        models: _Models,
        records: Sequence[Stamped],
        *,
        explain: bool,
    ) -> None:
        """Name the weakest model that the instance breaks, and the cycle that shows it."""
        checks = {finding.check for finding in findings}
        if not checks & NAMED_BY_MODELS:
            return
        broken = self._untimed(models.shape)
        if broken is None and (explain or freshness.NAME not in checks):
            broken = self._timed(models, records)
        if broken is not None:
            models.model, models.cycle = broken
        elif freshness.NAME in checks:
            models.model = Model.REAL_TIME

    def _untimed(self, shape: Shape) -> Broken | None:
        """The weakest untimed model that a shape breaks, from memory where it has been judged."""
        try:
            return self._broken[shape]
        except KeyError:
            pass
        if len(self._broken) >= _SHAPES_MAX:
            self._broken.clear()
        broken = weakest_broken(build_execution(shape, self.program), UNTIMED)
        self._broken[shape] = broken
        return broken

    def _timed(self, models: _Models, records: Sequence[Stamped]) -> Broken | None:
        spans = [(began(records, index), records[index].end) for index in models.members]
        return weakest_broken(
            build_execution(models.shape, self.program, spans), (Model.REAL_TIME,)
        )

    def _models(self, seen: Scan, records: Sequence[Stamped]) -> _Models:
        """Give the models what they may judge: accesses to the newest epoch of each location."""
        threads = sorted(seen.threads.items())
        if not seen.newest_epoch:
            shape = tuple([(task, tuple(thread.entries)) for task, thread in threads])
            members = tuple([index for _, thread in threads for index in thread.records])
            return _Models(shape, members)
        kept = [
            (task, entry, index)
            for task, thread in threads
            for entry, index in zip(thread.entries, thread.records, strict=True)
            if _is_current(entry, seen.newest_epoch)
        ]
        shape = tuple(
            (task, tuple(entry for owner, entry, _ in kept if owner == task)) for task, _ in threads
        )
        members = tuple(index for _, _, index in kept)
        return _Models(shape, members, _legal_window_reads(seen, records, frozenset(members)))

    def _explained(
        self, findings: Sequence[Finding], models: _Models, records: Sequence[Stamped]
    ) -> list[Finding]:
        """Give findings their edges; what has been said is not said again."""
        said: set[str] = set()
        explained = []
        for finding in findings:
            edges = dict.fromkeys(self._edges(finding, models, records))
            new = tuple(edge for edge in edges if edge not in said)
            said.update(edges)
            events = _events(finding, models)
            explained.append(msgspec.structs.replace(finding, edges=new, events=events))
        return explained

    def _edges(
        self, finding: Finding, models: _Models, records: Sequence[Stamped]
    ) -> Iterator[str]:
        """The cycle edge by edge, then what the access should have met and how it went wrong."""
        if finding.check in NAMED_BY_MODELS and models.cycle is not None:
            yield from edge_sentences(models.cycle, models.members, records, self.program)
        if finding.index < 0:
            return
        if finding.check == freshness.NAME:
            yield from floor_sentences(records, finding.index, self.program)
        if finding.check == after_return.NAME:
            yield from return_sentences(records, finding.index, self.program)
        yield from translation_sentences(records, finding.index, self.program)


def judge_instance(
    records: Sequence[Stamped],
    program: Program,
    conditions: Sequence[Condition] = (),
    *,
    complete: bool = True,
) -> InstanceVerdict:
    """Judge one instance by itself; see `InstanceJudge.judge`."""
    return InstanceJudge(program, conditions).judge(records, complete=complete)


def _of_protocol(seen: Scan, records: Sequence[Stamped], program: Program) -> Iterator[Finding]:
    """What no single record shows: of invalidations, page requests and kept translations."""
    counters = seen.counters
    if counters.invalidations_completed:
        yield from protocol.check_instance(seen.invalidations)
        if counters.stale_eligible_hits:
            marked = [stamped for _, stamped in seen.invalidations]
            yield from translation.check_instance(records, marked, program)
    if seen.page_request_steps:
        of_responses = protocol.check_responses(seen.page_request_steps)
        if of_responses is not None:
            yield of_responses


def _events(finding: Finding, models: _Models) -> tuple[int, ...]:
    """Places of the records of a finding's cycle, or of the one record that is wrong."""
    if finding.check in NAMED_BY_MODELS and models.cycle is not None:
        return tuple(models.members[edge.source] for edge in models.cycle)
    return (finding.index,) if finding.index >= 0 else ()


def _order_finding(broken: Broken, models: _Models) -> Finding:
    """Coherence or causality is broken, though no access is wrong by its own floor."""
    tasks = sorted({_thread_of(models.shape, edge.source) for edge in broken.cycle})
    why = f"together broke {broken.model.label} order"
    return Finding(
        freshness.NAME, "order-broken", why, model=broken.model, task=" and ".join(tasks)
    )


def _thread_of(shape: Shape, event: int) -> str:
    """The task of an event, counted through the threads of a shape."""
    for task, entries in shape:
        if event < len(entries):
            return task
        event -= len(entries)
    raise AssertionError(event)


def _is_current(entry: Entry, newest_epoch: dict[int, int]) -> bool:
    if entry.kind == SYNC:
        return True
    word = entry.source if entry.source >= 0 else entry.location
    return entry.order >> VERSION_BITS >= newest_epoch.get(word, 0)


def _legal_window_reads(seen: Scan, records: Sequence[Stamped], judged: frozenset[int]) -> int:
    count = 0
    for thread in seen.threads.values():
        for index in thread.records:
            record = records[index].record
            if index not in judged and isinstance(record, Access):
                count += record.stale
    return count


def _verdict(
    seen: Scan, findings: list[Finding], models: _Models, outcome: Outcome
) -> InstanceVerdict:
    overlapped = seen.is_overlapped()
    seen.counters.overlapped_instances = int(overlapped)
    seen.counters.legal_window_reads = models.legal_window_reads
    return InstanceVerdict(
        findings=tuple(findings),
        weakest_model=models.model,
        registers=seen.registers,
        finals=seen.finals,
        outcome=outcome.text,
        forbidden=outcome.forbidden is not None,
        overlapped=overlapped,
        unfinished=False,
        counters=seen.counters,
    )


def _unfinished(seen: Scan) -> InstanceVerdict:
    """What is wrong in a record by itself is wrong whatever had still to come."""
    findings = () if seen.cut_off else tuple(seen.findings)
    return InstanceVerdict(
        findings=findings,
        weakest_model=min((f.model for f in findings if f.model is not None), default=None),
        registers=seen.registers,
        finals=seen.finals,
        outcome="unfinished",
        forbidden=False,
        overlapped=False,
        unfinished=True,
        counters=Counters(unfinished_instances=1),
        cut_off=seen.cut_off,
    )
