"""One reading of an instance's records: local findings, counts, and what the models will need.

A handler a type of record; nothing here decides a verdict. It is the inner loop of a live run's
judging, so a handler does the least that it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from shootdown_engine.walker import STALE_TABLE
from shootdown_protocol.board import limit_ceiling, limit_order
from shootdown_protocol.history import (
    Access,
    Denied,
    Ended,
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
from shootdown_protocol.program import MIRROR_DROPPED, MIRROR_OPERATION, Program
from shootdown_protocol.words import VERSION_BITS, VERSION_MAX
from shootdown_verify.check import protocol
from shootdown_verify.check.events import STORE, SYNC, Entry
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.local import CHECKS_OF
from shootdown_verify.judge.counters import Counters
from shootdown_verify.judge.outcome import DENIED

DEVICE_OPERATION: Final = "device"
"""What devices' steps give as their operation; any other is one of the kernel's."""


class Roles:
    """Which tasks of a program are devices' or mirrors' columns; which locations are racy."""

    __slots__ = ("devices", "names", "program", "racy")

    def __init__(self, program: Program) -> None:
        """Read the roles off the program."""
        self.program = program
        self.devices = frozenset(
            column.name for column in program.columns if column.device >= 0 or column.is_mirror
        )
        self.names = tuple(location.name for location in program.locations)
        self.racy = frozenset(i for i, place in enumerate(program.locations) if place.racy)


class Window:
    """The time from an operation's first step to its last."""

    __slots__ = ("begin", "end", "operation")

    def __init__(self, operation: str, begin: int, end: int) -> None:
        """Open a window with the first step."""
        self.operation = operation
        self.begin = begin
        self.end = end


class Thread:
    """Entries of one task in program order, with the place of each among the records."""

    __slots__ = ("entries", "records")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.entries: list[Entry] = []
        self.records: list[int] = []


class Scan:
    """What one reading of an instance's records has gathered."""

    __slots__ = (
        "accesses",
        "counters",
        "cut_off",
        "ended",
        "finals",
        "findings",
        "invalidations",
        "newest_epoch",
        "page_request_steps",
        "registers",
        "roles",
        "running",
        "threads",
        "windows",
    )

    def __init__(self, roles: Roles) -> None:
        """Begin with nothing read."""
        self.roles = roles
        self.counters = Counters()
        self.cut_off = ""
        self.findings: list[Finding] = []
        self.invalidations: list[tuple[int, Stamped]] = []
        self.page_request_steps: list[str] = []
        self.ended: set[int] = set()
        self.registers: dict[str, int | str] = {}
        self.finals: dict[str, int] = {}
        self.threads: dict[str, Thread] = {}
        self.windows: list[Window] = []
        self.running: dict[str, Window] = {}
        self.accesses: list[Stamped] = []
        self.newest_epoch: dict[int, int] = {}

    def thread(self, task: str) -> Thread:
        """A task's thread, made when it is first needed."""
        thread = self.threads.get(task)
        if thread is None:
            thread = self.threads[task] = Thread()
        return thread

    def is_overlapped(self) -> bool:
        """Whether a device's access took effect between an operation's first and last step."""
        return any(
            access.begin <= window.end and access.end >= window.begin
            for window in self.windows
            for access in self.accesses
        )

    def meet_epoch(self, location: int, epoch: int) -> None:
        """Note that an epoch of a location exists."""
        if epoch > self.newest_epoch.get(location, 0):
            self.newest_epoch[location] = epoch


def scan(records: Sequence[Stamped], roles: Roles) -> Scan:
    """Read an instance's records; those of one task must be in the order in which it made them."""
    result = Scan(roles)
    handlers = _HANDLERS
    for index, stamped in enumerate(records):
        record = stamped.record
        handlers[type(record)](result, index, stamped, record)
    return result


def _judge_locally(scan: Scan, index: int, stamped: Stamped, record: Any) -> Finding | None:  # noqa: ANN401
    """Ask the local checks; keep and return the first finding."""
    for check in CHECKS_OF[type(record)]:
        finding = check(record, scan.roles.program)
        if finding is not None:
            finding = msgspec.structs.replace(finding, task=stamped.task, index=index)
            scan.findings.append(finding)
            return finding
    return None


def _step(scan: Scan, _index: int, stamped: Stamped, step: Step) -> None:
    operation = step.operation
    if operation == DEVICE_OPERATION:
        if step.name == "walk":
            scan.counters.walks += 1
        elif step.name == "atc_miss":
            scan.counters.atc_misses += 1
        elif step.name == STALE_TABLE:
            scan.counters.atc_hits += 1
            scan.counters.stale_eligible_hits += 1
    elif step.name == MIRROR_DROPPED:
        scan.counters.stale_eligible_hits += 1
    elif operation and operation != MIRROR_OPERATION:
        task = stamped.task
        window = scan.running.get(task)
        if window is not None and window.operation == operation:
            window.end = stamped.end
        else:
            window = scan.running[task] = Window(operation, stamped.begin, stamped.end)
            scan.windows.append(window)
    elif stamped.task == protocol.PAGE_REQUEST_SERVER:
        scan.page_request_steps.append(step.name)


def _access(scan: Scan, index: int, stamped: Stamped, access: Access) -> None:
    task = stamped.task
    if task in scan.roles.devices:
        scan.accesses.append(stamped)
        if access.hit:
            scan.counters.atc_hits += 1
            scan.counters.stale_eligible_hits += access.stale
    if access.register and access.kind != STORE:
        scan.registers[f"{task}:{access.register}"] = access.value
    finding = _judge_locally(scan, index, stamped, access)
    if access.location in scan.roles.racy:
        scan.counters.unjudged_racy += access.kind != STORE
        return
    if access.order > VERSION_MAX:
        word = access.source if access.source >= 0 else access.location
        scan.meet_epoch(word, access.order >> VERSION_BITS)
    if finding is None or finding.check not in {"S1", "S4"}:
        ceiling = limit_ceiling(access.limit) if access.source != access.location else None
        thread = scan.thread(task)
        thread.records.append(index)
        thread.entries.append(
            Entry(
                access.kind,
                access.location,
                access.source,
                access.order,
                -1 if ceiling is None else ceiling,
            )
        )


def _denied(scan: Scan, _index: int, stamped: Stamped, denied: Denied) -> None:
    scan.counters.denied += 1
    if denied.register and denied.kind == Kind.LOAD:
        scan.registers[f"{stamped.task}:{denied.register}"] = DENIED


def _returned(scan: Scan, _index: int, stamped: Stamped, returned: Returned) -> None:
    window = scan.running.pop(stamped.task, None)
    if window is not None:
        window.end = stamped.end
    scan.meet_epoch(returned.location, limit_order(returned.limit) >> VERSION_BITS)


def _resident(scan: Scan, index: int, stamped: Stamped, resident: Resident) -> None:
    _judge_locally(scan, index, stamped, resident)
    if resident.final and resident.order >= 0:
        scan.finals[scan.roles.names[resident.location]] = resident.value
    if resident.location in scan.roles.racy:
        scan.counters.unjudged_racy += 1
    elif resident.order > VERSION_MAX:
        scan.meet_epoch(resident.source, resident.order >> VERSION_BITS)


def _invalidation(scan: Scan, index: int, stamped: Stamped, invalidation: Invalidation) -> None:
    scan.invalidations.append((index, stamped))
    if invalidation.state == "sent":
        scan.counters.invalidations_sent += 1
    elif invalidation.state == "completed":
        scan.counters.invalidations_completed += 1
    elif invalidation.state in protocol.WRONG:
        _judge_locally(scan, index, stamped, invalidation)


def _fault(scan: Scan, index: int, stamped: Stamped, fault: Fault) -> None:
    scan.counters.page_requests += 1
    _judge_locally(scan, index, stamped, fault)


def _ended(scan: Scan, _index: int, _stamped: Stamped, ended: Ended) -> None:
    scan.ended.add(ended.column)


def _injected(scan: Scan, _index: int, _stamped: Stamped, injected: Injected) -> None:
    if injected.cut_off:
        scan.cut_off = f"{injected.kind}: {injected.target} {injected.detail}"


def _synced(scan: Scan, index: int, stamped: Stamped, synced: Synced) -> None:
    thread = scan.thread(stamped.task)
    thread.records.append(index)
    thread.entries.append(Entry(SYNC, synced.target))


_HANDLERS: Final[dict[type, Callable[[Scan, int, Stamped, Any], object]]] = {
    Step: _step,
    Access: _access,
    Denied: _denied,
    Returned: _returned,
    Resident: _resident,
    Stray: _judge_locally,
    TableWalk: _judge_locally,
    Invalidation: _invalidation,
    Fault: _fault,
    Ended: _ended,
    Synced: _synced,
    Injected: _injected,
}
