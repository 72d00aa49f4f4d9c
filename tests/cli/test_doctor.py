"""``shootdown doctor``: every point is tried, and only what is needed decides."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import pytest
from tests.cli.conftest import Shootdown

from shootdown_cli import doctor

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's


def test_this_machine_is_healthy(shootdown: Shootdown) -> None:
    """Tests run here, so testbeds can; every point has its line."""
    told = shootdown("doctor")

    assert told.status == 0, told
    *points, last = told.output.splitlines()
    assert len(points) == len(doctor.CHECKS)
    assert all(point.split()[0] in ("ok", "no") for point in points)
    assert last == "this machine can run testbeds"


def test_it_speaks_json(shootdown: Shootdown) -> None:
    """One object with a finding a point."""
    told = shootdown("doctor", "--json")

    findings = json.loads(told.output)
    assert (findings["command"], findings["healthy"]) == ("doctor", True)
    assert {"point", "ok", "needed", "seen"} == set(findings["findings"][0])


def test_what_is_missing_and_needed_decides(
    shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too little shared memory the machine cannot run testbeds, and the status is 4."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1, 1, 1 << 20))

    told = shootdown("doctor")

    assert told.status == 4, told
    assert "FAIL  POSIX shared memory" in told.output
    assert "1 MiB free" in told.output


def test_what_is_missing_and_not_needed_does_not(
    shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a program that is only compared with, all is well."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    told = shootdown("doctor")

    assert told.status == 0, told
    assert "no    Docker" in told.output
