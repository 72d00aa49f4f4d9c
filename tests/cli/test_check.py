"""``shootdown check``: whose history it is, what is printed, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown
from tests.verify.record_builders import deferred_two_pages

from shootdown_protocol.history import Stamped
from shootdown_protocol.history_file import HistoryWriter

HISTORIES = Path(__file__).parents[1] / "litmus" / "histories"
SCENARIO = Path(__file__).parents[2] / "configs" / "scenarios" / "cow-two-pages.litmus"


def write_run(folder: Path, records: list[Stamped]) -> Path:
    """A run directory as `shootdown run` leaves it."""
    history = folder / "history"
    history.mkdir(parents=True)
    (folder / "scenario.litmus").write_text(SCENARIO.read_text())
    facts = {
        "scenario": "cow-two-pages",
        "discipline": "range_end",
        "agents": ["agent0"],
        "histories": ["daemon", "agent0"],
        "instances_per_batch": 4,
    }
    (history / "run.json").write_text(json.dumps(facts))
    by_agent = [s for s in records if s.task.startswith(("DEV", "d0"))]
    for name, own in (("daemon", [s for s in records if s not in by_agent]), ("agent0", by_agent)):
        with HistoryWriter(history / f"{name}.history", name) as writer:
            for stamped in own:
                writer.append(stamped)
    return folder


def test_the_object_has_exactly_one_word_for_each_model(shootdown: Shootdown) -> None:
    """What ``--json`` prints of a history that no sequential order explains."""
    told = shootdown("check", str(HISTORIES / "SB.jsonl"), "--json")

    shown = json.loads(told.output)
    assert told.status == 1
    assert (shown["command"], shown["verdict"], shown["records"]) == ("check", "violation", 4)
    assert shown["models"] == {
        "coherence": "ok",
        "causal": "ok",
        "tso": "ok",
        "sc": "violation",
        "realtime": "not judged",
    }
    assert shown["weakest_model"] == "sc"
    (finding,) = shown["findings"]
    assert (finding["pass"], finding["model"]) == ("sc", "sc")
    assert [event["line"] for event in finding["events"]] == [2, 3, 4, 1]
    assert finding["why"].startswith("P0 read y=0 (line 2), older than P1's store y=1 (line 3); ")


def test_a_person_is_told_the_cycle_edge_by_edge(shootdown: Shootdown) -> None:
    """One line for the verdict, one for the models, one for each edge, one for the format."""
    told = shootdown("check", str(HISTORIES / "MP.jsonl"))

    assert told.output.startswith("VIOLATION  causal order broken")
    assert "        - P1 read y=1 (line 3) from P0's store y=1 (line 2)\n" in told.output
    assert "format  jsonl, since it begins neither" in told.output


def test_a_linearizable_history_is_ok(shootdown: Shootdown) -> None:
    """With times, every model is judged."""
    Path("h.jsonl").write_text(
        '{"thread": "P0", "kind": "store", "location": "x", "value": 1, "start": 1, "end": 4}\n'
        '{"thread": "P1", "kind": "load", "location": "x", "value": 1, "start": 2, "end": 3}\n'
    )

    told = shootdown("check", "h.jsonl", "--format", "jsonl", "--json")

    shown = json.loads(told.output)
    assert (told.status, shown["verdict"], shown["weakest_model"]) == (0, "ok", None)
    assert set(shown["models"].values()) == {"ok"}


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 3), (b"\n\n", 3), (b"garbage\n", 2), (b"\x00\x01\xff\n", 2)]
)
def test_a_file_without_events_is_never_ok(
    shootdown: Shootdown, content: bytes, status: int
) -> None:
    """Nothing to judge is inconclusive, and what is no event is refused."""
    Path("h.jsonl").write_bytes(content)

    assert shootdown("check", "h.jsonl").status == status


@pytest.mark.parametrize(
    "words", [("absent.jsonl",), (".",), ("h.jsonl", "--format", "json"), ("h.jsonl/x",)]
)
def test_what_cannot_be_judged_is_a_usage_error(
    shootdown: Shootdown, words: tuple[str, ...]
) -> None:
    """A file that is not there, a folder without histories, a format that nobody knows."""
    Path("h.jsonl").write_text("")

    told = shootdown("check", *words)

    assert told.status == 2
    assert "expected" in told.errors


def test_skipped_lines_are_counted_and_keep_a_history_from_being_ok(shootdown: Shootdown) -> None:
    """What was skipped might have been the violation."""
    Path("h.jsonl").write_text(
        '{"thread": "P0", "kind": "load", "location": "x", "value": 0}\n{"kind": "lod"}\n'
    )

    told = shootdown("check", "h.jsonl", "--skip-bad", "--json")

    shown = json.loads(told.output)
    assert (told.status, shown["verdict"], shown["records"]) == (3, "inconclusive", 1)
    assert shown["reasons"] == ["1 bad lines were skipped"]


def test_several_histories_are_judged_by_themselves_and_the_worst_counts(
    shootdown: Shootdown,
) -> None:
    """One object, with each history in it."""
    names = [str(HISTORIES / f"{name}.jsonl") for name in ("SB", "MP")]

    shown = json.loads(shootdown("check", *names, "--json").output)

    assert shown["weakest_model"] == "causal"
    assert [one["verdict"] for one in shown["histories"]] == ["violation", "violation"]
    assert {finding["history"] for finding in shown["findings"]} == set(names)


def test_a_run_directory_is_judged_as_the_run_was(shootdown: Shootdown) -> None:
    """Scenario and discipline are found beside the histories."""
    folder = write_run(Path("out/r"), deferred_two_pages())

    told = shootdown("check", str(folder), "--json")

    shown = json.loads(told.output)
    assert (told.status, shown["weakest_model"]) == (1, "realtime")
    assert shown["models"]["sc"] == "ok"
    found = {finding["title"]: finding for finding in shown["findings"]}
    stale = found["stale-read"]
    assert (stale["pass"], stale["model"]) == ("freshness", "realtime")
    assert [event["thread"] for event in stale["events"]] == ["CPU2", "DEV0"]


@pytest.mark.parametrize("words", [("out/r/history",), ("out/r/history/*.history",)])
def test_history_folder_and_files_are_the_run(shootdown: Shootdown, words: tuple[str, ...]) -> None:
    """However the run is named, it is one history."""
    write_run(Path("out/r"), deferred_two_pages())
    paths = [str(path) for word in words for path in sorted(Path().glob(word))]

    shown = json.loads(shootdown("check", *paths, "--json").output)

    assert (len(shown["histories"]), shown["weakest_model"]) == (1, "realtime")


def test_a_torn_history_is_judged_up_to_its_tail(shootdown: Shootdown) -> None:
    """What a kill left is read, and the tail is told of."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    path = folder / "history" / "daemon.history"
    path.write_bytes(path.read_bytes()[:-40])

    told = shootdown("check", str(folder), "--json")

    shown = json.loads(told.output)
    assert told.status in {1, 3}
    assert any("daemon.history has a torn tail" in reason for reason in shown["reasons"])


@pytest.mark.parametrize("damage", ["cut", "corrupt", "absent"])
def test_what_a_lost_agent_did_is_no_deadlock(shootdown: Shootdown, damage: str) -> None:
    """Columns without an end are missing, not waiting, where a file is not whole."""
    right = [s for s in deferred_two_pages() if s.task != "DEV0"]
    folder = write_run(Path("out/r"), right)
    path = folder / "history" / "agent0.history"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "corrupt":
        path.write_bytes(path.read_bytes()[:-40] + b"\xff" * 40)
    else:
        path.unlink()

    told = shootdown("check", str(folder), "--json")

    shown = json.loads(told.output)
    assert (told.status, shown["verdict"]) == (3, "inconclusive")
    assert "agent0" in shown["reasons"][0]


def test_a_history_without_its_scenario_asks_for_it(shootdown: Shootdown) -> None:
    """What ran must be known to say what was allowed."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    (folder / "scenario.litmus").unlink()
    (folder / "history" / "run.json").unlink()

    told = shootdown("check", str(folder))
    given = shootdown("check", str(folder), "--scenario", "cow-two-pages")

    assert (told.status, "--scenario" in told.errors) == (2, True)
    assert given.status == 1


@pytest.mark.parametrize("beside", [True, False])
def test_a_scenario_that_did_not_run_is_refused(shootdown: Shootdown, *, beside: bool) -> None:
    """What ran is known by its file or by what the daemon noted, and no other gives a verdict."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    if not beside:
        (folder / "scenario.litmus").unlink()

    for other in ("first-touch", "zap-use-after-free"):
        told = shootdown("check", str(folder), "--scenario", other)

        assert told.status == 2
        assert f"saw scenario {other}; expected cow-two-pages: this run was of" in told.errors


def test_the_scenario_beside_a_history_counts(shootdown: Shootdown) -> None:
    """One of the same name on the command line is not what was kept of the run."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    Path("cow-two-pages.litmus").write_text(
        (SCENARIO.parent / "first-touch.litmus").read_text().replace("first-touch", "cow-two-pages")
    )

    told = shootdown("check", str(folder), "--scenario", "cow-two-pages.litmus", "--json")

    assert json.loads(told.output)["weakest_model"] == "realtime"


def test_records_of_another_scenario_are_refused(shootdown: Shootdown) -> None:
    """Where nothing names what ran, the records' columns and locations do not fit."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    (folder / "scenario.litmus").unlink()
    (folder / "history" / "run.json").unlink()

    told = shootdown("check", str(folder), "--scenario", "first-touch")

    assert told.status == 2
    assert "expected records of first-touch, which has columns CPU0, CPU1, DEV0" in told.errors


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "run.json is missing"),
        ("{", "run.json is no JSON ("),
        ("[]", "run.json is no JSON object"),
        ('{"scenario": "cow-two-pages", "discipline": "x", "agents": []}', "instances_per_batch"),
        ('{"agents": 3, "instances_per_batch": true}', "no right agents (3), instances_per_batch"),
    ],
)
def test_a_run_whose_batches_are_not_known_is_judged_as_one(
    shootdown: Shootdown, content: str | None, why: str
) -> None:
    """Instances that ran side by side are judged once each, and it is told what is not known."""
    side_by_side = zip(*(deferred_two_pages(number) for number in range(6)), strict=True)
    folder = write_run(Path("out/r"), list(chain.from_iterable(side_by_side)))
    noted = folder / "history" / "run.json"
    if content is None:
        noted.unlink()
    else:
        noted.write_text(content)

    shown = json.loads(shootdown("check", str(folder), "--json").output)

    assert {finding["count"] for finding in shown["findings"]} == {6}
    (reason,) = shown["reasons"]
    assert reason.startswith("run.json ")
    assert why in reason


def test_who_writes_no_history_is_not_missing(shootdown: Shootdown) -> None:
    """The daemon records what an agent without shared memory does."""
    folder = write_run(Path("out/r"), deferred_two_pages())
    noted = folder / "history" / "run.json"
    facts = json.loads(noted.read_text())
    noted.write_text(json.dumps({**facts, "agents": ["agent0", "by-messages"]}))

    shown = json.loads(shootdown("check", str(folder), "--json").output)

    assert shown["reasons"] == []


def test_a_counterexample_of_the_explorer_is_a_history(shootdown: Shootdown) -> None:
    """A replay file's schedule is made again and judged by the same passes."""
    assert shootdown("explore", "cow-two-pages", "--discipline", "range_end").status == 1
    (path,) = Path("out").glob("latest/*.replay")

    told = shootdown("check", str(path), "--json")

    shown = json.loads(told.output)
    assert (told.status, shown["weakest_model"]) == (1, "realtime")
    first = shown["findings"][0]
    assert (first["pass"], first["model"]) == ("freshness", "realtime")


def test_only_foreign_histories_need_arrays() -> None:
    """A run starts without importing what it never uses."""
    code = (
        "import sys, shootdown_cli.run, shootdown_cli.explore, shootdown_cli.own_history; "
        "sys.exit('numpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=50).returncode == 0
