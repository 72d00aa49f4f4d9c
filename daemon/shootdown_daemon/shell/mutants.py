"""Finds a mutant by name, or loads a user's own from ``FILE.py:NAME``."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from pathlib import Path
from typing import NoReturn

from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_protocol.errors import ErrorCode, UsageError


def load_mutant(spec: str) -> Mutant:
    """The mutant that ``--mutant`` names, the right kernel for ``""``; `UsageError` if none is."""
    if not spec:
        return RIGHT
    from shootdown_daemon.machine.mutants import (  # noqa: PLC0415 - dozens of modules, rarely used
        MUTANTS,
    )

    if spec in MUTANTS:
        return MUTANTS[spec]
    file, colon, name = spec.rpartition(":")
    if not colon or not file.endswith(".py"):
        nearest = difflib.get_close_matches(spec, MUTANTS, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        _refuse(repr(spec) + hint, f"one of {', '.join(MUTANTS)}, or FILE.py:NAME", "--mutant")
    made = _load(Path(file), name)
    if not isinstance(made, Mutant):
        _refuse(f"{name}, which is {type(made).__name__}", "a Mutant", spec)
    return made


def _load(file: Path, name: str) -> object:
    spec = importlib.util.spec_from_file_location(f"user_mutant_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        _refuse(f"no such file: {file}", "a Python file", str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        return getattr(module, name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything
        _refuse(f"{type(error).__name__}: {error}", f"a Mutant named {name}", str(file))


def _refuse(seen: str, expected: str, where: str) -> NoReturn:
    raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where=where)
