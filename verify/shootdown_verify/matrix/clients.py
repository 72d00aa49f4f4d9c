"""Rows of the matrix, and the clients that every row runs, as scenario texts.

A row is an operation with the states that its entry may begin in. A client is what else happens:
the union of the observers of the safety criterion, each with the translation warm and with
speculative fills. A client's text is a scenario like any other, so that a counterexample can be
replayed from its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown_verify.litmus.vocabulary import (
    FORK_OPERATION,
    PAGE_OPERATIONS,
    STATES,
    UNMAPPED,
    WRITABLE,
)


@dataclass(frozen=True, slots=True)
class Row:
    """An operation; ``copier`` lets faults in beside it (``mmap_lock`` held for reading only)."""

    operation: str
    states: tuple[str, ...]
    copier: bool = False
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the row is called."""
        return f"{self.operation}, copier let in" if self.copier else self.operation


ROWS: Final = (
    Row("wp_page_copy", ("cow", "cow_sole", "zero")),
    Row("do_anonymous_page", ("none",)),
    Row("zap_pte_range", ("rw",)),
    Row("unmap_vmas", ("rw",)),
    Row("change_pte_range", ("rw", "pinned")),
    Row("change_pte_range", ("pinned",), copier=True),
    Row("copy_pte_range", ("rw",)),
    Row("copy_pte_range", ("rw",), copier=True),
    Row("replace_page", ("ksm_pair",)),
    Row("write_protect_page", ("ksm_twin",)),
    Row("try_to_migrate_one", ("rw",)),
    Row("try_to_unmap_one", ("rw", "file")),
    Row("do_swap_page", ("swapped",)),
    Row("page_vma_mkclean_one", ("file",)),
    Row("clear_refs_write", ("rw",)),
    Row("pagemap_scan_pmd_entry", ("pinned",)),
    Row("uffd_wp_range", ("pinned",)),
    Row("wp_clean_pre_vma", ("file",)),
    Row("madvise_free_single_vma", ("rw",), options=("ad_bits on",)),
)
"""Every row, operations by the kernel functions that they mirror."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who else is at work: lines of CPU1 and of DEV0 beside CPU0's operation on A.

    ``places`` are further locations, ``writes``: the device asks for write permission; ``racy``:
    both sides store to A (and nobody speculates, for the many orders of the stores); ``child``:
    only for an operation that makes one.
    """

    name: str
    sentence: str
    cpu: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    writes: bool = False
    racy: bool = False
    child: bool = False

    def suits(self, state: str) -> bool:
        """Whether the client's operations mean something for a page that begins in a state."""
        outside = state == "cow" and any(line.startswith(PAGE_OPERATIONS) for line in self.cpu)
        return not outside


TAKER: Final = ("T@other = none",)

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
        ("store A 2", "store A 3"),
        writes=True,
    ),
    Client(
        "reclaimer",
        "A CPU reclaims the page once the operation has returned, and loads; a device stores.",
        ("try_to_unmap_one A when returned", "load A r0"),
        ("store A 2", "store A 3"),
        writes=True,
    ),
    Client(
        "copier",
        "A CPU's write fault may copy the page while a device stores to it.",
        ("store A 1",),
        ("store A 2",),
        (),
        writes=True,
        racy=True,
    ),
    Client(
        "child",
        "A fork's child loads once fork has returned; a device stores before and after.",
        ("sync CPU0", "load K r0"),
        ("store A 2", "store A 3 when returned"),
        ("K@child = child of A",),
        writes=True,
        child=True,
    ),
)
"""The clients that every row runs; ``child`` where the operation makes one."""


@dataclass(frozen=True, slots=True)
class ClientText:
    """One scenario of a row: the client, the state that A begins in, and the text."""

    name: str
    client: str
    state: str
    text: str


def clients_of(row: Row) -> Iterator[ClientText]:
    """Every scenario that a row runs."""
    forks = row.operation == FORK_OPERATION
    for state in row.states:
        for client in CLIENTS:
            if (client.child and not forks) or not client.suits(state):
                continue
            name = f"{row.operation}-{state}-{client.name}"
            if row.copier:
                name += "-let-in"
            yield ClientText(name, client.name, state, _text(row, state, client, name))


def _text(row: Row, state: str, client: Client, name: str) -> str:
    intent = " write" if client.writes else ""
    init = ["A = none" if state == "none" else f"A = 0 {state}", *client.places]
    if row.operation == FORK_OPERATION and not client.child:
        init.append("K@child = child of A")
    if client.racy:
        init.append("racy A")
    if state not in ("none", *UNMAPPED):
        warm = intent if STATES[state] in WRITABLE else ""
        init.append(f"atc DEV0 A{warm}")
        if not client.racy:
            init.append(f"speculate DEV0 A{intent}")
    if row.copier:
        init.append("mmap_lock read")
    init += row.options
    init += [f"bind {row.operation}", "reuse lifo"]
    columns = [["CPU0", f"{row.operation} A"]]
    if client.cpu:
        columns.append(["CPU1", *client.cpu])
    columns.append(["DEV0", *client.device])
    lines = [f"SHOOTDOWN {name}", f'"{client.sentence}"', "", "{"]
    lines += [f"  {statement};" for statement in init]
    lines += ["}", "", *_table(columns), "", "weakest none"]
    lines += ["caught none : S1 S2 S3 S4 S5"]
    return "\n".join(lines) + "\n"


def _table(columns: list[list[str]]) -> list[str]:
    height = max(len(column) for column in columns)
    widths = [max(len(cell) for cell in column) for column in columns]
    rows = []
    for row in range(height):
        cells = [column[row] if row < len(column) else "" for column in columns]
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
        rows.append(" " + " | ".join(padded) + " ;")
    return rows
