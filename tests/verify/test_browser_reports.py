"""What a browser shows of a run: ``report.html``, and ``trace.json`` for Perfetto."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from tests.verify.record_builders import COW_TWO_PAGES, deferred_two_pages

from shootdown_verify.judge import Example, OutcomeCount, RunVerdict, judge_instance
from shootdown_verify.report import RunFacts, render_run_page, trace_object

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


def page(verdict: RunVerdict) -> Elements:
    """A run's page, read."""
    text = render_run_page(verdict, FACTS, COW_TWO_PAGES, repeat="do it again", notes=["<late>"])
    return Elements(text)


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
    for said in ("[N+1]", "stale_eligible_hits", "S2 stale-read", "do it again", "<late>"):
        assert said in text


def test_a_page_needs_nothing_from_elsewhere() -> None:
    """No element loads anything, so the page can be sent to somebody as it is."""
    found = page(BROKEN).found

    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in found}
    assert not any({"src", "href"} & attributes.keys() for _, attributes in found)


def test_a_page_of_a_right_run_has_no_first_violation() -> None:
    """A heading that nothing follows would make a reader look for what is not there."""
    text = page(RunVerdict(verdict="ok", instances=7)).text

    assert "7 instances, no violation" in text
    assert "First violation" not in text


def test_bars_are_as_long_as_their_share() -> None:
    """The commonest outcome is first, and three quarters look like it."""
    styles = [told.get("style") for tag, told in page(BROKEN).found if tag == "div"]

    assert styles == ["width:75.0%", "width:25.0%"]


def test_a_trace_has_a_thread_for_each_task_and_each_wrong_step_marked() -> None:
    """The instance is there once, though two kinds of finding have it as their example."""
    told = events(BROKEN)

    named = [e["args"]["name"] for e in told if e["name"] == "thread_name"]
    assert sorted(named) == sorted({stamped.task for stamped in RECORDS})
    assert {event["pid"] for event in told} == {1}
    why = {event["args"]["wrong"] for event in told if event.get("cat") == "wrong"}
    assert why == {finding.sentence for finding in WRONG.verdict.findings}


def test_slices_of_a_trace_nest() -> None:
    """Two slices of one thread are apart, or one lies within the other: else none can be drawn."""
    slices = [event for event in events(BROKEN) if event["ph"] == "X"]

    assert min(event["ts"] for event in slices) >= 0
    for one in slices:
        for other in slices:
            if one["tid"] == other["tid"] and one["ts"] < other["ts"]:
                end, ends = (event["ts"] + event["dur"] for event in (one, other))
                assert other["ts"] >= end - 0.001 or ends <= end + 0.001, (one, other)
    around = next(event for event in slices if event["name"] == "wp_page_copy A")
    within = [event for event in slices if event["args"].get("part of") == "wp_page_copy A"]
    assert around["dur"] > sum(event["dur"] for event in within) > 0


def test_a_trace_of_a_right_run_shows_an_instance_that_was_right() -> None:
    """There is always something to look at."""
    told = events(RunVerdict(verdict="ok", instances=7, sample=RIGHT))

    assert told[0]["args"]["name"].startswith("instance 4")
    assert not any(event.get("cat") == "wrong" for event in told)
