"""``shootdown matrix``: every operation under every discipline, and the rule that follows."""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.exits import EXIT_INCONCLUSIVE, EXIT_OK
from shootdown_cli.progress import ProgressLine
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.matrix.cells import Cell
from shootdown_verify.matrix.cells import matrix as fill
from shootdown_verify.matrix.rows import ROWS, Row
from shootdown_verify.matrix.rule import rule
from shootdown_verify.replay_file import render_replay
from shootdown_verify.report.matrix_page import render_matrix, render_matrix_html
from shootdown_verify.source import nearest


def matrix(operations: str, disciplines: str, page: str, out: Path, *, as_json: bool) -> int:
    """Fill the matrix and show it; its verdicts are findings, not failures, so it exits 0.

    Ctrl-C shows what there is by then, and is inconclusive.
    """
    rows = _rows(operations)
    columns = _chosen(disciplines, list(DISCIPLINES), "--disciplines")
    if page and not Path(page).parent.is_dir():
        seen = f"{page}, in a folder that is not there"
        raise UsageError(ErrorCode.USAGE, seen=seen, expected="a file to write", where="--html")
    folder = places.new_run_directory(out, "matrix")
    line = ProgressLine(quiet=as_json)
    began = time.monotonic()
    progress = partial(line.show_share, what="cells")
    cells = fill(rows, columns, workers=len(os.sched_getaffinity(0)), progress=progress)
    line.end()
    replays: dict[int, str | None] = {}
    sentences = rule([(row.name, row.operation, _verdicts(cells, row)) for row in rows])
    try:
        if page:
            Path(page).write_text(render_matrix_html(cells, sentences))
        (folder / "matrix.html").write_text(render_matrix_html(cells, sentences))
        replays.update((id(cell), _keep(cell, folder)) for cell in cells)
    except OSError as error:
        print(f"shootdown: not everything could be kept: {error}", file=sys.stderr)
    elapsed = round(time.monotonic() - began, 2)
    if as_json:
        print(json.dumps(_object(cells, sentences, replays, elapsed)))
    else:
        print(render_matrix(cells, sentences))
        print(f"\n{len(cells)} cells in {elapsed:.1f} s; counterexamples and page in {folder}")
    left = sum(not cell.results for cell in cells)
    if left:
        print(f"shootdown: interrupted, {left} cells were not explored", file=sys.stderr)
    return EXIT_INCONCLUSIVE if left else EXIT_OK


def _rows(operations: str) -> list[Row]:
    names = list(dict.fromkeys(row.operation for row in ROWS))
    chosen = _chosen(operations, names, "--operations")
    return [row for row in ROWS if row.operation in chosen]


def _chosen(text: str, known: list[str], where: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()] or known
    for word in words:
        if word not in known:
            like = nearest(word, known)
            hint = f"; did you mean {like}?" if like else ""
            raise UsageError(
                ErrorCode.USAGE,
                seen=repr(word) + hint,
                expected=f"some of {', '.join(known)}",
                where=where,
            )
    return words


def _verdicts(cells: list[Cell], row: Row) -> dict[str, str]:
    return {cell.discipline: cell.verdict for cell in cells if cell.row == row}


def _keep(cell: Cell, folder: Path) -> str | None:
    worst = cell.worst
    if worst is None or worst.replay is None:
        return None
    path = folder / f"{worst.client}.{cell.discipline}.replay"
    path.write_text(render_replay(worst.replay))
    return str(path)


def _object(
    cells: list[Cell], sentences: list[str], replays: dict[int, str | None], elapsed: float
) -> dict[str, object]:
    return {
        "command": "matrix",
        "cells": [
            {
                "row": cell.row.name,
                "operation": cell.row.operation,
                "copier": "let in" if cell.row.copier else "kept out",
                "discipline": cell.discipline,
                "verdict": cell.verdict,
                "pass": cell.worst.check if cell.worst else None,
                "client": cell.worst.client if cell.worst else None,
                "states": cell.states,
                "steps": cell.worst.steps if cell.worst else None,
                "reason": cell.reason or None,
                "replay": replays.get(id(cell)),
            }
            for cell in cells
        ],
        "rule": sentences,
        "elapsed_s": elapsed,
    }
