"""The pages about operations and bugs are those of the code, and leave nothing out."""

from __future__ import annotations

import json
import re
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
from shootdown_verify.kernel_table import NOTIFIERS, ROWS
from shootdown_verify.matrix.cells import Job, fill_cell
from shootdown_verify.matrix.rows import ROWS as MATRIX_ROWS

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
    """43 rows, each with the operations that model it, and each of those is there."""
    page = OPERATIONS_PAGE.read_text()

    assert [row.number for row in ROWS] == list(range(1, 44))
    assert all(row.operations and set(row.operations) <= set(OPERATIONS) for row in ROWS)
    assert all(f"| {row.number} | {row.what} | {row.function} |" in page for row in ROWS)


def test_every_part_of_the_notifiers_is_there() -> None:
    """Both interfaces, the three kinds of subscriber and their lifetime, with what models each."""
    page = OPERATIONS_PAGE.read_text()

    assert {row.number for row in NOTIFIERS} == {f"2.{part}" for part in range(1, 7)}
    assert all(f"| {row.number} | {row.what} | {row.modelled} |" in page for row in NOTIFIERS)
    told = {word for row in NOTIFIERS for word in re.findall(r"`(\w+)`", row.modelled)}
    assert told <= {*OPERATIONS}


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
    assert merged({"cells": {"gone": {}, "move_ptes": {}}}, told)["cells"].keys() == {
        "move_ptes",
        "f, copier let in",
    }
    assert told["rule"] == {"f": "f: never."}


def test_the_page_has_every_row_of_the_matrix() -> None:
    """A row that is new has been explored, and one that is gone is told no more."""
    names = {row.name for row in MATRIX_ROWS}

    assert len(names) == len(MATRIX_ROWS)
    assert matrix()["cells"].keys() == names
    assert matrix()["rule"].keys() == names


def test_an_undecided_cell_says_why() -> None:
    """Inconclusive is never said without its reason."""
    cell = {"row": "f", "discipline": "none", "verdict": "inconclusive", "reason": "time"}

    told = condense({"cells": [cell], "rule": []})

    assert told["cells"] == {"f": {"none": "inconclusive: time"}}
    assert all(
        word != "inconclusive" for row in matrix()["cells"].values() for word in row.values()
    )


@pytest.mark.parametrize("operation", ["zap_pte_range", "wp_page_copy"])
def test_it_does_not_matter_which_tlbs_are_flushed_first(operation: str) -> None:
    """At one point, CPUs before devices or behind them: the same disciplines are safe."""
    on, after = (matrix()["cells"][f"{operation}, cpu_tlb {word}"] for word in ("on", "after"))

    assert {name for name, word in on.items() if word == "safe"} == {
        name for name, word in after.items() if word == "safe"
    }
    assert "safe" in on.values()


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
