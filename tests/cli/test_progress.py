"""How progress is told where nobody watches a terminal."""

from __future__ import annotations

import os
import threading

import pytest

from shootdown_cli.progress import ProgressLine, Pulse


def test_a_file_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty-eight steps within a few seconds are no forty-eight lines of a log."""
    times = iter([0.0, *(n / 4 for n in range(200))])
    monkeypatch.setattr("shootdown_cli.progress.time.monotonic", lambda: next(times))
    line = ProgressLine(quiet=False)

    for done in range(48):
        line.show_share(done, 48, "bugs")

    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) < 10
    assert "of 48 bugs" in lines[0]


def test_what_is_too_busy_to_tell_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text is asked for again and again until the work is over, and then no more."""
    monkeypatch.setattr("shootdown_cli.progress.PULSE_S", 0.001)
    monkeypatch.setattr("shootdown_cli.progress.LINE_EVERY_S", 0.0)
    asked = threading.Semaphore(0)

    def text() -> str:
        asked.release()
        return "at work"

    with Pulse(text, quiet=False):
        told = [asked.acquire(timeout=30) for _ in range(3)]

    assert all(told)
    assert "at work, 0 s" in capsys.readouterr().err
    assert "pulse" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("columns", [40, 50, 200])
def test_a_line_is_no_wider_than_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wider one would be broken, and could not be written over; the numbers are all there."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2)
    monkeypatch.setattr("os.get_terminal_size", lambda _file: os.terminal_size((columns, 24)))
    line = ProgressLine(quiet=False)

    line.show_share(17, 49, "bugs")
    line.show("x" * 300)

    share, long = capsys.readouterr().err.split("\r\x1b[K")[1:]
    assert share.endswith("] 17 of 49 bugs, 0 s")
    assert len(share) < columns
    assert len(long) == min(columns - 1, 300)
