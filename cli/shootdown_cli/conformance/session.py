"""One test's program at the agent: what it asks is answered from a small memory, or held back."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from shootdown_cli.conformance.process import Connection, Failed
from shootdown_protocol import messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.ats_range import encode
from shootdown_protocol.board import BOARD_FIXED
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fault_messages import Resend
from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE
from shootdown_protocol.program import Column, Instruction, Location, Op, Program, State, Warm

VA = 0x7000_0000_0000
FIRST_PASID = 0x21
FIRST_PAGE = 0x10_0040
SLOT = 1
INSTANCE = 5
COLUMN = 1
"""The device's column; column 0 is a CPU's, whose end lets the device's go on."""

Element = (
    remote.TranslationRequest
    | remote.AccessRequest
    | remote.ColumnWait
    | remote.ColumnEnd
    | remote.AccessGivenUp
    | remote.BatchWarm
    | remote.BatchDone
    | messages.PageRequest
    | messages.ItagCompletion
    | messages.ErrorReport
    | Resend
    | messages.DetachDone
    | messages.ProgramUnloaded
    | messages.Detach
    | messages.Goodbye
)
E = TypeVar("E", bound=Element)


def load(location: int, register: str = "r0") -> Instruction:
    """``load LOCATION REGISTER``."""
    return Instruction(Op.LOAD, location, register=register)


def store(location: int, value: int = 1) -> Instruction:
    """``store LOCATION VALUE``."""
    return Instruction(Op.STORE, location, value)


PAUSE = Instruction(Op.AWAIT, target=0)
"""The column waits until the test lets it go on."""


def place(number: int, mm: int = 0, page: int | None = None, state: State = State.RW) -> Location:
    """The location of a number: a page of its own, or ``page``, of an address space."""
    va = VA + (number if page is None else page) * PAGE_SIZE
    return Location(f"L{number}", mm, va, state, 0, 0)


class Session:
    """A program at the agent; ``pages`` maps locations to page numbers, None where none is mapped.

    ``holds`` are kinds of request that are not answered by themselves.
    """

    def __init__(
        self,
        connection: Connection,
        number: int,
        instructions: tuple[Instruction, ...],
        locations: tuple[Location, ...],
        warm: tuple[int, ...] = (),
    ) -> None:
        """Send nothing yet."""
        self.connection = connection
        self.number = number
        mms = max(location.mm for location in locations) + 1
        self.program = Program(
            name="conformance",
            summary="One device, whose agent is under test.",
            mms=tuple(f"mm{mm}" for mm in range(mms)),
            devices=("DEV0",),
            locations=locations,
            columns=(Column("CPU0", -1, 0, ()), Column("DEV0", 0, -1, instructions)),
            warm=tuple(Warm(0, location) for location in warm),
            speculation=(),
            bound=(),
        )
        self.pasids = tuple(FIRST_PASID + 4 * number + mm for mm in range(mms))
        self.pages: dict[int, int | None] = {
            location: FIRST_PAGE + location for location in range(len(locations))
        }
        self.shift = PAGE_SHIFT
        self.read_only: set[int] = set()
        self.values: dict[int, int] = {}
        self.holds: set[type[Element]] = set()
        self.seen: list[Element] = []
        self._pending: deque[Element] = deque()

    # The program's life

    def begin(self) -> None:
        """Load the program, let the agent warm its caches, and start the one instance."""
        self.load()
        self.take(remote.BatchWarm)
        self.go()

    def load(self) -> None:
        """Load the program and announce its one batch."""
        self.connection.send(
            messages.LoadProgram(0, self.number, self.program, BOARD_FIXED, 2, (0,), "")
        )
        slot = messages.BatchSlot(SLOT, INSTANCE, (0,), self.pasids)
        self.connection.send(messages.BatchBegin(0, self.number, 1, 1, 2, (slot,)))

    def go(self) -> None:
        """Let the batch run."""
        self.connection.send(messages.BatchGo(0, 1))
        self.connection.send(remote.SlotsStarted(0, 1, 1, (SLOT,)))

    def finish(self) -> None:
        """Let the column run to its end, and unload the program."""
        self.holds.clear()
        self.take(remote.ColumnEnd)
        self.take(remote.BatchDone)
        self.unload()

    def unload(self) -> messages.ProgramUnloaded:
        """Unload the program."""
        self.connection.send(messages.UnloadProgram(0, self.number))
        return self.take(messages.ProgramUnloaded)

    def proceed(self) -> None:
        """Let the column go on that waits for its `PAUSE`."""
        wait = self.take(remote.ColumnWait)
        self.connection.send(remote.Proceed(0, (wait.tag,)))

    # What comes

    def take(self, kind: type[E], within: str = "") -> E:
        """The next element of a kind; fails when the agent would wait for ever instead."""
        found = self.find(kind)
        if found is None:
            after = f" {within}" if within else ""
            raise Failed(f"no {kind.__name__}{after}; it sent {self._last()}")
        return found

    def find(self, kind: type[E]) -> E | None:
        """The next element of a kind, or None once nothing more is to be expected."""
        while True:
            for element in self._pending:
                if isinstance(element, kind):
                    self._pending.remove(element)
                    return element
            message = self.connection.receive()
            if message is None:
                return None
            for element in _elements(message):
                self.seen.append(element)
                if not self._answer(element):
                    self._pending.append(element)

    def all_of(self, kind: type[E]) -> list[E]:
        """Every element of a kind that has come or comes before nothing more is to be expected."""
        found = []
        while (element := self.find(kind)) is not None:
            found.append(element)
        return found

    # Answers

    def _answer(self, element: Element) -> bool:
        if type(element) in self.holds:
            return False
        if isinstance(element, remote.TranslationRequest):
            self.answer(element)
        elif isinstance(element, remote.AccessRequest):
            self.finish_access(element)
        return isinstance(element, remote.TranslationRequest)

    def location_of(self, request: remote.TranslationRequest | messages.PageRequest) -> int:
        """The location that a request is about; fails when it is none of the agent's."""
        for index, location in enumerate(self.program.locations):
            if (self.pasids[location.mm], location.va) == (request.pasid, request.address):
                return index
        where = f"PASID {request.pasid:#x}, address {request.address:#x}"
        raise Failed(f"a {type(request).__name__} of {where}, which nobody has named to it")

    def answer(self, request: remote.TranslationRequest, page: int | None = None) -> None:
        """Answer a translation request from what is mapped now, or with another page."""
        location = self.location_of(request)
        found = self.pages[location] if page is None else page
        writable = found is not None and location not in self.read_only
        completion = remote.TranslationCompletion(
            request.tag, found or 0, self.shift, found is not None, writable
        )
        self.connection.send(remote.TranslationCompletions(0, (completion,)))

    def finish_access(self, request: remote.AccessRequest) -> None:
        """Make an access; whether its page was right is for the test to say."""
        value = self.values.get(request.page, 0)
        self.connection.send(
            remote.AccessAnswers(0, (remote.AccessAnswer(request.tag, True, value),))
        )

    # Accesses

    def access(self, line: int) -> remote.AccessRequest:
        """The access of an instruction, through the page that is mapped."""
        request = self.take(remote.AccessRequest, f"of instruction {line}")
        where = (request.slot, request.column, request.line)
        if where != (SLOT, COLUMN, line):
            expected = f"slot {SLOT}, column {COLUMN}, instruction {line}"
            raise Failed(f"an access of slot, column, instruction {where}; expected {expected}")
        location = self.program.columns[COLUMN].instructions[line].location
        mapped = self.pages[location]
        if request.page != mapped:
            raise Failed(
                f"instruction {line} was made through page {request.page:#x}, when "
                f"{self.program.locations[location].name} lay in {mapped or 0:#x}"
            )
        return request

    # Invalidations

    def remap(self, *locations: int) -> None:
        """Move locations to other pages, as the kernel does before it invalidates."""
        for location in locations:
            self.pages[location] = (self.pages[location] or FIRST_PAGE) + 0x100

    def invalidate(
        self,
        location: int,
        *,
        pages: int = 1,
        itag: int = 0,
        flags: int = 0,
        sequence: int | None = None,
    ) -> None:
        """Send one invalidate request for so many pages around a location."""
        request = self.request(location, pages=pages, itag=itag, flags=flags)
        self.connection.send(messages.Invalidate(0, (request,)), sequence)

    def request(
        self, location: int, *, pages: int = 1, itag: int = 0, flags: int = 0
    ) -> messages.InvalidateRequest:
        """An invalidate request for so many pages around a location."""
        place = self.program.locations[location]
        size = pages * PAGE_SIZE
        return messages.InvalidateRequest(
            device=0,
            itag=itag,
            pasid=self.pasids[place.mm],
            address=encode(place.va // size * size, size),
            flags=flags,
            instance=INSTANCE,
        )

    def completed(self, when: str) -> messages.ItagCompletion:
        """A completion, of whatever ITag."""
        return self.take(messages.ItagCompletion, when)

    def respond(self, request: messages.PageRequest, code: messages.PageResponseCode) -> None:
        """Answer the page request that closed a group."""
        response = messages.PageResponse(0, request.pasid, request.prgi, code)
        self.connection.send(messages.PageResponses(0, (response,)))

    def reported(self, code: ErrorCode) -> bool:
        """Whether the agent has reported this, or does before it waits for more."""
        return any(report.code is code for report in self.all_of(messages.ErrorReport))

    def _last(self) -> str:
        names = [type(element).__name__ for element in self.seen[-3:]]
        return ", then ".join(names) or "nothing"


def _elements(message: messages.DeviceToDaemon) -> tuple[Element, ...]:
    if isinstance(
        message, remote.TranslationRequests | remote.AccessRequests | messages.PageRequests
    ):
        return message.requests
    if isinstance(message, remote.ColumnWaits):
        return message.waits
    if isinstance(message, remote.ColumnsEnded):
        return message.columns
    if isinstance(message, messages.InvalidateCompletion):
        return message.completions
    return (message,) if isinstance(message, Element) else ()
