"""Finds a discipline by name, or loads a user's own from ``FILE.py:Class``."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from shootdown_daemon.machine.disciplines import DISCIPLINES, Discipline
from shootdown_daemon.machine.phases import ORDER
from shootdown_protocol.errors import ErrorCode, UsageError


def load_discipline(name: str) -> Discipline:
    """The discipline that ``--discipline`` names; `UsageError` says what is wrong with it."""
    if name in DISCIPLINES:
        return DISCIPLINES[name]
    file, colon, class_name = name.rpartition(":")
    if not colon or not file.endswith(".py"):
        nearest = difflib.get_close_matches(name, DISCIPLINES, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UsageError(
            ErrorCode.NO_SUCH_DISCIPLINE,
            seen=repr(name) + hint,
            expected=f"one of {', '.join(DISCIPLINES)}, or FILE.py:Class",
            where="--discipline",
        )
    return _check(_load(Path(file), class_name), name)


def _load(file: Path, class_name: str) -> object:
    spec = importlib.util.spec_from_file_location(f"user_discipline_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        _refuse(f"no such file: {file}", "a Python file", str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return getattr(module, class_name)()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything
        _refuse(
            f"{type(error).__name__}: {error}", f"a class {class_name} without arguments", str(file)
        )


def _check(made: object, name: str) -> Discipline:
    if not isinstance(made, Discipline):
        _refuse(type(made).__name__, "a subclass of Discipline", name)
    phases = {phase.value for phase in ORDER}
    hooks = {
        attribute: function
        for attribute in dir(type(made))
        if callable(function := getattr(type(made), attribute)) and not attribute.startswith("_")
    }
    wrong = [hook for hook in hooks if hook not in phases]
    if wrong:
        nearest = difflib.get_close_matches(wrong[0], phases, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        _refuse(f"a method {wrong[0]}{hint}", f"hooks named {', '.join(ORDER)}", name)
    for hook, function in hooks.items():
        _check_hook(hook, function, name)
    return made


def _check_hook(hook: str, function: Callable[..., object], name: str) -> None:
    """A hook is awaited, and given the CPU that it runs on and the range of the operation."""
    signature = inspect.signature(function)
    if not inspect.iscoroutinefunction(function):
        _refuse(f"def {hook}{signature}", f"async def {hook}(self, cpu, span)", name)
    try:
        signature.bind(None, None, None)
    except TypeError:
        _refuse(f"async def {hook}{signature}", "a hook of self, cpu and span", name)


def _refuse(seen: str, expected: str, where: str) -> NoReturn:
    raise UsageError(ErrorCode.NO_SUCH_DISCIPLINE, seen=seen, expected=expected, where=where)
