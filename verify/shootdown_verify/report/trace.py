"""Instances as trace events, for Perfetto and whatever else reads the Chrome trace format.

An instance is a process of the trace and each of its tasks a thread; an arrow leads from where an
invalidation was sent, through the device, to its completion. Times are microseconds from the first
step of an instance, for events of one instance are all that can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, groupby
from typing import Any, Final

from shootdown_protocol.history import Invalidation, Stamped, Step
from shootdown_protocol.program import Program
from shootdown_verify.judge import Example, RunVerdict
from shootdown_verify.judge.scan import DEVICE_OPERATION
from shootdown_verify.report.moments import Moment, device_name, numbered_moments

Event = dict[str, Any]

_NS_A_MICROSECOND: Final = 1000
_NS_MIN: Final = 1
"""A slice of no length cannot be seen."""
_LAST_STATE: Final = "completed"
"""Of an ATC, and of an IOTLB: ``iotlb_completed``."""
_ENDS: Final = 2
"""An arrow has a beginning and an end."""


def trace_object(verdict: RunVerdict, program: Program) -> dict[str, object]:
    """One JSON object: the first instance with each kind of finding, or one that was right."""
    found = {example.instance: example for example in verdict.examples.values() if example.records}
    right = [] if verdict.sample is None else [verdict.sample]
    events: list[Event] = []
    arrows = count(1)
    for number, example in enumerate(found.values() or right, start=1):
        events += _instance_events(number, example, program, arrows)
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _instance_events(
    pid: int, example: Example, program: Program, arrows: Iterator[int]
) -> Iterator[Event]:
    records = example.records
    tids = _tids(records, program)
    name = f"instance {example.instance}: {example.verdict.outcome}"
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
    for task, tid in tids.items():
        named = {"pid": pid, "tid": tid}
        yield {"ph": "M", "name": "thread_name", **named, "args": {"name": task}}
        yield {"ph": "M", "name": "thread_sort_index", **named, "args": {"sort_index": tid}}
    zero = min(stamped.begin for stamped in records)
    told = (
        *_operations(records, program),
        *_moments(example, program),
        *_arrows(records, program, arrows),
    )
    for event in sorted(told, key=_outer_first):
        begin, end, task = event.pop("begin"), event.pop("end"), event.pop("task")
        event |= {"ts": (begin - zero) / _NS_A_MICROSECOND, "pid": pid, "tid": tids[task]}
        if event["ph"] == "X":
            event["dur"] = max(end - begin, _NS_MIN) / _NS_A_MICROSECOND
        yield event


def _outer_first(event: Event) -> tuple[int, int]:
    """Readers take the first of the slices that begin together for the one around the others."""
    return event["begin"], -event["end"]


def _tids(records: Sequence[Stamped], program: Program) -> dict[str, int]:
    """Columns in the scenario's order, then servers in the order in which they appear."""
    tasks = dict.fromkeys(stamped.task for stamped in records)
    columns = [column.name for column in program.columns if column.name in tasks]
    return {task: tid for tid, task in enumerate(dict.fromkeys([*columns, *tasks]), start=1)}


def _operations(records: Sequence[Stamped], program: Program) -> Iterator[Event]:
    """A slice from the first to the last step of each operation, around those of its steps."""
    for task in dict.fromkeys(stamped.task for stamped in records):
        own = (stamped for stamped in records if stamped.task == task)
        steps = [s for s in own if isinstance(s.record, Step)]
        for (operation, location), group in groupby(steps, _operation_of):
            made = list(group)
            if operation not in {"", DEVICE_OPERATION}:
                place = program.locations[location].name if location >= 0 else ""
                name = f"{operation} {place}".rstrip()
                begin, end = made[0].begin, max(step.end for step in made)
                yield _event("X", name, "operation", task, begin, end, {})


def _operation_of(stamped: Stamped) -> tuple[str, int]:
    step = stamped.record
    assert isinstance(step, Step)
    return step.operation, step.location


def _moments(example: Example, program: Program) -> Iterator[Event]:
    """What each record says: a slice as long as its step, or a mark where an entry changed."""
    why = {f.index: f.sentence for f in example.verdict.findings if f.index >= 0}
    for index, moment in numbered_moments(example.records, program):
        stamped = example.records[index]
        wrong = why.get(index, "")
        phase = "X" if moment.item else "i"
        category = "wrong" if wrong else "access" if moment.is_access else "step"
        name = moment.item or "; ".join(map(str, moment.changes))
        if isinstance(stamped.record, Invalidation):
            name = f"{moment.group}: {name}"
        args = _args(moment, wrong)
        event = _event(phase, name, category, moment.task, stamped.begin, stamped.end, args)
        event |= {"cname": "terrible"} if wrong else {}
        yield event | ({} if moment.item else {"s": "t"})


def _arrows(records: Sequence[Stamped], program: Program, arrows: Iterator[int]) -> Iterator[Event]:
    """What binds the states of each invalidation: a flow with a number of its own."""
    states: dict[tuple[str, int], list[Stamped]] = {}
    for stamped in records:
        record = stamped.record
        if isinstance(record, Invalidation):
            which = device_name(program, record), record.itag
            states.setdefault(which, []).append(stamped)
            if record.state.endswith(_LAST_STATE):
                yield from _arrow(states.pop(which), arrows)
    for flow in states.values():  # that were never completed
        yield from _arrow(flow, arrows)


def _arrow(flow: Sequence[Stamped], arrows: Iterator[int]) -> Iterator[Event]:
    if len(flow) < _ENDS:
        return
    number = next(arrows)
    phases = ["s", *"t" * (len(flow) - _ENDS), "f"]
    for phase, stamped in zip(phases, flow, strict=True):
        event = _event(
            phase, "invalidation", "invalidation", stamped.task, stamped.begin, stamped.begin, {}
        )
        yield event | {"id": number} | ({"bp": "e"} if phase == "f" else {})


def _args(moment: Moment, wrong: str) -> dict[str, object]:
    told: dict[str, object] = {"part of": moment.group} if moment.group else {}
    if moment.item and moment.changes:
        told["changes"] = [str(change) for change in moment.changes]
    return told | ({"wrong": wrong} if wrong else {})


def _event(
    phase: str,
    name: str,
    category: str,
    task: str,
    begin: int,
    end: int,
    args: Mapping[str, object],
) -> Event:
    told = {"ph": phase, "name": name, "cat": category, "args": dict(args)}
    return {**told, "task": task, "begin": begin, "end": end}
