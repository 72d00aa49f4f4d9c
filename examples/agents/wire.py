"""A device agent written from docs/protocol.md alone: pyzmq, msgpack, and nothing of shootdown's.

It has no shared memory: translations and accesses are messages. Attach it to a running testbed,

    shootdown attach --exec "python3 examples/agents/wire.py {endpoint}" --as DEV0

or grade it,

    shootdown conformance --exec "python3 examples/agents/wire.py {endpoint}"

With ``--key FILE`` it attaches to a testbed of another host, encrypted.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]
import zmq

VERSION = 1
HELLO, WELCOME, REFUSED, LOAD_PROGRAM, UNLOAD_PROGRAM, PROGRAM_UNLOADED = 1, 2, 3, 4, 5, 6
BATCH_BEGIN, BATCH_GO, BATCH_WARM, BATCH_DONE, SLOTS_STARTED = 7, 8, 9, 10, 11
INVALIDATE, INVALIDATE_COMPLETION, PAGE_REQUESTS, PAGE_RESPONSES = 16, 17, 18, 19
HEARTBEAT, HEARTBEAT_REPLY, DETACH, DETACH_DONE, ERROR_REPORT, GOODBYE = 24, 25, 26, 27, 28, 29
TRANSLATION_REQUESTS, TRANSLATION_COMPLETIONS, ACCESS_REQUESTS, ACCESS_ANSWERS = 32, 33, 34, 35
COLUMN_WAITS, PROCEED, COLUMNS_ENDED, ACCESS_GIVEN_UP = 36, 37, 38, 39
LOAD, STORE, PREFETCH, AWAIT, SYNC = 1, 2, 3, 4, 5
GLOBAL = 1
SUCCESS = 0
UNKNOWN_MESSAGE, SEQUENCE_GAP, SEQUENCE_REPEATED = 106, 121, 122
FAULTS_MAX = 16
WELCOME_S = 10.0
"""How long the daemon may be silent before it has said how long."""
EVERYTHING = 0x7FFF_FFFF_FFFF_F800

Body = Generator[None, Any, None]
Key = tuple[int, int]
"""PASID and page number."""
Fields = list[Any]
"""What a message holds, as it came."""


@dataclass
class Thread:
    """A column, prefetcher or warmer: a generator that waits for one answer at a time.

    ``translating`` and ``accessing`` are the PASID and page that it has under way; ``cancelled``
    says that an invalidation has overtaken the translation.
    """

    body: Body | None = None
    translating: Key | None = None
    accessing: Key | None = None
    cancelled: bool = False


@dataclass
class Pending:
    """An invalidation that waits for accesses to be over."""

    device: int
    itag: int
    waits_for: list[Thread]


@dataclass
class Named:
    """What an invalidation names: pages of one PASID, or of all when that is None."""

    pasid: int | None
    first: int
    pages: int

    def __contains__(self, key: Key | None) -> bool:
        """Whether a page of a PASID is among them; None, no page, is not."""
        if key is None or (self.pasid is not None and key[0] != self.pasid):
            return False
        return self.first <= key[1] < self.first + self.pages


@dataclass
class Batch:
    """One batch: devices played in each slot and PASIDs, and how much of it has not ended."""

    number: int
    slots: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)
    warming: int = 0
    running: int = 0


class Agent:
    """One agent on one connection."""

    def __init__(self, endpoint: str) -> None:
        """Connect and say hello."""
        self.socket = zmq.Context().socket(zmq.DEALER)
        server_key = os.environ.get("SHOOTDOWN_SERVER_KEY", "")
        if server_key:
            self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
            self.socket.curve_serverkey = server_key.encode()
        self.socket.connect(endpoint)
        self.heard_s, self.limit_s = time.monotonic(), WELCOME_S
        self.sent = self.expected = self.tag = 0
        self.program: dict[str, Any] = {}
        self.program_number = 0
        self.cache: dict[Key, tuple[int, bool]] = {}
        self.waiting: dict[tuple[str, int], Thread] = {}
        self.threads: list[Thread] = []
        self.invalidations: list[Pending] = []
        self.batches: list[Batch] = []
        self.detaching: list[int] | None = None
        name, device = os.environ["SHOOTDOWN_NAME"], os.environ["SHOOTDOWN_DEVICE"]
        token = os.environ["SHOOTDOWN_TOKEN"]
        self.send(HELLO, VERSION, token, name, os.getpid(), [], [device])

    def send(self, tag: int, *fields: object) -> None:
        """Number a message and send it."""
        data = msgpack.packb([tag, self.sent, *fields])
        assert isinstance(data, bytes)
        self.socket.send(data)
        self.sent += 1

    # What a thread does

    def new_tag(self) -> int:
        """A tag that no request has which is under way."""
        self.tag = (self.tag + 1) % (1 << 32)
        return self.tag

    def ask(self, thread: Thread, kind: str, number: int) -> None:
        """Let a thread wait for an answer."""
        self.waiting[kind, number] = thread

    def translate(self, thread: Thread, device: int, pasid: int, va: int, *, write: bool) -> Body:
        """Ask for a translation and keep it; what it was stands in ``cache``, or it is a fault."""
        page = va >> 12 << 12
        thread.translating, thread.cancelled = (pasid, page >> 12), False
        tag = self.new_tag()
        self.send(TRANSLATION_REQUESTS, [[tag, device, pasid, page, write]])
        self.ask(thread, "translation", tag)
        found, _shift, may_read, may_write = yield
        thread.translating = None
        if not thread.cancelled and may_read:
            self.cache[pasid, page >> 12] = (found, may_write)

    def access(self, thread: Thread, slot: int, column: int, line: int, pasids: list[int]) -> Body:
        """Make the load or store of one instruction: look up, translate on a miss, access."""
        device = self.program["columns"][column]["device"]
        instruction = self.program["columns"][column]["instructions"][line]
        place = self.program["locations"][instruction["location"]]
        pasid, va = pasids[place["mm"]], place["va"]
        write = instruction["op"] == STORE
        for _ in range(FAULTS_MAX):
            entry = self.cache.get((pasid, va >> 12))
            hit = entry is not None and (entry[1] or not write)
            if not hit:
                yield from self.translate(thread, device, pasid, va, write=write)
                if thread.cancelled:
                    continue
                entry = self.cache.get((pasid, va >> 12))
                if entry is None or (write and not entry[1]):
                    prgi = next(n for n in range(512) if ("response", n) not in self.waiting)
                    request = [device, pasid, va >> 12 << 12, prgi, True, not write, write]
                    self.send(PAGE_REQUESTS, [request])
                    self.ask(thread, "response", prgi)
                    if (yield) != SUCCESS:
                        self.send(ACCESS_GIVEN_UP, slot, column, line, False)
                        return
                    continue
            assert entry is not None
            thread.accessing = (pasid, va >> 12)
            tag = self.new_tag()
            self.send(ACCESS_REQUESTS, [[tag, slot, column, line, entry[0], hit]])
            self.ask(thread, "access", tag)
            yield
            thread.accessing = None
            self.complete()
            return
        self.send(ACCESS_GIVEN_UP, slot, column, line, True)

    def column(self, thread: Thread, batch: Batch, slot: int, column: int) -> Body:
        """Run a column from its first instruction to its last."""
        _, pasids = batch.slots[slot]
        declared = self.program["columns"][column]
        for line, instruction in enumerate(declared["instructions"]):
            if instruction["op"] in (AWAIT, SYNC) or instruction["when"]:
                tag = self.new_tag()
                self.send(COLUMN_WAITS, [[tag, slot, column, line]])
                self.ask(thread, "wait", tag)
                yield
            if self.detaching is not None:
                return
            if instruction["op"] in (LOAD, STORE):
                yield from self.access(thread, slot, column, line, pasids)
            elif instruction["op"] == PREFETCH:
                place = self.program["locations"][instruction["location"]]
                pasid, write = pasids[place["mm"]], instruction["write_intent"]
                yield from self.translate(
                    thread, declared["device"], pasid, place["va"], write=write
                )
        self.send(COLUMNS_ENDED, [[slot, column]])
        batch.running -= 1
        if not batch.running:
            self.send(BATCH_DONE, batch.number)

    def warm(
        self, thread: Thread, batch: Batch, pasids: list[int], declared: dict[str, int]
    ) -> Body:
        """Fill the cache with what the program says that it holds when an instance begins."""
        place = self.program["locations"][declared["location"]]
        pasid = pasids[place["mm"]]
        device, write = declared["device"], bool(declared["write_intent"])
        yield from self.translate(thread, device, pasid, place["va"], write=write)
        batch.warming -= 1
        self.say_warm()

    def start(self, make: Callable[..., Body], *arguments: object) -> None:
        """Start a thread and run it up to its first answer."""
        thread = Thread()
        thread.body = make(thread, *arguments)
        self.threads.append(thread)
        self.resume(thread, None)

    def resume(self, thread: Thread, answer: object) -> None:
        """Hand a thread what it waits for."""
        assert thread.body is not None
        try:
            thread.body.send(answer)
        except StopIteration:
            self.threads.remove(thread)

    def answer(self, kind: str, number: int, answer: object) -> None:
        """An answer has come; one that nobody waits for is passed over."""
        thread = self.waiting.pop((kind, number), None)
        if thread is not None:
            self.resume(thread, answer)

    # What the daemon says

    def load(self, fields: Fields) -> None:
        """Take a program; nothing of the one before is kept."""
        self.program_number, self.program, *_ = fields
        self.cache.clear()
        self.waiting.clear()
        self.threads.clear()
        self.batches.clear()
        self.detaching = None

    def begin(self, _program: int, number: int, _seed: int, _window: int, slots: Fields) -> None:
        """Make a batch ready: forget what its PASIDs had, and warm."""
        batch = Batch(number)
        self.batches.append(batch)
        for slot, _instance, devices, pasids in slots:
            batch.slots[slot] = (devices, pasids)
            for key in [key for key in self.cache if key[0] in pasids]:
                del self.cache[key]
            columns = [c for c in self.program["columns"] if c["device"] in devices]
            batch.running += len(columns)
            batch.warming += sum(w["device"] in devices for w in self.program["warm"])
        for _slot, _instance, devices, pasids in slots:
            for declared in self.program["warm"]:
                if declared["device"] in devices:
                    self.start(self.warm, batch, pasids, declared)
        self.say_warm()

    def say_warm(self) -> None:
        """Say which batches are warm, in their order."""
        for batch in self.batches:
            if batch.warming > 0:
                return
            if batch.warming == 0:
                batch.warming = -1
                self.send(BATCH_WARM, batch.number)

    def go(self, number: int) -> None:
        """A batch runs; without a column of ours it is over at once."""
        for batch in self.batches:
            if batch.number == number and not batch.running:
                self.send(BATCH_DONE, number)

    def started(self, number: int, _clock: int, slots: list[int]) -> None:
        """Instances have begun: so may our columns in them."""
        batch = next(batch for batch in self.batches if batch.number == number)
        self.batches = [each for each in self.batches if each.number >= number]
        for slot in slots:
            for index, column in enumerate(self.program["columns"]):
                if column["device"] in batch.slots[slot][0]:
                    self.start(self.column, batch, slot, index)

    def invalidate(self, requests: Fields) -> None:
        """Drop what is named, cancel translations under way, wait for accesses under way."""
        for device, itag, pasid, address, flags, _instance in requests:
            everyone = bool(flags & GLOBAL)
            named = Named(None if everyone else pasid, *block(address))
            for key in [key for key in self.cache if key in named]:
                del self.cache[key]
            for thread in self.threads:
                thread.cancelled |= thread.translating in named
            waits_for = [thread for thread in self.threads if thread.accessing in named]
            self.invalidations.append(Pending(device, itag, waits_for))
        self.complete()

    def complete(self) -> None:
        """Complete every invalidation whose accesses are over."""
        for pending in list(self.invalidations):
            pending.waits_for = [thread for thread in pending.waits_for if thread.accessing]
            if not pending.waits_for:
                self.invalidations.remove(pending)
                self.send(INVALIDATE_COMPLETION, [[pending.device, 1 << pending.itag, 1]])

    def drop_everything(self) -> None:
        """Messages are missing, perhaps invalidations: nothing cached or under way can be used."""
        self.cache.clear()
        for thread in self.threads:
            thread.cancelled = thread.translating is not None

    def obey(self, tag: int, fields: Fields) -> None:
        """Do what one message says."""
        if tag == WELCOME:
            self.limit_s = fields[5] / 1000
        elif tag == LOAD_PROGRAM:
            self.load(fields)
        elif tag == UNLOAD_PROGRAM:
            self.send(PROGRAM_UNLOADED, fields[0], 0, {})
        elif tag == BATCH_BEGIN:
            self.begin(*fields)
        elif tag == BATCH_GO:
            self.go(*fields)
        elif tag == SLOTS_STARTED:
            self.started(*fields)
        elif tag == INVALIDATE:
            self.invalidate(*fields)
        elif tag == PAGE_RESPONSES:
            for _device, _pasid, prgi, code in fields[0]:
                self.answer("response", prgi, code)
        elif tag == TRANSLATION_COMPLETIONS:
            for number, *found in fields[0]:
                self.answer("translation", number, found)
        elif tag == ACCESS_ANSWERS:
            for number, _made, value in fields[0]:
                self.answer("access", number, value)
        elif tag == PROCEED:
            for number in fields[0]:
                self.answer("wait", number, None)
        elif tag == HEARTBEAT:
            self.send(HEARTBEAT_REPLY, fields[0], {})
        elif tag == DETACH:
            self.detaching = fields[0]
        elif tag in (GOODBYE, DETACH_DONE):
            sys.exit(0)
        elif tag == REFUSED:
            sys.stderr.write(f"refused: {fields[1]}\n")
            sys.exit(2)

    def serve(self) -> None:
        """Go round for ever."""
        while True:
            if leaving.asked:
                leaving.asked = False
                self.send(DETACH, [], "asked to")
            if self.detaching is not None and not any(t.accessing for t in self.threads):
                self.cache.clear()
                self.waiting.clear()
                self.threads.clear()
                self.send(DETACH_DONE, self.detaching)
                self.detaching = None
            if not self.socket.poll(50):
                if time.monotonic() - self.heard_s > self.limit_s:
                    sys.stderr.write(f"the daemon was silent for {self.limit_s:.0f} s\n")
                    sys.exit(4)
                continue
            self.heard_s = time.monotonic()
            tag, sequence, *fields = msgpack.unpackb(self.socket.recv(), strict_map_key=False)
            if tag not in KNOWN:
                self.send(ERROR_REPORT, UNKNOWN_MESSAGE, f"tag {tag}")
                continue
            if sequence < self.expected:
                self.send(ERROR_REPORT, SEQUENCE_REPEATED, f"message {sequence} again")
                continue
            if sequence > self.expected:
                self.drop_everything()
                self.send(ERROR_REPORT, SEQUENCE_GAP, f"expected {self.expected}, saw {sequence}")
            self.expected = sequence + 1
            self.obey(tag, fields)


def block(word: int) -> tuple[int, int]:
    """First page and number of pages of a range word: a 0 above trailing ones tells the size."""
    if word == EVERYTHING:
        return 0, 1 << 52
    if not word >> 11 & 1:
        return word >> 12, 1
    pages = 2
    while word >> 12 & (pages >> 1):
        pages <<= 1
    return (word >> 12) // pages * pages, pages


KNOWN = {WELCOME, REFUSED, LOAD_PROGRAM, UNLOAD_PROGRAM, BATCH_BEGIN, BATCH_GO, SLOTS_STARTED}
KNOWN |= {INVALIDATE, PAGE_RESPONSES, HEARTBEAT, DETACH, DETACH_DONE, ERROR_REPORT, GOODBYE}
KNOWN |= {TRANSLATION_COMPLETIONS, ACCESS_ANSWERS, PROCEED}


class Leaving:
    """Whether SIGTERM has asked to leave."""

    asked = False


leaving = Leaving()
if __name__ == "__main__":
    program, *words = sys.argv
    if len(words) != 1:
        sys.exit(f"usage: {program} ENDPOINT")
    signal.signal(signal.SIGTERM, lambda *_: setattr(leaving, "asked", True))
    Agent(words[0]).serve()
