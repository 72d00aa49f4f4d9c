"""Command lines in this process: what they print and their exit status; nothing is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from shootdown_cli.main import main


class Told(NamedTuple):
    """Exit status and what was written."""

    status: object
    output: str
    errors: str


Shootdown = Callable[..., Told]


@pytest.fixture
def shootdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shootdown:
    """Obeys a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(tmp_path / "rt"))

    def obey(*words: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["shootdown", *words])
        with pytest.raises(SystemExit) as end:
            main()
        written = capsys.readouterr()
        return Told(end.value.code, written.out, written.err)

    return obey
