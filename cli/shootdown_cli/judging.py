"""Judges what a run has recorded, and shows how far it is; Ctrl-C ends it with what it has."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shootdown_cli.racing import PROGRESS_S, Raced
from shootdown_daemon.shell.running import FACTS_FILE
from shootdown_protocol.errors import HistoryError
from shootdown_protocol.history_file import History, read_history
from shootdown_verify.judge.batches import read_batches
from shootdown_verify.judge.run import INCONCLUSIVE, RunJudge, RunVerdict
from shootdown_verify.litmus import Scenario


class Watch(NamedTuple):
    """What a person sees of long work, and whether they have had enough of it."""

    show: Callable[[str], None]
    interrupted: Callable[[], bool]


def judge(
    scenario: Scenario,
    discipline: str,
    folder: Path,
    raced: Raced,
    watch: Watch,
) -> RunVerdict:
    """Judge what lies in a history folder by S1 to S5."""
    doubts = list(raced.doubts)
    if raced.failed:
        doubts.append(f"the testbed failed: {raced.failed}")
    histories: list[History] = []
    for path in sorted(folder.glob("*.history")):
        try:
            histories.append(read_history(path))
        except HistoryError as error:
            doubts.append(str(error))
    run = RunJudge(scenario, discipline=discipline, agents=_agents(folder))
    try:
        doubts += _judge_batches(run, histories, _instances_per_batch(folder), raced, watch)
    except HistoryError as error:
        doubts.append(str(error))
    verdict = run.finish(doubts)
    torn = [h for h in histories if h.end is not None and h.end.torn_bytes and not raced.failed]
    if torn and verdict.verdict != "violation":
        verdict.verdict = INCONCLUSIVE
        verdict.reasons = (*verdict.reasons, f"{len(torn)} histories have a torn tail")
    return verdict


def _judge_batches(
    run: RunJudge, histories: list[History], per_batch: int, raced: Raced, watch: Watch
) -> list[str]:
    """Judge batch after batch; gives why not all of them were."""
    ended = range(-(-raced.instances // per_batch))
    shown_s = time.monotonic()
    for batch in read_batches(histories, per_batch):
        run.judge_batch(batch, ended=batch.number in ended)
        if time.monotonic() - shown_s > PROGRESS_S:
            shown_s = time.monotonic()
            watch.show(f"judging: {run.verdict.instances:,} of {raced.instances:,}")
        if watch.interrupted():
            return [f"judging was interrupted after batch {batch.number + 1}"]
    return []


def attached_agents(history: Path) -> dict[str, str]:
    """Devices that an attached agent served, with the agent's name."""
    try:
        return dict(json.loads((history / FACTS_FILE).read_text())["attached"])
    except (OSError, ValueError, KeyError):
        return {}


def _agents(history: Path) -> int:
    """How many agents the daemon has noted beside its history; 1 when it did not come so far."""
    try:
        return max(1, len(json.loads((history / FACTS_FILE).read_text())["agents"]))
    except (OSError, ValueError, KeyError):
        return 1


def _instances_per_batch(history: Path) -> int:
    """What the daemon wrote beside its history; 1 when it did not come so far."""
    try:
        facts = json.loads((history / FACTS_FILE).read_text())
        return max(1, int(facts["instances_per_batch"]))
    except (OSError, ValueError, KeyError):
        return 1
