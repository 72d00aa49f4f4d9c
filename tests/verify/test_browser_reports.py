"""What a browser shows of a run: ``report.html``, and ``trace.json`` for Perfetto."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.verify.record_builders import COW_TWO_PAGES, deferred_two_pages
from tests.verify.trace_format import faults_of

from shootdown_verify.judge import Example, OutcomeCount, RunVerdict, judge_instance
from shootdown_verify.judge.counters import Counters
from shootdown_verify.litmus.vocabulary import CHECKS
from shootdown_verify.report import RunFacts, RunPage, render_run_page, trace_object
from shootdown_verify.report.meanings import CHECKED, COUNTED
from shootdown_verify.report.page import document
from shootdown_verify.report.timeline_table import render_timeline_table

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
HOSTILE = "</title><script src='//127.0.0.1:9/x'></script>\"'&amp;"
FACTS = RunFacts("run", "cow-two-pages", "a<b.py:Class", 1, 2.5, "out/latest")
RECORDS = tuple(deferred_two_pages(3))
WRONG = Example(3, RECORDS, judge_instance(RECORDS, COW_TWO_PAGES))
RIGHT = Example(4, RECORDS, judge_instance((), COW_TWO_PAGES))
BROKEN = RunVerdict(
    verdict="violation",
    instances=20,
    violations=5,
    histogram={"DEV0:r0=1": OutcomeCount(15), "DEV0:r0=0": OutcomeCount(5, 5, forbidden=True)},
    findings={("S2", "stale-read"): 5},
    first=WRONG,
    examples={("S2", "stale-read"): WRONG, ("S3", "lost-write"): WRONG},
    sample=RIGHT,
)


class Elements(HTMLParser):
    """Reads a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        """Read it."""
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep what is read."""
        self.text += data


TOLD = RunPage(
    commands={"again": "do it again"},
    text="SHOOTDOWN <b>",
    notes=["<late>"],
    faults=[("inv.drop --count 1", 1)],
)


def page(verdict: RunVerdict) -> Elements:
    """A run's page, read."""
    return Elements(render_run_page(verdict, FACTS, COW_TWO_PAGES, TOLD))


def browse(page: Path) -> subprocess.CompletedProcess[str]:
    """A page as chromium has it, and what chromium says of it."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [str(CHROMIUM), *flags, profile, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)


def broken_page(folder: Path) -> Path:
    """A page of ours into which something has got that is to be fetched."""
    page = folder / "broken.html"
    page.write_text(document("broken", "", "<img src='http://127.0.0.1:9/x'>"))
    return page


def events(verdict: RunVerdict) -> list[dict[str, Any]]:
    """A run's trace as whoever reads its file gets it."""
    told = json.loads(json.dumps(trace_object(verdict, COW_TWO_PAGES)))
    found: list[dict[str, Any]] = told["traceEvents"]
    return found


def test_a_page_tells_the_whole_of_a_violation() -> None:
    """Verdict, counts, outcomes, timeline with its reason, and how to see it again."""
    text = page(BROKEN).text

    for said in ("VIOLATION", "a<b.py:Class", "20 instances, 5 violations", "forbidden, 5 wrong"):
        assert said in text
    assert WRONG.verdict.findings[0].sentence.split(" although ")[0] in text
    for said in ("[N+1]", "stale_eligible_hits", "stale-read", "do it again", "<late>", "inv.drop"):
        assert said in text


def test_a_page_needs_nothing_from_elsewhere() -> None:
    """No element loads anything, and links lead to what lies beside the page."""
    found = page(BROKEN).found

    assert not {"script", "link", "img", "iframe", "b>"} & {tag for tag, _ in found}
    assert not any("src" in attributes for _, attributes in found)
    links = [attributes["href"] for _, attributes in found if "href" in attributes]
    assert "trace.json" in links
    assert not any(link is None or ":" in link or link.startswith("/") for link in links)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_has_nothing_to_complain_of(tmp_path: Path) -> None:
    """It lays the page out, and its console stays empty: nothing was refused or not found."""
    (tmp_path / "report.html").write_text(
        render_run_page(BROKEN, replace(FACTS, discipline=HOSTILE), COW_TWO_PAGES, TOLD)
    )

    shown = browse(tmp_path / "report.html")

    assert "CONSOLE" not in shown.stderr
    assert HOSTILE in Elements(shown.stdout).text
    assert "CONSOLE" in browse(broken_page(tmp_path)).stderr


def test_each_kind_of_finding_has_its_timeline() -> None:
    """The chief kind's is open; an instance that is the first of two kinds is there once."""
    other = Example(9, RECORDS, WRONG.verdict)
    both = replace(BROKEN, findings={("S2", "stale-read"): 5, ("S3", "lost-write"): 1})

    once = page(both).found
    twice = page(replace(both, examples={**both.examples, ("S3", "lost-write"): other})).found

    assert [told for tag, told in once if tag == "details"] == [{"open": None}]
    assert [told for tag, told in twice if tag == "details"] == [{"open": None}, {}]


def test_a_timeline_has_a_column_for_each_thread() -> None:
    """However many threads did something at one time, each row is as wide as the head."""
    text = render_timeline_table(RECORDS, COW_TWO_PAGES, WRONG.verdict.findings)

    rows = [row.split("<td") for row in text.split("<tr>")[1:]]
    columns = rows[0][0].count("<th>") - 1
    wide = f" class=change colspan={columns}"
    assert columns == len({stamped.task for stamped in RECORDS} - {"daemon"}) + 1
    assert {1 if wide in row[1] else len(row) - 1 for row in rows[1:]} == {1, columns}


def test_what_counts_is_said_in_the_words_of_the_docs() -> None:
    """Every counter and every check has its meaning, which `docs/running.md` has, too."""
    docs = (ROOT / "docs" / "running.md").read_text()

    assert COUNTED.keys() == Counters().as_dict().keys()
    assert CHECKED.keys() == set(CHECKS) | {"translation"}
    for name, meaning in COUNTED.items():
        assert f"| `{name}` | {meaning} |" in docs
    for name, meaning in CHECKED.items():
        assert re.search(rf"^\| {name}( \w+)? \| {re.escape(meaning)} \|$", docs, re.MULTILINE)


def test_a_page_of_a_right_run_tells_why_it_may_be_ok() -> None:
    """What was seen of the race stands first; then comes an instance that was right."""
    seen = Counters(atc_hits=12, stale_eligible_hits=5)
    text = page(RunVerdict(verdict="ok", instances=7, counters=seen, sample=RIGHT)).text

    assert "7 instances, no violation" in text
    assert text.index("5 of them after its entry had changed") < text.index("nothing was wrong")


def test_a_page_says_what_devices_were() -> None:
    """Whoever gets the page alone knows that the device was a faulty one."""
    facts = replace(FACTS, device="DEV0=wrong_itag", mutant="skips_timed_out")
    shown = Elements(render_run_page(BROKEN, facts, COW_TWO_PAGES, TOLD))

    assert "device DEV0=wrong_itag, mutant skips_timed_out" in shown.text


def test_a_page_of_an_inconclusive_run_lists_what_was_missing() -> None:
    """Reasons do not make the heading, which would be as long as they are."""
    found = page(RunVerdict(reasons=("no warm hit", "no <overlap>")))

    assert "INCONCLUSIVEa<b.py" not in found.text
    assert "Whyno warm hitno <overlap>" in found.text


def test_bars_are_as_long_as_their_share() -> None:
    """The commonest outcome is first, and three quarters look like it."""
    styles = [told["style"] for _, told in page(BROKEN).found if "style" in told]

    assert styles == ["width:75.0%", "width:25.0%"]


def test_a_trace_has_a_thread_for_each_task_and_each_wrong_step_marked() -> None:
    """The instance is there once, though two kinds of finding have it as their example."""
    told = events(BROKEN)

    named = [e["args"]["name"] for e in told if e["name"] == "thread_name"]
    assert sorted(named) == sorted({stamped.task for stamped in RECORDS})
    assert {event["pid"] for event in told} == {1}
    why = {event["args"]["wrong"] for event in told if event.get("cat") == "wrong"}
    assert why == {finding.sentence for finding in WRONG.verdict.findings}


def test_a_trace_obeys_the_format() -> None:
    """Nothing in it would be dropped by a strict reader, or drawn where it does not belong."""
    told = trace_object(BROKEN, COW_TWO_PAGES)

    assert faults_of(json.loads(json.dumps(told))) == []


@pytest.mark.parametrize(
    ("kind", "planted", "said"),
    [
        ("step", {"dur": 1e9}, "reaches out of the slice"),
        ("operation", {"ts": -1.0}, "has no time"),
        ("operation", {"tid": 99}, "has 0 names"),
        ("operation", {"ph": "x"}, "lacks"),
        ("M", {"args": {}}, "is no metadata"),
        ("s", {"id": 77}, "arrow 77 is s"),
        ("f", {"ts": 0.0}, "goes back in time"),
        ("t", {"tid": 3}, "is in no slice"),
    ],
)
def test_what_is_wrong_with_a_trace_is_seen(
    kind: str, planted: dict[str, object], said: str
) -> None:
    """The checker of traces finds each fault that is planted into a right one."""
    told = json.loads(json.dumps(trace_object(BROKEN, COW_TWO_PAGES)))
    of_kind = (e for e in told["traceEvents"] if kind in {e["ph"], e.get("cat")})
    next(of_kind).update(planted)

    assert any(said in fault for fault in faults_of(told))


def test_operations_lie_around_their_steps() -> None:
    """An operation is as long as from its first step to its last."""
    slices = [event for event in events(BROKEN) if event["ph"] == "X"]

    around = next(event for event in slices if event["name"] == "wp_page_copy A")
    within = [event for event in slices if event["args"].get("part of") == "wp_page_copy A"]
    assert around["dur"] > sum(event["dur"] for event in within) > 0


def test_an_arrow_leads_from_an_invalidation_to_its_completion() -> None:
    """It goes by the device, and an ITag that is used twice has two arrows."""
    told = [event for event in events(BROKEN) if event.get("cat") == "invalidation"]
    names = {e["tid"]: e["args"]["name"] for e in events(BROKEN) if e["name"] == "thread_name"}

    arrows: dict[int, list[str]] = {}
    for each in told:
        arrows.setdefault(each["id"], []).append(names[each["tid"]])
    by_device = ["d0.invalidate", "d0.invalidate", "daemon"]
    assert list(arrows.values()) == [["CPU1", *by_device], ["CPU0", *by_device]]


def test_a_trace_of_a_right_run_shows_an_instance_that_was_right() -> None:
    """There is always something to look at."""
    told = events(RunVerdict(verdict="ok", instances=7, sample=RIGHT))

    assert told[0]["args"]["name"].startswith("instance 4")
    assert not any(event.get("cat") == "wrong" for event in told)
