"""The clients that every row of the matrix runs, as scenario texts.

A client is what else happens: the union of the observers of the safety criterion, each with the
translation warm and with speculative fills. A client's text is a scenario like any other, so that a
counterexample can be replayed from its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown_daemon.machine.region import TABLE_OPERATIONS
from shootdown_protocol.program import HUGE_STATES, State
from shootdown_verify.litmus.vocabulary import (
    FORK_OPERATIONS,
    MOVE_OPERATIONS,
    PAGE_OPERATIONS,
    SHARE_OPERATIONS,
    SPECULATION_TIMES,
    STATES,
    UNMAPPED,
    WRITABLE,
)
from shootdown_verify.matrix.rows import Row

CHILD: Final = "K@child = child of A"
MOVE: Final = "B = move of A"
SHARE: Final = "B@other = share of A"
BESIDE: Final[dict[str, str]] = {
    **dict.fromkeys(FORK_OPERATIONS, CHILD),
    **dict.fromkeys(MOVE_OPERATIONS, MOVE),
    **dict.fromkeys(SHARE_OPERATIONS, SHARE),
}
"""The location that an operation needs beside A."""
LARGE_STATES: Final = frozenset(
    word for word, state in STATES.items() if state in HUGE_STATES or state is State.FILE_THP
)
SMALL_OPERATIONS: Final = (*PAGE_OPERATIONS, "process_vm_readv")
"""Clients' operations that know pages of 4 KiB in page-table pages that stay."""
NEIGHBOUR: Final = "N"
"""A page in the page-table page of A, where the table allows one."""
TAKER: Final = ("T@other = none",)


@dataclass(frozen=True, slots=True)
class Client:
    """Who else is at work: lines of CPU1 and of DEV0 beside CPU0's operation on A.

    ``places`` are further locations, ``writes``: the device asks for write permission; ``racy``:
    both sides store to A; ``beside``: only for an operation that needs such a location beside A
    (`BESIDE`); ``cold``: the device begins with nothing and fetches nothing unasked; ``reclaims``:
    a CPU column reclaims the page. ``speculates``: the device refills its caches unasked; not
    where a second operation makes for many orders, and its own accesses are enough to refill them.
    ``only`` names the operations that the client is for, where it is not for all; ``cpus``: it is
    about CPUs' own TLBs, which the row must have.
    """

    name: str
    sentence: str
    cpu: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    writes: bool = False
    racy: bool = False
    beside: str = ""
    cold: bool = False
    speculates: bool = True
    options: tuple[str, ...] = ()
    reclaims: bool = False
    only: tuple[str, ...] = ()
    cpus: bool = False

    def suits(self, row: Row, state: str) -> bool:
        """Whether what the client does means something beside a row's operation on such a page.

        Reclaim writes every page out, unless dirty bits or a file say that it is clean.
        """
        if self.name in row.without or self.beside not in ("", BESIDE.get(row.operation, "")):
            return False
        if self.only and row.operation not in self.only:
            return False
        if self.cpus and not row.has_cpu_tlbs:
            return False
        large = state in LARGE_STATES or row.operation in TABLE_OPERATIONS
        if large and any(line.startswith(SMALL_OPERATIONS) for line in self.cpu):
            return False
        has_bits = "ad_bits on" in row.options
        if self.cold and has_bits:  # Bits are set by whole walks only.
            return False
        if self.reclaims and state != "file" and not has_bits:
            return False
        return not (self.disturbs and state in ("cow", "uprobed"))

    @property
    def disturbs(self) -> bool:
        """Whether it changes entries by an operation of its own, which makes translations stale."""
        return any(line.startswith(PAGE_OPERATIONS) for line in self.cpu)


CLIENTS: Final = (
    Client("stale-load", "A CPU stores and a device loads.", ("store A 1",), ("load A r0",)),
    Client(
        "message-passing",
        "A CPU stores A and then F; a device loads F and then A.",
        ("store A 1", "store F 1"),
        ("load F r0", "load A r1"),
        ("F = 0 rw",),
    ),
    Client(
        "taker-load",
        "Another process takes the freed frame and writes it; a device loads.",
        ("store T 7 when freed",),
        ("load A r0",),
        TAKER,
    ),
    Client(
        "taker-store",
        "Another process takes the freed frame and writes it; a device stores.",
        ("store T 7 when freed", "load T r0"),
        ("store A 2",),
        TAKER,
        writes=True,
    ),
    Client(
        "lost-store",
        "A device stores and a CPU loads.",
        ("load A r0",),
        ("store A 2",),
        writes=True,
    ),
    Client(
        "refault",
        "A CPU stores once the operation has returned, and a device loads then.",
        ("store A 1 when returned",),
        ("load A r0 when returned",),
    ),
    Client(
        "store-after-return",
        "A device stores before and after the operation has returned.",
        (),
        ("store A 2", "store A 3 when returned"),
        (),
        writes=True,
    ),
    Client(
        "snapshot",
        "A reader copies the page once the operation has returned; a device stores.",
        ("process_vm_readv A when returned",),
        ("await CPU0", "store A 2"),
        writes=True,
    ),
    Client(
        "reclaimer",
        "A CPU reclaims the page once the operation has returned, and loads; a device stores.",
        ("try_to_unmap_one A when returned", "load A r0"),
        ("await CPU0", "store A 2"),
        writes=True,
        reclaims=True,
    ),
    Client(
        "copier",
        "A CPU's write fault may copy the page while a device stores to it.",
        ("store A 1",),
        ("store A 2",),
        (),
        writes=True,
        racy=True,
        speculates=False,
    ),
    Client(
        "one-copy",
        "A CPU's write fault may copy the page, but stores nothing; a device stores.",
        ("wp_page_copy A",),
        ("store A 2",),
        writes=True,
        speculates=False,
        only=("write_protect_page",),
    ),
    Client(
        "child",
        "A fork's child loads once fork has returned; a device stores before and after.",
        ("sync CPU0", "load K r0"),
        ("store A 2", "store A 3 when returned"),
        ("K@child = child of A",),
        writes=True,
        beside=CHILD,
    ),
    Client(
        "truncated-destination",
        "A CPU truncates what was moved, its page is taken; a device stores through the source.",
        ("unmap_mapping_range B when present", "store T 7 when freed"),
        ("store A 2",),
        ("B = move of A", *TAKER),
        writes=True,
        beside=MOVE,
    ),
    Client(
        "reclaimed-destination",
        "A CPU reclaims what was moved, its page is taken; a device stores through the source.",
        ("try_to_unmap_one B when present", "store T 7 when freed"),
        ("store A 2",),
        ("B = move of A", *TAKER),
        writes=True,
        beside=MOVE,
    ),
    Client(
        "cpu-reader",
        "A CPU with the translation in its TLB goes on loading, and so does a device.",
        ("load A r0", "load A r1"),
        ("load A r0",),
        speculates=False,
        cpus=True,
    ),
    Client(
        "cpu-writer",
        "A CPU with the translation in its TLB goes on storing; a device loads.",
        ("store A 1", "store A 2"),
        ("load A r0",),
        speculates=False,
        cpus=True,
    ),
    Client(
        "zap-between",
        "A CPU zaps the page; a device loads before and after that has returned.",
        ("zap_pte_range A",),
        ("load A r0", "await CPU1", "load A r1"),
        speculates=False,
        only=("try_to_unmap",),
    ),
    Client(
        "walker",
        "A device walks level by level and remembers tables; another process takes what is freed.",
        ("store T 7 when freed",),
        ("prefetch A", "load F r0", "prefetch N"),
        ("F = 0 rw", *TAKER),
        cold=True,
        options=("walk_by_level on", "walk_cache on"),
    ),
    Client(
        "walks-again",
        "A device that remembers tables walks again once the operation has returned.",
        (),
        ("prefetch A", "load A r0 when returned"),
        cold=True,
        options=("walk_by_level on", "walk_cache on"),
        only=("move_normal_pmd",),
    ),
    Client(
        "other-sharer",
        "The other user of a shared table frees it, and it is taken; a device walks.",
        ("__unmap_hugepage_range B", "store T 7 when freed"),
        ("prefetch A", "load A r0"),
        ("B@other = share of A", *TAKER),
        beside=SHARE,
        cold=True,
        options=("walk_by_level on", "walk_cache on"),
    ),
)
"""The clients that every row runs; ``beside`` where the operation needs more than A."""


@dataclass(frozen=True, slots=True)
class ClientText:
    """One scenario of a row: the client, the state that A begins in, and the text."""

    name: str
    client: str
    state: str
    text: str
    disturbs: bool


def clients_of(row: Row) -> Iterator[ClientText]:
    """Every scenario that a row runs."""
    for state in row.states:
        for client in CLIENTS:
            if not client.suits(row, state):
                continue
            name = f"{row.operation}-{state}-{client.name}"
            if row.copier:
                name += "-let-in"
            name += "".join(f"-{option}".replace(" ", "-") for option in row.named_options)
            if row.device:
                name += "-faulty"
            yield ClientText(
                name, client.name, state, _text(row, state, client, name), client.disturbs
            )


def _text(row: Row, state: str, client: Client, name: str) -> str:
    columns = [["CPU0", f"{row.operation} A"]]
    if client.cpu:
        columns.append(["CPU1", *(_waiting(line) if row.waits else line for line in client.cpu)])
    columns.append(["DEV0", *client.device])
    lines = [f"SHOOTDOWN {name}", f'"{client.sentence}"', "", "{"]
    lines += [f"  {statement};" for statement in _init(row, state, client)]
    lines += ["}", "", *_table(columns), "", "weakest none"]
    lines += ["caught none : S1 S2 S3 S4 S5"]
    return "\n".join(lines) + "\n"


def _waiting(line: str) -> str:
    """A store that takes no fault of its own."""
    return f"{line} when writable" if re.fullmatch(r"store A \d+", line) else line


def _init(row: Row, state: str, client: Client) -> Iterator[str]:
    """The statements of the initial state."""
    begins = "none" if state == "none" else f"0 {state}"
    yield f"A = {begins}"
    yield from client.places
    if NEIGHBOUR in " ".join(client.device).split():
        yield f"{NEIGHBOUR} = {begins}"
        if STATES.get(state) is not State.HUGE_ZERO:
            yield f"same_table A {NEIGHBOUR}"
    beside = BESIDE.get(row.operation, "")
    if beside and beside not in client.places:
        yield beside
    if client.racy:
        yield "racy A"
    if state not in ("none", *UNMAPPED) and not client.cold:
        intent = " write" if client.writes else ""
        yield f"atc DEV0 A{intent if STATES[state] in WRITABLE else ''}"
        if client.speculates:
            times = "" if row.times == SPECULATION_TIMES else f" times {row.times}"
            yield f"speculate DEV0 A{intent}{times}"
    if row.copier:
        yield "mmap_lock read"
    yield from (*row.options, *client.options)
    yield f"bind {row.operation}"
    yield "reuse lifo"


def _table(columns: list[list[str]]) -> list[str]:
    height = max(len(column) for column in columns)
    widths = [max(len(cell) for cell in column) for column in columns]
    rows = []
    for row in range(height):
        cells = [column[row] if row < len(column) else "" for column in columns]
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
        rows.append(" " + " | ".join(padded) + " ;")
    return rows
