"""The matrix: clients that are scenarios, cells that are explored, and the rule in words."""

import pytest

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.litmus import parse
from shootdown_verify.matrix import cells
from shootdown_verify.matrix.cells import Cell, Job, explore_client, fill_cell, matrix
from shootdown_verify.matrix.clients import clients_of
from shootdown_verify.matrix.rows import ROWS, Row
from shootdown_verify.matrix.rule import BROKEN, INCONCLUSIVE, SAFE, sentence

ROW = {row.name: row for row in ROWS}
SECONDS = 30.0


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_client_is_a_scenario(row: Row) -> None:
    """Each client's text is read by the scenario language and binds only the row's operation."""
    for client in clients_of(row):
        scenario = parse(
            client.text, f"{client.name}.litmus", operations=OPERATIONS, disciplines=DISCIPLINES
        )

        assert scenario.program.bound == (row.operation,)


@pytest.mark.parametrize(
    ("row", "discipline", "check"),
    [
        ("wp_page_copy", "range_end", "S2"),
        ("zap_pte_range", "range_end", "S1"),
        ("clear_refs_write", "before_clear", "S3"),
        ("wp_clean_pre_vma", "before_clear", "S3"),
        ("madvise_free_single_vma", "before_clear", "S3"),
        ("try_to_migrate_one", "before_free", "S2"),
        ("change_pte_range", "none", "S4"),
        ("change_pte_range, copier let in", "range_end", "S3"),
        ("copy_pte_range, copier let in", "range_end", "S3"),
        ("move_ptes", "range_end", "S1"),
        ("move_normal_pmd", "leaf_only", "S4"),
        ("hugetlb_unshare_pmds", "range_end", "S1"),
        ("write_protect_page, copier let in", "range_end", "S3"),
        ("collapse_huge_page", "before_free", "S2"),
        ("huge_pmd_unshare", "range_end", "S1"),
        ("free_pgtables", "leaf_only", "S1"),
        ("__split_huge_pmd, device keeps_larger_entries", "range_end", "S2"),
    ],
)
def test_a_wrong_point_is_found_with_a_schedule(row: str, discipline: str, check: str) -> None:
    """A cell that is broken names the check that failed and carries a schedule to replay."""
    cell = fill_cell(Job(ROW[row], discipline, SECONDS))

    assert cell.verdict == BROKEN
    assert cell.worst is not None
    assert cell.worst.check == check
    assert cell.worst.replay is not None


@pytest.mark.parametrize(
    ("row", "discipline"),
    [
        ("zap_pte_range", "before_free"),
        ("unmap_vmas", "range_end"),
        ("change_pte_range", "range_end"),
        ("copy_pte_range", "range_end"),
        ("move_ptes", "after_set"),
        ("collapse_huge_page", "range_end"),
        ("huge_pmd_unshare", "after_unlock"),
        ("free_pgtables", "before_free"),
        ("__split_huge_pmd", "none"),
        ("exit_mmap", "clear_flush"),
        ("move_normal_pmd", "after_unlock"),
        ("folio_referenced_one", "none"),
        ("zap_pte_range, cpu_tlb after", "clear_flush"),
    ],
)
def test_a_right_point_is_proved(row: str, discipline: str) -> None:
    """A safe cell has explored every client to its end, past accesses that could be stale."""
    cell = fill_cell(Job(ROW[row], discipline, SECONDS))

    assert (cell.verdict, cell.reason) == (SAFE, "")
    assert len(cell.results) == cell.clients
    assert sum(result.stale_hits for result in cell.results) > 0


def test_what_says_less_is_explored_for_itself() -> None:
    """``leaf_only`` notifies where ``clear_flush`` does, and its cells are not taken from there."""
    row = ROW["pagetable_free_kernel"]

    cells = matrix([row], ["clear_flush", "leaf_only"], workers=1)

    assert [cell.verdict for cell in cells] == [SAFE, BROKEN]


def test_a_budget_that_runs_out_is_not_safe() -> None:
    """A cell whose clients were cut short is inconclusive and says which."""
    cell = fill_cell(Job(ROW["unmap_vmas"], "range_end", 0.0))

    assert cell.verdict == INCONCLUSIVE
    assert "seconds" in cell.reason


def test_nothing_follows_where_nothing_could_be_stale() -> None:
    """First touch makes no translation stale, so its cells prove nothing."""
    cell = fill_cell(Job(ROW["do_anonymous_page"], "none", SECONDS))

    assert cell.verdict == INCONCLUSIVE
    assert cell.reason == "no translation could have been stale"


@pytest.mark.parametrize(
    ("safe", "said"),
    [
        (("clear_flush",), "between clearing and setting the entry, and at no other point."),
        (("clear_flush", "range_end"), "at the latest at invalidate_range_end"),
        (("none", "clear_flush"), "nobody needs to be notified."),
        ((), "no point that was tried is safe."),
    ],
)
def test_the_rule_is_read_off_the_cells(safe: tuple[str, ...], said: str) -> None:
    """What a row says changes with its cells and with nothing else."""
    verdicts = {name: SAFE if name in safe else BROKEN for name in DISCIPLINES}

    assert said in sentence("wp_page_copy", "wp_page_copy", verdicts)


def test_what_was_interrupted_is_shown_as_not_explored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C keeps the cells that were filled, and says of the others that they were not."""
    fill = cells.fill_cell

    def interrupted(job: Job) -> Cell:
        if job.discipline == "range_end":
            raise KeyboardInterrupt
        return fill(job)

    monkeypatch.setattr(cells, "fill_cell", interrupted)

    none, range_end = matrix([ROW["unmap_vmas"]], ["none", "range_end"], workers=1)

    assert none.verdict == BROKEN
    assert (range_end.verdict, range_end.results) == (INCONCLUSIVE, [])


def test_disciplines_that_are_one_to_an_operation_keep_their_names() -> None:
    """A cell that stands for another discipline's has replay files that name its own."""
    first, other = matrix([ROW["wp_page_copy"]], ["range_end", "before_free"], workers=1)

    replays = [cell.worst.replay for cell in (first, other) if cell.worst is not None]

    assert [replay.discipline for replay in replays if replay] == ["range_end", "before_free"]


def test_a_step_remembered_before_a_field_grew_is_made_anew() -> None:
    """A cell that outgrows its field meanwhile loses no clearing, which once was a deadlock."""
    client = next(c for c in clients_of(ROW["zap_pte_range"]) if c.client == "message-passing")

    result = explore_client(client, "linux-6.1", SECONDS)

    assert result.check == ""
