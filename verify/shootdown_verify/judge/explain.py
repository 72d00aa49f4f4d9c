"""Why a cycle is one, and why an access was stale, edge by edge in the scenario's own words.

Only sentences are made here, from records that have been judged already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from shootdown_protocol.history import Access, Invalidation, Kind, Returned, Stamped, Step, Synced
from shootdown_protocol.program import Program
from shootdown_verify.check.graph import Cycle, Edge, Relation
from shootdown_verify.check.wording import deed, did, frame_name, location_name

LOOKUP: Final = "atc_lookup"
"""The device's step with which an access begins: there it reads its floor and limit."""

_STALE: Final = {Relation.FROM_READS, Relation.OVERTAKEN}


def access_at(records: Sequence[Stamped], index: int) -> Access | None:
    """The access that a record is, or None."""
    record = records[index].record if index >= 0 else None
    return record if isinstance(record, Access) else None


def began(records: Sequence[Stamped], index: int) -> int:
    """When an access began: at its look-up where the device reports one, else with its record."""
    access = records[index]
    for stamped in reversed(records[:index]):
        if stamped.task == access.task:
            if isinstance(stamped.record, Access):
                break
            if isinstance(stamped.record, Step) and stamped.record.name == LOOKUP:
                return stamped.begin
    return access.begin


def edge_sentences(
    cycle: Cycle, members: Sequence[int], records: Sequence[Stamped], program: Program
) -> tuple[str, ...]:
    """Say each edge, the stale read first; ``members`` has the record of every event."""
    start = next((i for i, edge in enumerate(cycle) if edge.relation in _STALE), 0)
    return tuple(
        _edge_sentence(edge, members, records, program) for edge in (*cycle[start:], *cycle[:start])
    )


def _edge_sentence(
    edge: Edge, members: Sequence[int], records: Sequence[Stamped], program: Program
) -> str:
    first, second = records[members[edge.source]], records[members[edge.target]]
    what = _Sayer(program)
    match edge.relation:
        case Relation.PROGRAM_ORDER:
            return f"{first.task} {what.did(first)} before it {what.did(second)}"
        case Relation.SYNC:
            return f"{first.task} {what.did(first)} before its end, which {second.task} waited for"
        case Relation.READS_FROM:
            return f"{second.task} {what.did(second)} from {first.task}'s store"
        case Relation.COHERENCE:
            return f"{what.deed(first)} is older than {what.deed(second)}"
        case Relation.FROM_READS | Relation.OVERTAKEN:
            return f"{first.task} {what.did(first)}, older than {what.deed(second)}"
        case Relation.REAL_TIME:
            return f"{what.deed(first)} had ended before {what.deed(second)} began"


class _Sayer:
    """Names what records did, waits included."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def did(self, stamped: Stamped) -> str:
        if isinstance(stamped.record, Synced):
            return f"waited for {self._program.columns[stamped.record.target].name}'s end"
        assert isinstance(stamped.record, Access)
        return did(self._program, stamped.record)

    def deed(self, stamped: Stamped) -> str:
        if isinstance(stamped.record, Synced):
            target = self._program.columns[stamped.record.target].name
            return f"{stamped.task}'s wait for {target}'s end"
        assert isinstance(stamped.record, Access)
        return deed(self._program, stamped.record, stamped.task)


def floor_sentences(records: Sequence[Stamped], index: int, program: Program) -> Iterator[str]:
    """Name the store that a load's floor speaks of: it had ended before the load began."""
    load = access_at(records, index)
    if load is None or load.floor == 0:
        return
    for stamped in records:
        store = stamped.record
        if (
            isinstance(store, Access)
            and store.kind == Kind.STORE
            and (store.location, store.order) == (load.location, load.floor - 1)
        ):
            what = deed(program, store, stamped.task)
            yield f"{what} had ended before {deed(program, load, records[index].task)} began"


def return_sentences(records: Sequence[Stamped], index: int, program: Program) -> Iterator[str]:
    """Name the operation whose limit an access was given: the last to return before it began."""
    access = access_at(records, index)
    if access is None:
        return
    bound_by = [
        stamped
        for stamped in records
        if isinstance(stamped.record, Returned)
        and (stamped.record.location, stamped.record.limit) == (access.location, access.limit)
    ]
    if bound_by:
        first = min(bound_by, key=lambda stamped: stamped.end)
        assert isinstance(first.record, Returned)
        name = location_name(program, access.location)
        what = deed(program, access, records[index].task)
        yield f"{first.task}'s {first.record.operation} {name} had returned before {what} began"


def translation_sentences(
    records: Sequence[Stamped], index: int, program: Program
) -> Iterator[str]:
    """Say through which translation a device's access went, and what had been invalidated."""
    access = access_at(records, index)
    task = records[index].task
    column = next((c for c in program.columns if c.name == task and c.device >= 0), None)
    if access is None or column is None:
        return
    cached = "a translation cached before" if access.hit else "a translation made for it"
    changed = ", whose entry had changed since" if access.stale else ""
    yield f"{task} went through {cached} to {frame_name(access.pfn)}{changed}"
    if access.hit:
        device = program.devices[column.device]
        name = location_name(program, access.location)
        names = {device, str(column.device)}
        done = _is_invalidated(records, index, names, program.locations[access.location].va)
        had = "an" if done else "no"
        yield f"{had} invalidation of {name} had completed at {device} before the access"


def _is_invalidated(records: Sequence[Stamped], index: int, names: set[str], va: int) -> bool:
    """Whether an invalidation of an address had completed at a device before an access."""
    covering: set[int] = set()
    for stamped in sorted(records, key=lambda stamped: stamped.end):
        record = stamped.record
        if stamped.end >= records[index].end:
            break
        if not isinstance(record, Invalidation) or record.device not in names:
            continue
        if record.state == "sent" and record.address <= va < record.address + record.size:
            covering.add(record.itag)
        elif record.state == "completed" and record.itag in covering:
            return True
        elif record.state == "completed":
            covering.discard(record.itag)
    return False
