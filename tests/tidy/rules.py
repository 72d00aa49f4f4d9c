"""The house rules, each a function that returns its complaints; none means the rule is kept.

Rules look at text, never at the running program. What they look for is spelled here so that this
file does not trip over itself: a bracket inside a word, as in ``TO[D]O``.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600

# Type names that say nothing about what the thing is.
VAGUE_NAME = re.compile(r"(Manager|Handler|Utils|Info)$")

# A path that starts at the root of one machine; not "docs/mnt/", "~/mnt/" or "$HOME/mnt/".
MACHINE_PATH = re.compile(r"(?<![\w.~})-])/(?:home|root|work|srv|mnt|Users)/")

# Words that put work off.
DEFERRAL = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b")

# Hosts that packages come from: the machine's business, not the project's.
REGISTRY_HOST = re.compile(
    r"py[p]i\.org|python[h]osted\.org|registry\.n[p]mjs|deb\.de[b]ian", re.IGNORECASE
)

# A second sentence: an end mark, then space, then a capital.
SENTENCE_BREAK = re.compile(r"[.!?]\s+(?=[A-Z])")

# A scenario's claim that some discipline or faulty device fails it.
CAUGHT = re.compile(r"^[ \t]*caught\b[ \t:]+\S", re.MULTILINE)


@dataclass(frozen=True)
class SourceFile:
    """One file of the repository: where it is and what it says."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The file as Python."""
        return ast.parse(self.text, filename=str(self.path))

    @property
    def is_python(self) -> bool:
        """Whether Python rules are for it."""
        return self.path.suffix == ".py"

    @property
    def is_test(self) -> bool:
        """Whether pytest would collect it."""
        return (
            self.path.name.startswith("test_") and self.path.parts[0] == "tests" and self.is_python
        )

    @property
    def is_room_module(self) -> bool:
        """Whether it belongs to a package that is installed: room/shootdown_room/..."""
        parts = self.path.parts
        return self.is_python and len(parts) > 1 and parts[1] == f"shootdown_{parts[0]}"

    @property
    def is_machine(self) -> bool:
        """Whether it belongs to what the explorer runs."""
        in_machine = self.is_room_module and "machine" in self.path.parts[2:-1]
        return in_machine or (self.is_room_module and self.path.parts[0] == "engine")

    def at(self, line: int, complaint: str) -> str:
        """Return a complaint that an editor can jump to."""
        return f"{self.path}:{line}: {complaint}"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def lines_without_docstring(function: Function) -> int:
    """Length of a function from ``def`` to its last line; what explains it is free."""
    assert function.end_lineno is not None
    length = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        length -= docstring.end_lineno - docstring.lineno + 1
    return length


def long_functions(file: SourceFile) -> list[str]:
    """A function fits on a screen."""
    return [
        file.at(
            function.lineno, f"{function.name} has {length} lines, at most {FUNCTION_LINES_MAX}"
        )
        for function in functions(file.tree)
        if (length := lines_without_docstring(function)) > FUNCTION_LINES_MAX
    ]


def long_module(file: SourceFile) -> list[str]:
    """A module is read in one sitting."""
    length = len(file.text.splitlines())
    if length <= MODULE_LINES_MAX:
        return []
    return [file.at(length, f"{length} lines, at most {MODULE_LINES_MAX}")]


def missing_module_docstring(file: SourceFile) -> list[str]:
    """A module says what may live in it."""
    return [] if ast.get_docstring(file.tree) else [file.at(1, "no module docstring")]


def test_without_sentence(file: SourceFile) -> list[str]:
    """A test says in one sentence what would be wrong if it failed."""
    complaints = []
    for function in functions(file.tree):
        if not function.name.startswith("test_"):
            continue
        docstring = ast.get_docstring(function)
        if docstring is None:
            complaints.append(file.at(function.lineno, f"{function.name} has no docstring"))
        elif not docstring.endswith((".", "!", "?")) or SENTENCE_BREAK.search(docstring):
            complaints.append(
                file.at(function.lineno, f"{function.name}: docstring is not one sentence")
            )
    return complaints


def vague_class_name(file: SourceFile) -> list[str]:
    """A class is named by what it is."""
    return [
        file.at(node.lineno, f"class {node.name}: say what it is")
        for node in ast.walk(file.tree)
        if isinstance(node, ast.ClassDef) and VAGUE_NAME.search(node.name)
    ]


def print_in_machine(file: SourceFile) -> list[str]:
    """A machine returns records; it does not speak."""
    return [
        file.at(node.lineno, "a machine does not print")
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


def lines_matching(file: SourceFile, pattern: re.Pattern[str], complaint: str) -> list[str]:
    """One complaint for each line that holds the pattern."""
    return [
        file.at(number, f"{complaint}: {match.group()}")
        for number, line in enumerate(file.text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def machine_path(file: SourceFile) -> list[str]:
    """Nothing depends on where one machine keeps its files."""
    return lines_matching(file, MACHINE_PATH, "path of one machine")


def deferral(file: SourceFile) -> list[str]:
    """What is left to do is an issue, not a comment."""
    return lines_matching(file, DEFERRAL, "work put off")


def registry_host(file: SourceFile) -> list[str]:
    """Where packages come from is set on the machine."""
    return lines_matching(file, REGISTRY_HOST, "host of a package registry")


def harmless_scenario(file: SourceFile) -> list[str]:
    """A scenario that nothing fails tests nothing."""
    return [] if CAUGHT.search(file.text) else [file.at(1, "states nothing that it catches")]


@dataclass(frozen=True)
class Rule:
    """A check of single files, and which files it is for."""

    check: Callable[[SourceFile], list[str]]
    applies: Callable[[SourceFile], bool]

    @property
    def name(self) -> str:
        """The rule's name in test reports."""
        return self.check.__name__


def is_python(file: SourceFile) -> bool:
    """Any Python file, the tests too."""
    return file.is_python


def is_any(_file: SourceFile) -> bool:
    """Any text file."""
    return True


FILE_RULES: Sequence[Rule] = (
    Rule(long_functions, is_python),
    Rule(long_module, is_python),
    Rule(vague_class_name, is_python),
    Rule(missing_module_docstring, lambda file: file.is_room_module),
    Rule(print_in_machine, lambda file: file.is_machine),
    Rule(test_without_sentence, lambda file: file.is_test),
    Rule(machine_path, is_any),
    Rule(deferral, is_any),
    Rule(registry_host, is_any),
    Rule(
        harmless_scenario,
        lambda file: (
            file.path.parts[:2] == ("configs", "scenarios") and file.path.suffix == ".litmus"
        ),
    ),
)


def init_in_room(paths: Sequence[PurePosixPath], rooms: Sequence[str]) -> list[str]:
    """A room is a folder, never a package: ``import daemon`` must not find ours."""
    return [
        f"{path}: a room is not a package"
        for room in rooms
        for path in paths
        if str(path) == f"{room}/__init__.py"
    ]


def misnamed_room(packages: Sequence[str], paths: Sequence[PurePosixPath]) -> list[str]:
    """Every package of the wheel is there, and folder X holds package shootdown_X."""
    present = {str(path) for path in paths}
    complaints = []
    for package in packages:
        room, _, name = package.partition("/")
        if name != f"shootdown_{room}":
            complaints.append(f"{package}: folder {room} holds package shootdown_{room}")
        if f"{package}/__init__.py" not in present:
            complaints.append(f"{package}: no __init__.py")
    return complaints


def requirement_name(requirement: str) -> str:
    """``pyright[nodejs]>=1.1`` is pyright."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return match.group().lower()


def dependencies(pyproject: str) -> list[str]:
    """Every distribution that pyproject.toml asks for, to build, run, test or check."""
    table = tomllib.loads(pyproject)
    groups = table.get("dependency-groups", {}).values()
    requirements = [
        *table["build-system"]["requires"],
        *table["project"]["dependencies"],
        *(entry for group in groups for entry in group if isinstance(entry, str)),
    ]
    return sorted({requirement_name(requirement) for requirement in requirements})


def undecided_dependency(pyproject: str, decisions: str) -> list[str]:
    """A dependency has a line that says what job it does and why it was chosen."""
    return [
        f"{name}: no line in docs/decisions/"
        for name in dependencies(pyproject)
        if not re.search(
            rf"^\W*`?{re.escape(name)}`?\W.*\w", decisions, re.MULTILINE | re.IGNORECASE
        )
    ]


def unpinned_dependency(pyproject: str, lock: str) -> list[str]:
    """What the tree asks for is what the lock file pins."""
    pinned = {line.partition("==")[0].strip().lower() for line in lock.splitlines() if "==" in line}
    return [
        f"{name}: not in requirements-dev.lock (make lock)"
        for name in dependencies(pyproject)
        if name not in pinned
    ]


def closed_changelog(changelog: str) -> list[str]:
    """There is always a place for the next change."""
    return (
        []
        if re.search(r"^## \[?Unreleased\]?\s*$", changelog, re.MULTILINE)
        else ["no Unreleased section"]
    )


def empty_scenarios(root: Path) -> list[str]:
    """If there is a folder of scenarios it holds some, or rules on them would pass on nothing."""
    folder = root / "configs" / "scenarios"
    if folder.is_dir() and not any(folder.glob("*.litmus")):
        return ["configs/scenarios: no *.litmus"]
    return []
