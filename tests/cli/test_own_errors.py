"""A class of one's own that raises: no verdict, status 4, and where in which file; never 1."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown

DEVICE = "from shootdown_device_agent.sdk import Device, device_thread\n\n\nclass Mine(Device):\n"
OBEY = "    def obey(self, store, request):\n        "
LOOKUP = "    {}def step_lookup(self, store, *more):\n        {}\n"
THREAD = "    @device_thread\n    {}def noisy(self, io):\n        {}\n"
OWN_LINE = {
    "raises": (OBEY + "raise RuntimeError('mine')\n", "RuntimeError: mine; in d0.invalidate, step"),
    "exits": (OBEY + "raise SystemExit(0)\n", "SystemExit: 0; in d0.invalidate, step"),
    "is no file": (OBEY + "open('absent')\n", "FileNotFoundError"),
    "looks up badly": (LOOKUP.format("", "1 // 0"), "ZeroDivisionError"),
    "loads nothing": (THREAD.format("async ", "await io.load('Z')"), "no location 'Z'"),
    "stores too much": (
        THREAD.format("async ", "await io.store('A', 5000)"),
        "store('A', 5000): a value is 0 to 1023; in d0.noisy",
    ),
}
OUR_LINE = {
    "gives nothing": (LOOKUP.format("", "return None"), "step 'device.atc_lookup' of"),
    "cannot be kept": (OBEY + "store.put(('mine',), [1])\n", "unhashable type: 'list'; in d0.inva"),
    "is not awaited": ("    def access(self, thread, intent):\n        return True\n", "; in DEV"),
    "is no coroutine": (THREAD.format("", "pass"), "; in d0.noisy"),
}
WRONG_SETTINGS = {
    "{'atc_entrees': 1}": "did you mean atc_entries?",
    "{'atc_entries': -1}": "atc_entries: 1 to 1048576, or 0 for no limit",
    "{'completions': 0}": "completions: 1 to 8",
    "{'vector': 'on'}": "True or False",
    "{'replacement': 'random'}": "fifo, lru",
    "{1: 1}": "a key of iotlb,",
    "7": "a dict with keys of iotlb,",
}


@pytest.mark.parametrize("name", OWN_LINE)
def test_an_exception_in_a_device_is_no_verdict(shootdown: Shootdown, name: str) -> None:
    """One line says what was raised, in whose step, and at which line of the person's file."""
    text, said = OWN_LINE[name]
    Path("mine.py").write_text(DEVICE + text)

    told = shootdown("explore", "cow-two-pages", "--device", "mine.py:Mine")

    assert (told.status, told.output) == (4, ""), told
    assert said in told.errors
    assert told.errors.splitlines()[-1].endswith(f"mine.py:{7 if '@' in text else 6}")
    assert "Traceback" not in told.errors


@pytest.mark.parametrize("name", OUR_LINE)
def test_what_a_device_gave_that_is_of_no_use_is_no_verdict(
    shootdown: Shootdown, name: str
) -> None:
    """Where no line of the person's file was running, the traceback stays; the task is named."""
    text, said = OUR_LINE[name]
    Path("mine.py").write_text(DEVICE + text)

    told = shootdown("explore", "cow-two-pages", "--device", "mine.py:Mine")

    assert told.status == 4, told
    assert said in told.errors.splitlines()[-1]


@pytest.mark.parametrize("command", ["explore", "step"])
def test_an_exception_in_a_hook_is_no_verdict(
    shootdown: Shootdown, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A discipline of one's own is treated as a device is, whatever command runs it."""
    Path("mine.py").write_text(
        "from shootdown_daemon.machine.disciplines import Discipline\n\n\n"
        "class Mine(Discipline):\n    async def clear_flush(self, cpu, span):\n        1 // 0\n"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("CPU0\n" * 40))

    told = shootdown(command, "cow-two-pages", "--discipline", "mine.py:Mine")

    assert told.status == 4, told
    assert "ZeroDivisionError" in told.errors.splitlines()[-1]
    assert told.errors.splitlines()[-1].endswith("mine.py:6")


@pytest.mark.parametrize("settings", WRONG_SETTINGS)
def test_settings_that_are_none(shootdown: Shootdown, settings: str) -> None:
    """A key or value that a device does not have is refused with what would be right."""
    Path("mine.py").write_text(f"{DEVICE}    SETTINGS = {settings}\n")

    told = shootdown("explore", "cow-two-pages", "--device", "mine.py:Mine")

    assert told.status == 2, told
    assert WRONG_SETTINGS[settings] in told.errors
    assert "SETTINGS of Mine in mine.py" in told.errors
