"""`cow-two-pages` grown: with more pages, more reading threads, or more reads of each."""

from __future__ import annotations

from typing import Literal

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.litmus import Scenario, parse

What = Literal["pages", "threads", "reads"]


def grown(what: What, size: int) -> Scenario:
    """`cow-two-pages` with so many pages; or with two, and so many readers of A, or reads each."""
    pages = size if what == "pages" else 2
    readers = size if what == "threads" else 1
    reads = size if what == "reads" else 1
    columns = [[f"CPU{page}", f"wp_page_copy P{page}"] for page in range(pages)]
    columns += [_writer(pages, page) for page in range(pages)]
    columns += [
        _reader(pages, page, number, reads)
        for page in range(pages)
        for number in range(1 if page else readers)
    ]
    name = f"{what}-{size}"
    lines = [f"SHOOTDOWN {name}", '"The device must not see a newer page before an older one."']
    lines += ["{", *(f"  P{page} = 0 cow;" for page in range(pages))]
    lines += [f"  atc {_device(page, 0)} P{page};" for page in range(pages)]
    lines += ["}", *_table(columns), "weakest none"]
    lines += ["caught range_end : S2", "safe clear_flush"]
    text = "\n".join(lines) + "\n"
    return parse(text, f"{name}.litmus", operations=OPERATIONS, disciplines=DISCIPLINES)


def _device(page: int, number: int) -> str:
    return f"DEV{10 * page + number}"


def _writer(pages: int, page: int) -> list[str]:
    """Each waits for the one before it."""
    waits = [f"await CPU{pages + page - 1}"] if page else []
    return [f"CPU{pages + page}", *waits, f"store P{page} 1 when writable"]


def _reader(pages: int, page: int, number: int, reads: int) -> list[str]:
    """The last page is read first."""
    waits = [f"await {_device(page + 1, 0)}"] if page + 1 < pages else []
    loads = [f"load P{page} r{each}" for each in range(reads)]
    return [_device(page, number), *waits, *loads]


def _table(columns: list[list[str]]) -> list[str]:
    height = max(len(column) for column in columns)
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [" | ".join(row) + " ;" for row in zip(*padded, strict=True)]
