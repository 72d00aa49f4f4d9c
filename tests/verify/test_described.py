"""The pages about operations and bugs are those of the code, and leave nothing out."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.profiles import PROFILES
from shootdown_verify import describe
from shootdown_verify.describe import (
    BUGS_PAGE,
    MATRIX,
    NOTIFY,
    OPERATIONS_PAGE,
    condense,
    load_bugs,
    merged,
    order_of,
    render_bugs,
    render_operations,
)
from shootdown_verify.kernel_table import ROWS
from shootdown_verify.matrix.cells import Job, fill_cell
from shootdown_verify.matrix.clients import ROWS as MATRIX_ROWS

NO_ROW = {
    "iommu_attach_device",
    "iommu_detach_device",
    "iommu_sva_bind_device",
    "iommu_sva_unbind_device",
    "mmu_interval_notifier_remove",
    "mmu_notifier_register",
    "pci_reset_function",
}
"""Operations of IOMMU drivers and of subscribers, which the kernel's table is not about."""
ABSENT = {42}
"""Rows that nothing models."""


@cache
def matrix() -> dict[str, Any]:
    """The verdicts that the page has."""
    told: dict[str, Any] = json.loads(MATRIX.read_text())
    return told


def test_page_of_operations_says_what_the_code_says() -> None:
    """After a change of an operation ``python -m shootdown_verify.describe`` was run."""
    assert render_operations(matrix()) == OPERATIONS_PAGE.read_text()


def test_page_of_bugs_says_what_the_scenarios_say() -> None:
    """After a change of a bug ``python -m shootdown_verify.describe`` was run."""
    assert render_bugs(load_bugs()) == BUGS_PAGE.read_text()


def test_no_row_of_the_kernels_table_is_missing() -> None:
    """43 rows, each with what models it or why nothing does."""
    assert [row.number for row in ROWS] == list(range(1, 44))
    without = {row.number for row in ROWS if not set(row.operations) & set(OPERATIONS)}
    assert without == ABSENT
    assert all(row.state.startswith("not modelled: ") for row in ROWS if row.number in ABSENT)


def test_every_operation_has_its_row() -> None:
    """An operation that mirrors no row of the kernel's table would be nobody's."""
    named = {name for row in ROWS for name in row.operations}

    assert set(OPERATIONS) - named == NO_ROW


@pytest.mark.parametrize("operation", OPERATIONS)
def test_orders_are_whole(operation: str) -> None:
    """Under either profile an operation comes to its end, with nobody else at work."""
    for version in PROFILES:
        assert len(order_of(operation, version)) > 1


def test_orders_differ_where_the_kernels_do() -> None:
    """A forced flush told twice up to v6.5, mremap at range_end and now under its locks."""
    end = "invalidate_range_end"
    zaps = [order_of("zap_pte_range", version).count(NOTIFY) for version in PROFILES]
    moves = [order_of("move_ptes", version) for version in PROFILES]

    assert zaps == [2, 1]
    assert [move.index(NOTIFY) < move.index(end) for move in moves] == [False, True]


def test_matrix_is_condensed_to_words() -> None:
    """A broken cell says which check failed and in how many steps."""
    cell = {"row": "f, copier let in", "discipline": "none", "verdict": "broken"}

    told = condense({"cells": [{**cell, "pass": "S1", "steps": 9}], "rule": ["f: never."]})

    assert told["cells"] == {"f, copier let in": {"none": "S1 in 9"}}
    assert merged({"cells": {"g": {}}}, told)["cells"].keys() == {"g", "f, copier let in"}
    assert told["rule"] == {"f": "f: never."}


@pytest.mark.parametrize(
    ("row", "discipline"),
    [
        ("wp_page_copy", "range_end"),
        ("zap_pte_range", "range_end"),
        ("unmap_vmas", "linux-6.18"),
        ("change_pte_range", "linux-6.18"),
    ],
)
def test_verdicts_on_the_page_are_those_of_the_explorer(row: str, discipline: str) -> None:
    """Some cells are explored again: the page does not tell what was true once."""
    found = next(each for each in MATRIX_ROWS if each.name == row)

    cell = fill_cell(Job(found, discipline, 30.0))

    word = cell.verdict if cell.worst is None else f"{cell.worst.check} in {cell.worst.steps}"
    assert matrix()["cells"][row][discipline] == word


def test_a_changed_page_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that changes its order changes the page."""
    monkeypatch.setattr(describe, "order_of", lambda _operation, _discipline: [NOTIFY])

    assert render_operations(matrix()) != OPERATIONS_PAGE.read_text()
