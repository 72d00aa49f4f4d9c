"""Folders of testbeds: what another's link or rights in them may not bring about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shootdown_cli import places
from shootdown_cli.replay import located
from shootdown_protocol.errors import UsageError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of its own."""
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(tmp_path / "live"))
    return places.runtime_root()


def dead_testbed(folder: Path) -> None:
    """What a daemon leaves that was killed."""
    folder.mkdir()
    record = {"name": folder.name, "folder": str(folder), "segment": "shootdown-none-0"}
    (folder / "testbed.json").write_text(json.dumps({**record, "token": "", "agents": 1}))
    (folder / "lock").touch()


def test_what_a_dead_testbed_left_is_removed(root: Path) -> None:
    """Its folder goes with the next start."""
    dead_testbed(root / "dead")

    assert places.sweep() == [f"folder {root / 'dead'}"]
    assert not (root / "dead").exists()


def test_a_link_is_no_testbed(root: Path, tmp_path: Path) -> None:
    """What lies behind a link among the testbeds is neither listed nor touched."""
    dead_testbed(tmp_path / "elsewhere")
    (root / "elsewhere").symlink_to(tmp_path / "elsewhere")

    assert (places.sweep(), places.live_testbeds()) == ([], [])
    assert (tmp_path / "elsewhere" / "testbed.json").exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_folder_that_others_may_enter_is_refused(root: Path, mode: int) -> None:
    """Sockets and tokens lie there: only its owner may have any right in it."""
    root.chmod(mode)

    with pytest.raises(UsageError, match="mode 0700"):
        places.runtime_root()


def test_a_link_to_a_folder_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime folder itself is no link, not even to a good one."""
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(tmp_path / "link"))

    with pytest.raises(UsageError, match="expected a folder of mode 0700"):
        places.runtime_root()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        (".", "., which is a directory"),
        ("/dev/null", "/dev/null, which is no regular file"),
        ("/nonexistent.litmus", "/nonexistent.litmus, which is not there"),
        ("", "an empty name"),
    ],
)
def test_a_path_is_taken_for_no_shipped_name(name: str, seen: str) -> None:
    """What is wrong with it is said, and no name that looks alike."""
    with pytest.raises(UsageError) as error:
        places.find_config("scenarios", name, ".litmus")

    assert error.value.seen == seen


def test_a_device_is_found_from_where_its_replay_file_lies(tmp_path: Path) -> None:
    """A file that is not here is looked for in the folders around the replay file."""
    (tmp_path / "mine.py").touch()
    file = tmp_path / "out" / "run" / "a.replay"

    assert located("mine.py:Mine", file) == f"{tmp_path.resolve()}/mine.py:Mine"
    assert located("mine.py", file) == f"{tmp_path.resolve()}/mine.py"
    assert located("other.py:Mine", file) == "other.py:Mine"
    assert located("clear_flush", file) == "clear_flush"
