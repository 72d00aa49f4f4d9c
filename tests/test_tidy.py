"""The style guide as a test: the rules of ``tests/tidy/rules.py`` held against this repository.

Each rule is also shown a planted sample that breaks it, so that none passes by seeing nothing.
"""

import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from tests.tidy import rules
from tests.tidy.rules import FILE_RULES, Rule, SourceFile

ROOT = Path(__file__).parents[1]
RULES = {rule.name: rule for rule in FILE_RULES}


def paths_of(root: Path) -> list[PurePosixPath]:
    """Name what is committed or about to be; without git, what lies in visible folders."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(
            command, cwd=root, check=True, capture_output=True, text=True
        ).stdout
        names = [name for name in listing.split("\0") if (root / name).is_file()]
    else:
        names = []
        for folder, subfolders, files in os.walk(root):
            subfolders[:] = [
                name
                for name in subfolders
                if not name.startswith(".") and name not in {"build", "dist", "out"}
            ]
            names += [Path(folder, name).relative_to(root).as_posix() for name in files]
    return [PurePosixPath(name) for name in names]


@cache
def repository() -> tuple[SourceFile, ...]:
    """Every text file of this repository."""
    files = []
    for path in paths_of(ROOT):
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            files.append(SourceFile(path, content.decode()))
    return tuple(files)


def pyproject() -> str:
    """Text of pyproject.toml."""
    return (ROOT / "pyproject.toml").read_text()


def wheel_packages() -> list[str]:
    """Folder of each package that the wheel ships."""
    packages = tomllib.loads(pyproject())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert isinstance(packages, list)
    return packages


def decisions() -> str:
    """Text of all decisions, one after the other."""
    return "\n".join(
        path.read_text() for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))
    )


def absolute(folder: str) -> str:
    """Build a path that this file must not spell."""
    return f"/{folder}/someone/notes"


FIXED = "caught range_end\n"

# rule, file, text that breaks it, part of the complaint
BROKEN = [
    ("long_functions", "engine/a.py", "def f():\n" + "    x = 1\n" * 70, "71 lines"),
    (
        "long_functions",
        "tests/a.py",
        "class C:\n    async def f():\n" + "        x = 1\n" * 70,
        "71 lines",
    ),
    ("long_module", "cli/a.py", "x = 1\n" * 601, "601 lines"),
    ("vague_class_name", "cli/a.py", "class TestbedManager: ...\n", "TestbedManager"),
    ("vague_class_name", "cli/a.py", "class FrameInfo: ...\n", "FrameInfo"),
    ("missing_module_docstring", "cli/shootdown_cli/a.py", "x = 1\n", "no module docstring"),
    ("missing_module_docstring", "cli/shootdown_cli/__init__.py", "", "no module docstring"),
    (
        "print_in_machine",
        "daemon/shootdown_daemon/machine/a.py",
        "def f():\n    print(1)\n",
        "a.py:2",
    ),
    ("print_in_machine", "engine/shootdown_engine/a.py", "print(1)\n", "does not print"),
    ("test_without_sentence", "tests/test_a.py", "def test_a():\n    pass\n", "no docstring"),
    (
        "test_without_sentence",
        "tests/test_a.py",
        'def test_a():\n    """A"""\n',
        "not one sentence",
    ),
    (
        "test_without_sentence",
        "tests/test_a.py",
        'def test_a():\n    """One. Two."""\n',
        "not one sentence",
    ),
    ("machine_path", "README.md", f"see {absolute('home')}\n", "path of one machine"),
    ("machine_path", "a.toml", f'x = "{absolute("work")}"\n', "path of one machine"),
    ("machine_path", "a.c", f"file://{absolute('root')}\n", "path of one machine"),
    ("machine_path", "Makefile", f"A := {absolute('srv')}\n", "path of one machine"),
    *(
        ("deferral", "a.py", f"x = 1  # {word[::-1]}: later\n", "put off")
        for word in ("ODOT", "EMXIF", "X" * 3, "KCAH")
    ),
    (
        "registry_host",
        "requirements-dev.lock",
        "--index-url https://" + "pypi" + ".org/simple\n",
        "registry",
    ),
    *(
        ("harmless_scenario", "configs/scenarios/a.litmus", text, "nothing that it catches")
        for text in ("SHOOTDOWN a\nforbidden r0=0\n", "caught\nforbidden r0=0\n", "uncaught x\n")
    ),
]

# rule, file, text that keeps it though it looks close
KEPT = [
    (
        "long_functions",
        "a.py",
        'def f():\n    """A.\n' + "\n" * 80 + '    """\n' + "    x = 1\n" * 69,
    ),
    ("long_module", "a.py", "x = 1\n" * 600),
    ("vague_class_name", "a.py", "class InfoRequest: ...\n"),
    ("print_in_machine", "engine/shootdown_engine/a.py", "report.print(1)\nprinted = 2\n"),
    (
        "test_without_sentence",
        "tests/test_a.py",
        'def test_a():\n    """A page of mm/memory.c, e.g. one, is\n    seen."""\n',
    ),
    ("machine_path", "a.md", "see docs/mnt/a, ~/mnt/a and https://example.org/Users/a\n"),
    ("deferral", "a.py", 'mkdtemp("run-XXXXXX")  # a hack for todo lists\n'),
    ("harmless_scenario", "configs/scenarios/a.litmus", FIXED),
]


@pytest.mark.parametrize(("name", "path", "text", "complaint"), BROKEN)
def test_rule_sees_what_breaks_it(name: str, path: str, text: str, complaint: str) -> None:
    """A planted sample draws exactly one complaint, which says what is wrong."""
    file = SourceFile(PurePosixPath(path), text)

    complaints = RULES[name].check(file)

    assert len(complaints) == 1
    assert complaint in complaints[0]


@pytest.mark.parametrize(("name", "path", "text"), KEPT)
def test_rule_lets_pass_what_keeps_it(name: str, path: str, text: str) -> None:
    """A sample that only looks like a breach draws no complaint."""
    assert RULES[name].check(SourceFile(PurePosixPath(path), text)) == []


def test_every_rule_has_a_broken_sample() -> None:
    """No rule is in force that was never seen to fail."""
    assert {name for name, *_ in BROKEN} == set(RULES)


@pytest.mark.parametrize("rule", FILE_RULES, ids=lambda rule: rule.name)
def test_repository_keeps_rule(rule: Rule) -> None:
    """No file of the repository breaks the rule, and the rule had files to look at."""
    files = [file for file in repository() if rule.applies(file)]

    assert files, "the rule applies to nothing"
    assert [complaint for file in files for complaint in rule.check(file)] == []


@pytest.mark.parametrize(
    ("path", "room_module", "machine", "test"),
    [
        ("daemon/shootdown_daemon/machine/ptl.py", True, True, False),
        ("daemon/shootdown_daemon/shell/sockets.py", True, False, False),
        ("engine/shootdown_engine/trap.py", True, True, False),
        ("engine/shootdown_engine/README.md", False, False, False),
        ("tests/machine/test_ptl.py", False, False, True),
        ("tests/machine/conftest.py", False, False, False),
        ("hatch_build.py", False, False, False),
    ],
)
def test_files_are_told_apart(path: str, *, room_module: bool, machine: bool, test: bool) -> None:
    """A rule is applied to the files that it is for, going by their path."""
    file = SourceFile(PurePosixPath(path), "")

    assert (file.is_room_module, file.is_machine, file.is_test) == (room_module, machine, test)


def test_rooms_are_folders() -> None:
    """A room folder that became a package would shadow somebody else's ``daemon`` or ``cli``."""
    rooms = [package.split("/")[0] for package in wheel_packages()]
    paths = [file.path for file in repository()]

    assert rules.init_in_room([*paths, PurePosixPath("cli/__init__.py")], rooms) == [
        "cli/__init__.py: a room is not a package"
    ]
    assert rules.init_in_room(paths, rooms) == []


def test_rooms_hold_the_package_of_their_name() -> None:
    """A package named otherwise, or gone, is a complaint; the six of the wheel are neither."""
    paths = [file.path for file in repository()]

    assert rules.misnamed_room(
        ["cli/shootdown_shell"], [PurePosixPath("cli/shootdown_shell/__init__.py")]
    )
    assert rules.misnamed_room(["cli/shootdown_cli"], [])
    assert rules.misnamed_room(wheel_packages(), paths) == []


PLANTED = """
[build-system]
requires = ["hatchling>=1.27"]
[project]
dependencies = ["msgpack>=1.1"]
[dependency-groups]
type = ["pyright[nodejs]>=1.1"]
dev = [{ include-group = "type" }]
"""


def test_every_dependency_is_decided() -> None:
    """A dependency without a line of its own in docs/decisions is a complaint."""
    assert rules.undecided_dependency(
        PLANTED, "msgpack: the wire\n\nhatchling, as pyright, is mentioned.\n"
    ) == ["pyright: no line in docs/decisions/"]
    assert rules.undecided_dependency(pyproject(), decisions()) == []


def test_every_dependency_is_pinned() -> None:
    """A dependency that the lock file does not know is a complaint."""
    assert rules.unpinned_dependency(PLANTED, "msgpack==1.2.4\nhatchling==1.33.0\n") == [
        "pyright: not in requirements-dev.lock (make lock)"
    ]
    assert (
        rules.unpinned_dependency(pyproject(), (ROOT / "requirements-dev.lock").read_text()) == []
    )


def test_changelog_is_open() -> None:
    """A changelog without an Unreleased heading is a complaint."""
    assert rules.closed_changelog("# Changelog\n\nUnreleased things\n\n## 0.1.0\n")
    assert rules.closed_changelog((ROOT / "CHANGELOG.md").read_text()) == []


def test_scenarios_are_there(tmp_path: Path) -> None:
    """A folder of scenarios that holds none is a complaint."""
    assert rules.empty_scenarios(tmp_path) == []
    folder = tmp_path / "configs" / "scenarios"
    folder.mkdir(parents=True)
    assert rules.empty_scenarios(tmp_path) == ["configs/scenarios: no *.litmus"]
    (folder / "a.litmus").write_text(FIXED)
    assert rules.empty_scenarios(tmp_path) == []
    assert rules.empty_scenarios(ROOT) == []


def test_a_tree_without_git_is_read_too(tmp_path: Path) -> None:
    """An unpacked source distribution is held to the same rules, without what was built there."""
    for name in ("a.py", "docs/b.md", ".venv/c.py", "out/d.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert sorted(map(str, paths_of(tmp_path))) == ["a.py", "docs/b.md"]
