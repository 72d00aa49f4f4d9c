"""What each record of an instance says in a timeline: its words, and what it changed.

A record becomes one item of its task's cell, or a line about what changed, or nothing. Steps that
only carry another record (an access, an invalidation's state) are left to that record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from shootdown_protocol.faults import KINDS
from shootdown_protocol.history import (
    Access,
    Denied,
    Fault,
    Injected,
    Invalidation,
    Kind,
    Resident,
    Returned,
    Stamped,
    Step,
    Stray,
    Synced,
    TableWalk,
)
from shootdown_protocol.program import Program
from shootdown_verify.check.wording import (
    assignment,
    frame_name,
    location_name,
    version_met,
    version_name,
)
from shootdown_verify.judge.scan import DEVICE_OPERATION

_UNSAID: Final = frozenset(
    {"", "await", "when", "delay", "end", "atc_lookup", "access", "invalidate_completion"}
) | frozenset(KINDS)
"""Steps that wait, or that are said by what follows from them."""
_CLEARING: Final = frozenset({"ptep_clear_flush", "ptep_get_and_clear", "ptep_modify_prot_start"})
_PROTECTING: Final = frozenset({"ptep_set_wrprotect"})
_CARRIERS: Final = (Access, Denied, Returned, Invalidation, Fault, Synced, Injected)


class Change(NamedTuple):
    """What became of an entry or of a cached translation; ``before`` is empty where unknown."""

    subject: str
    before: str
    after: str

    def __str__(self) -> str:
        """``entry A: frame 0x100003 -> frame 0x10000b``."""
        arrow = f"{self.before} -> " if self.before else ""
        return f"{self.subject}: {arrow}{self.after}"


class Moment(NamedTuple):
    """One record as a timeline shows it.

    ``item`` goes into the task's cell under ``group`` (an operation and its location); ``changes``
    are said below, those that are ``final`` at the very end. Moments of different tasks on
    different locations may stand in one row, unless both are accesses: then which came first is
    what the reader wants to see.
    """

    task: str
    group: str
    item: str
    location: int
    is_access: bool
    is_wrong: bool
    is_final: bool
    changes: tuple[Change, ...]


def moments(
    records: Sequence[Stamped], program: Program, wrong: frozenset[int]
) -> Iterator[Moment]:
    """What records say, in their order; ``wrong`` has the places of those with a finding."""
    for index, told in numbered_moments(records, program):
        yield told._replace(is_wrong=index in wrong)


def numbered_moments(records: Sequence[Stamped], program: Program) -> Iterator[tuple[int, Moment]]:
    """What records say, each with its record's place; whether it is wrong is not said."""
    teller = _Teller(records, program)
    carried = {_step_of(s) for s in records if isinstance(s.record, _CARRIERS)}
    for index, stamped in enumerate(records):
        if isinstance(stamped.record, Step) and _step_of(stamped) in carried:
            continue
        told = teller.tell(index, stamped)
        if told is not None:
            yield index, told


def _step_of(stamped: Stamped) -> tuple[str, int, int]:
    """Records of one step share its task and its stamps."""
    return stamped.task, stamped.begin, stamped.end


class _Teller:
    """Puts records into words; keeps which entry maps what, and which ITag is about which page."""

    def __init__(self, records: Sequence[Stamped], program: Program) -> None:
        self._program = program
        self._mapped = {place: frame_name(pfn) for place, pfn in _mapped_at_first(records)}
        self._itags: dict[tuple[str, int], int] = {}
        self._stale = [
            (index, stamped.task, stamped.record)
            for index, stamped in enumerate(records)
            if isinstance(stamped.record, Access) and stamped.record.stale
        ]

    def tell(self, index: int, stamped: Stamped) -> Moment | None:
        """One record's moment, or None where it says nothing."""
        tell = _TELLERS.get(type(stamped.record))
        return None if tell is None else tell(self, index, stamped, stamped.record)

    def name(self, location: int) -> str:
        """The scenario's name of a location, empty for none."""
        return location_name(self._program, location) if location >= 0 else ""

    def step(self, _index: int, stamped: Stamped, step: Step) -> Moment | None:
        if step.name in _UNSAID:
            return None
        detail = f" -> {step.detail}" if step.detail else ""
        name = self.name(step.location)
        if not step.operation or step.operation == DEVICE_OPERATION:
            item = f"{step.name} {name}{detail}".replace("  ", " ").rstrip()
            return _moment(stamped, item, step.location)
        changes: tuple[Change, ...] = ()
        if step.name in _CLEARING:
            changes = (self._remap(step.location, "none"),)
        elif step.name in _PROTECTING:
            changes = (Change(f"entry {name}", "", "write-protected"),)
        group = f"{step.operation} {name}".rstrip()
        return _moment(stamped, f"{step.name}{detail}", step.location, group, changes)

    def access(self, _index: int, stamped: Stamped, access: Access) -> Moment:
        verb = "stored" if access.kind == Kind.STORE else "read"
        how = [version_met(self._program, access), frame_name(access.pfn)]
        how += ["cached translation"] * access.hit + ["stale"] * access.stale
        item = f"{verb} {assignment(self._program, access)} ({', '.join(how)})"
        return _moment(stamped, item, access.location)._replace(is_access=True)

    def denied(self, _index: int, stamped: Stamped, denied: Denied) -> Moment:
        verb = "store" if denied.kind == Kind.STORE else "read"
        item = f"{verb} {self.name(denied.location)} denied: {denied.reason}"
        return _moment(stamped, item, denied.location)._replace(is_access=True)

    def returned(self, _index: int, stamped: Stamped, returned: Returned) -> Moment:
        group = f"{returned.operation} {self.name(returned.location)}"
        return _moment(stamped, "return", returned.location, group)

    def resident(self, index: int, stamped: Stamped, resident: Resident) -> Moment:
        where = f"{frame_name(resident.pfn)}, {version_name(resident.order)}"
        if resident.final:
            change = Change(self.name(resident.location), "", f"in {where}")
            told = _moment(stamped, "", resident.location, changes=(change,))
            return told._replace(is_final=True)
        changes = [self._remap(resident.location, where)]
        changes += self._still_held(index, resident)
        return _moment(stamped, "", resident.location, changes=tuple(changes))

    def stray(self, _index: int, stamped: Stamped, stray: Stray) -> Moment:
        return _moment(stamped, f"found the poison of {frame_name(stray.pfn)} broken", -1)

    def table_walk(self, _index: int, stamped: Stamped, walk: TableWalk) -> Moment:
        item = f"walked through {frame_name(walk.pfn)}, freed, as a level {walk.level} table"
        return _moment(stamped, item, -1)

    def invalidation(self, _index: int, stamped: Stamped, what: Invalidation) -> Moment:
        device = device_name(self._program, what)
        if what.size:
            self._itags[device, what.itag] = self._location_at(what.address, what.size)
        location = self._itags.get((device, what.itag), -1)
        page = self.name(location) or f"{what.address:#x}"
        group = f"invalidation of {page} at {device}, ITag {what.itag}"
        dropped = (Change(f"atc {device} {page}", "", "dropped"),)
        changes = dropped if what.state == "applied" and what.size else ()
        return _moment(stamped, what.state, location, group, changes)

    def fault(self, _index: int, stamped: Stamped, fault: Fault) -> Moment:
        wanted = "write" if fault.write else "read"
        gave_up = ", given up" if fault.exhausted else ""
        item = f"page request to {wanted} {self.name(fault.location)}: {fault.answer}{gave_up}"
        return _moment(stamped, item, fault.location)

    def synced(self, _index: int, stamped: Stamped, synced: Synced) -> Moment:
        return _moment(stamped, f"sync {self._program.columns[synced.target].name}", -1)

    def injected(self, _index: int, stamped: Stamped, injected: Injected) -> Moment:
        return _moment(stamped, f"~ {injected.kind}: {injected.detail}", -1)

    def _remap(self, location: int, now: str) -> Change:
        before = self._mapped.get(location, "")
        self._mapped[location] = now
        return Change(f"entry {self.name(location)}", before, now)

    def _still_held(self, index: int, resident: Resident) -> Iterator[Change]:
        """Devices that go on to use what they had cached before the entry was set."""
        told = set()
        for later, task, access in self._stale:
            is_of_old = access.location == resident.location and access.pfn != resident.pfn
            if later > index and is_of_old and task not in told:
                told.add(task)
                held = f"still {frame_name(access.pfn)}"
                yield Change(f"atc {task} {self.name(access.location)}", "", held)

    def _location_at(self, address: int, size: int) -> int:
        for location, declared in enumerate(self._program.locations):
            if address <= declared.va < address + size:
                return location
        return -1


def device_name(program: Program, told: Invalidation) -> str:
    """The name of an invalidation's device; some records have its number."""
    number = int(told.device) if told.device.isdigit() else -1
    return program.devices[number] if 0 <= number < len(program.devices) else told.device


def _mapped_at_first(records: Sequence[Stamped]) -> Iterator[tuple[int, int]]:
    """Frames that locations were mapped to before any entry changed, as far as accesses tell."""
    changed: set[int] = set()
    told: set[int] = set()
    for stamped in records:
        record = stamped.record
        if isinstance(record, Resident):
            changed.add(record.location)
        elif isinstance(record, Access):
            before = record.stale or record.location not in changed
            if before and record.location not in told:
                told.add(record.location)
                yield record.location, record.pfn


def _moment(
    stamped: Stamped, item: str, location: int, group: str = "", changes: tuple[Change, ...] = ()
) -> Moment:
    return Moment(
        stamped.task,
        group,
        item,
        location,
        is_access=False,
        is_wrong=False,
        is_final=False,
        changes=changes,
    )


_TELLERS: Final[dict[type, Any]] = {
    Step: _Teller.step,
    Access: _Teller.access,
    Denied: _Teller.denied,
    Returned: _Teller.returned,
    Resident: _Teller.resident,
    Stray: _Teller.stray,
    TableWalk: _Teller.table_walk,
    Invalidation: _Teller.invalidation,
    Fault: _Teller.fault,
    Synced: _Teller.synced,
    Injected: _Teller.injected,
}
