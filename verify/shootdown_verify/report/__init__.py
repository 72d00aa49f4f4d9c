"""Text that a person reads: verdict line, histogram, timeline; and the same as one JSON object.

Nothing is judged here, and nothing is printed: functions return text.
"""

from shootdown_verify.report.histogram import render_histogram
from shootdown_verify.report.run_page import RunPage, render_run_page
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.report.trace import trace_object
from shootdown_verify.report.verdict import RunFacts, verdict_line, verdict_object

__all__ = [
    "RunFacts",
    "RunPage",
    "render_histogram",
    "render_run_page",
    "render_timeline",
    "trace_object",
    "verdict_line",
    "verdict_object",
]
