"""The graded tests: each a program of one column, and what an agent must do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from shootdown_cli.conformance.process import DEVICE, NAME, TOKEN, Connection, Failed
from shootdown_cli.conformance.session import PAUSE, Session, load, place, store
from shootdown_protocol import limits, messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fault_messages import RESENDS, Resend
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.messages import InvalidateFlag, PageResponseCode
from shootdown_protocol.program import State

A, B = 0, 1
REFUSED = 2
"""An instruction whose access the kernel refuses."""
ITAG = 5
LARGE_SHIFT = 21
EVERYTHING = 1 << 51
"""Pages of the range that is all addresses of a process."""
_BEGINNINGS = (remote.TranslationRequest, remote.AccessRequest)
Test = Callable[[Connection, int], None]


def handshake(connection: Connection, number: int) -> None:
    """Load a program, warm what it says, answer, and unload it."""
    hello = connection.greet() if connection.hello is None else connection.hello
    if (hello.token, hello.name, hello.serves) != (TOKEN, NAME, (DEVICE,)):
        raise Failed(f"its Hello says {hello}; expected what SHOOTDOWN_TOKEN, _NAME, _DEVICE say")
    session = Session(connection, number, (), (place(0),), warm=(A,))
    session.load()
    session.take(remote.BatchWarm, "after BatchBegin")
    unloaded = session.unload()
    if unloaded.program_number != number:
        raise Failed(f"it unloaded program {unloaded.program_number}; expected {number}")


def translate(connection: Connection, number: int) -> None:
    """Translate a page, access it through what was answered, store through it, and end."""
    session = Session(connection, number, (load(A), store(B), load(A)), (place(0), place(1)))
    session.begin()
    for line in range(3):
        session.access(line)
    session.finish()


def invalidate_page(connection: Connection, number: int) -> None:
    """Use a page's old translation no more, once its invalidation has been completed."""
    session = Session(connection, number, (load(A), PAUSE, load(A)), (place(0),), warm=(A,))
    session.begin()
    session.access(0)
    session.remap(A)
    session.invalidate(A)
    session.completed("after Invalidate")
    session.proceed()
    session.access(2)
    session.finish()


def invalidate_range(connection: Connection, number: int) -> None:
    """Drop every page of a range, not only its first."""
    loads = tuple(load(at, f"r{at}") for at in (0, 1, 2, 3))
    places = tuple(place(at) for at in (0, 1, 2, 3))
    session = Session(connection, number, (*loads, PAUSE, *loads), places)
    session.begin()
    for line in range(4):
        session.access(line)
    session.remap(0, 1, 2, 3)
    session.invalidate(A, pages=4)
    session.completed("after Invalidate")
    session.proceed()
    for line in range(5, 9):
        session.access(line)
    session.finish()


def invalidate_within_larger_page(connection: Connection, number: int) -> None:
    """Drop a translation of 2 MiB when one of its 4 KiB pages is named."""
    large = place(0, state=State.HUGE)
    session = Session(connection, number, (load(A), PAUSE, load(A)), (large,))
    session.shift = LARGE_SHIFT
    session.begin()
    session.access(0)
    session.remap(A)
    session.shift = PAGE_SHIFT
    session.invalidate(A)
    session.completed("after Invalidate")
    session.proceed()
    session.access(2)
    session.finish()


def invalidate_global(connection: Connection, number: int) -> None:
    """Drop all of every PASID when the global bit is set."""
    loads = load(0), load(1, "r1")
    session = Session(connection, number, (*loads, PAUSE, *loads), (place(0), place(1, mm=1)))
    session.begin()
    session.access(0)
    session.access(1)
    session.remap(0, 1)
    session.invalidate(A, pages=EVERYTHING, flags=InvalidateFlag.GLOBAL)
    session.completed("after a global Invalidate")
    session.proceed()
    session.access(3)
    session.access(4)
    session.finish()


def wrong_pasid(connection: Connection, number: int) -> None:
    """Keep translations of one address in two PASIDs apart, when used and when invalidated."""
    loads = load(0), load(1, "r1")
    places = place(0, page=0), place(1, mm=1, page=0)
    session = Session(connection, number, (*loads, PAUSE, *loads), places)
    session.begin()
    session.access(0)
    session.access(1)
    session.remap(1)
    session.invalidate(1)
    session.completed("after Invalidate")
    session.proceed()
    session.access(3)
    session.access(4)
    session.finish()


def invalidate_during_walk(connection: Connection, number: int) -> None:
    """Neither use nor keep what a translation finds that an invalidation has overtaken."""
    session = Session(connection, number, (load(A), PAUSE, load(A)), (place(0),))
    session.holds.add(remote.TranslationRequest)
    session.begin()
    asked = session.take(remote.TranslationRequest)
    old = session.pages[A]
    session.remap(A)
    session.invalidate(A)
    completed = session.find(messages.ItagCompletion)
    session.holds.clear()
    session.answer(asked, old)
    if completed is None:
        session.completed("after Invalidate and the translation's answer")
    session.access(0)
    session.proceed()
    session.access(2)
    session.finish()


def invalidate_during_access(connection: Connection, number: int) -> None:
    """Complete an invalidation only when accesses through what it drops are over."""
    session = Session(connection, number, (load(A),), (place(0),), warm=(A,))
    session.holds.add(remote.AccessRequest)
    session.begin()
    access = session.access(0)
    session.invalidate(A)
    if session.find(messages.ItagCompletion) is not None:
        raise Failed("it completed an invalidation while an access through the page was under way")
    session.finish_access(access)
    session.completed("after the access was over")
    session.finish()


def invalidate_during_page_request(connection: Connection, number: int) -> None:
    """Complete an invalidation although a translation waits for a page response.

    The response may wait for a lock whose holder waits for the completion.
    """
    session = Session(connection, number, (load(A),), (place(0),))
    session.pages[A] = None
    session.begin()
    asked = session.take(messages.PageRequest)
    session.invalidate(A)
    session.completed("while a page request was open: a deadlock")
    session.remap(A)
    session.respond(asked, PageResponseCode.SUCCESS)
    session.access(0)
    session.finish()


def page_requests(connection: Connection, number: int) -> None:
    """Ask for a page that is not there, translate anew when told so, give up what is refused."""
    session = Session(connection, number, (load(A), store(B), load(2)), tuple(map(place, range(3))))
    session.pages[A] = session.pages[2] = None
    session.read_only.add(B)
    session.begin()
    asked = session.take(messages.PageRequest, "for a page that is not mapped")
    _expect(session, asked, A, write=False)
    session.remap(A)
    session.respond(asked, PageResponseCode.SUCCESS)
    session.access(0)
    asked = session.take(messages.PageRequest, "for a store to a page that is read-only")
    _expect(session, asked, B, write=True)
    session.respond(asked, PageResponseCode.SUCCESS)
    asked = session.take(messages.PageRequest, "after a SUCCESS that had changed nothing")
    _expect(session, asked, B, write=True)
    session.read_only.clear()
    session.remap(B)
    session.respond(asked, PageResponseCode.SUCCESS)
    session.access(1)
    asked = session.take(messages.PageRequest, "for a page that is not mapped")
    session.respond(asked, PageResponseCode.INVALID)
    refused = session.take(remote.AccessGivenUp, "after the response INVALID")
    if refused.retried or refused.line != REFUSED:
        raise Failed(f"it gave up {refused}; expected instruction {REFUSED}, not retried")
    session.finish()


def _expect(session: Session, asked: messages.PageRequest, location: int, *, write: bool) -> None:
    if session.location_of(asked) != location or not asked.last:
        raise Failed(
            f"it sent {asked}; expected one for {session.program.locations[location].name}"
        )
    if write and not asked.write:
        raise Failed("its page request for a store does not ask to write")


def completions(connection: Connection, number: int) -> None:
    """Complete exactly the ITag that was sent, exactly once, and say how many it gets."""
    session = Session(connection, number, (load(A), PAUSE), (place(0),))
    session.begin()
    session.access(0)
    session.invalidate(A, itag=ITAG)
    got = session.all_of(messages.ItagCompletion)
    due = (got[0].count or 8) if got else 1
    if [(each.itags, each.count or 8) for each in got] != [(1 << ITAG, due)] * due:
        seen = ", ".join(f"{each.itags:#x} count {each.count}" for each in got) or "none"
        raise Failed(
            f"completions of ITags {seen}; expected {1 << ITAG:#x} count {due}, {due} times"
        )
    session.proceed()
    session.finish()


def completion_vector(connection: Connection, number: int) -> None:
    """Complete no request because another one that came with it is complete."""
    session = Session(connection, number, (load(A), PAUSE), (place(0), place(1)), warm=(A, B))
    session.holds.add(remote.AccessRequest)
    session.begin()
    access = session.access(0)
    requests = session.request(B, itag=ITAG), session.request(A, itag=2)
    connection.send(messages.Invalidate(0, requests))
    early = [each for each in session.all_of(messages.ItagCompletion) if each.itags & 1 << 2]
    if early:
        raise Failed(f"it completed ITags {early[0].itags:#x} while an access held up ITag 2")
    session.finish_access(access)
    session.completed("after the access was over")
    session.proceed()
    session.finish()


def back_pressure(connection: Connection, number: int) -> None:
    """Complete as many invalidations as there are ITags, sent while an access is under way."""
    session = Session(connection, number, (load(A), PAUSE), (place(0),), warm=(A,))
    session.holds.add(remote.AccessRequest)
    session.begin()
    access = session.access(0)
    for itag in range(limits.ITAGS):
        session.invalidate(A, itag=itag)
    session.finish_access(access)
    counted = dict.fromkeys(range(limits.ITAGS), 0)
    for completion in session.all_of(messages.ItagCompletion):
        for itag in range(limits.ITAGS):
            counted[itag] += completion.itags >> itag & 1
    missing = [itag for itag, count in counted.items() if not count]
    if missing:
        raise Failed(
            f"{len(missing)} of {limits.ITAGS} ITags were not completed, {missing[0]} first"
        )
    session.proceed()
    session.finish()


def duplicate_messages(connection: Connection, number: int) -> None:
    """Obey no message a second time, none that is unknown, and go on."""
    session = Session(connection, number, (load(A), PAUSE), (place(0),))
    session.begin()
    session.access(0)
    session.invalidate(A, itag=ITAG)
    session.completed("after Invalidate")
    session.all_of(messages.ItagCompletion)
    again = connection.sent
    session.invalidate(A, itag=ITAG)
    session.completed("after Invalidate")
    session.all_of(messages.ItagCompletion)
    session.invalidate(A, itag=ITAG, sequence=again)
    if session.find(messages.ItagCompletion) is not None:
        raise Failed("it obeyed an Invalidate that came a second time")
    connection.send_bytes(msgspec.msgpack.encode([99, connection.sent]))
    response = messages.PageResponse(0, session.pasids[0], 7, PageResponseCode.SUCCESS)
    connection.send(messages.PageResponses(0, (response,)))
    session.proceed()
    session.finish()


def lost_messages(connection: Connection, number: int) -> None:
    """Drop all that is cached when messages are missing, and report it or ask for them.

    One that asks obeys them when they are sent again, and one that reports does not: they are late.
    """
    session = Session(connection, number, (load(A), PAUSE, load(A)), (place(0),), warm=(A,))
    session.begin()
    session.access(0)
    session.remap(A)
    late = connection.sent
    connection.send(messages.Heartbeat(0, 0), sequence=late + 3)
    if connection.hello is not None and RESENDS in connection.hello.capabilities:
        asked = session.take(Resend, "when messages were missing")
        if asked.first != late:
            raise Failed(f"it asked for message {asked.first} when {late} was missing")
        connection.sent = late
        session.invalidate(A, itag=ITAG)
        session.completed("after an Invalidate that was lost has been sent again")
    else:
        if not session.reported(ErrorCode.SEQUENCE_GAP):
            raise Failed("no ErrorReport with sequence-gap when messages were missing")
        session.invalidate(A, itag=ITAG, sequence=late)
        if session.find(messages.ItagCompletion) is not None:
            raise Failed("it obeyed an Invalidate that came behind its successors")
    session.proceed()
    session.access(2)
    session.finish()


def detach(connection: Connection, number: int) -> None:
    """Begin nothing, finish what is under way, say so; and end when the daemon does."""
    session = Session(connection, number, (load(A), load(B)), (place(0), place(1)))
    session.holds.add(remote.AccessRequest)
    session.begin()
    access = session.access(0)
    connection.send(messages.Detach(0, (0,), "the test"))
    if session.find(messages.DetachDone) is not None:
        raise Failed("it said DetachDone while an access was under way")
    session.finish_access(access)
    session.take(messages.DetachDone, "after the access was over")
    said = len(session.seen)
    session.all_of(remote.AccessRequest)
    if any(type(each) in _BEGINNINGS for each in session.seen[said:]):
        raise Failed("it began an access after it had been told to detach")
    session.unload()
    connection.send(messages.Goodbye(0, "the tests are over"))
    status = connection.has_ended()
    if status != 0:
        how = "did not end" if status is None else f"ended with status {status}"
        raise Failed(f"it {how} after Goodbye; expected status 0")


TESTS: Final[dict[str, Test]] = {
    test.__name__: test
    for test in (
        handshake,
        translate,
        invalidate_page,
        invalidate_range,
        invalidate_within_larger_page,
        invalidate_global,
        wrong_pasid,
        invalidate_during_walk,
        invalidate_during_access,
        invalidate_during_page_request,
        page_requests,
        completions,
        completion_vector,
        back_pressure,
        duplicate_messages,
        lost_messages,
        detach,
    )
}
"""In the order in which they are run, the simplest first."""
