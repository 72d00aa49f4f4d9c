"""How progress is told where nobody watches a terminal."""

from __future__ import annotations

import pytest

from shootdown_cli.progress import ProgressLine


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
