"""What a build ships: packages and ``configs/`` in a wheel, a pointer to the tree when editable."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from shootdown_verify.replay_file import VERSION

ROOT = Path(__file__).parents[1]


def names_in(target: str, folder: Path) -> set[str]:
    """Build the target into the folder and list what it holds."""
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        target,
        "--directory",
        str(folder),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_a_replay_file_tells_the_version_of_the_distribution() -> None:
    """A number that is written twice is the same number."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert told["project"]["version"] == VERSION


def test_wheel_holds_configs_and_prefixed_packages(tmp_path: Path) -> None:
    """A wheel carries every config beside the command line, and only names that are ours."""
    names = names_in("wheel", tmp_path)

    configs = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "configs").rglob("*.*")
        if path.is_file()
    }
    assert configs
    assert {f"shootdown_cli/{name}" for name in configs} <= names
    assert all(name.startswith(("shootdown_", "shootdown-")) for name in names)


def test_editable_install_copies_nothing(tmp_path: Path) -> None:
    """An editable install holds no copy of configs, which no later edit would reach."""
    names = names_in("wheel:editable", tmp_path)

    assert any(name.endswith(".pth") for name in names)
    assert not any("configs" in name for name in names)
