"""Finds a device class: a faulty one of the zoo by name, or a user's own as ``FILE.py:Class``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import NoReturn

from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.source import nearest


def load_device(spec: str) -> type[Device]:
    """The device class that ``--device`` names; `UsageError` says what is wrong with it."""
    if spec in ZOO:
        return ZOO[spec]
    file, colon, name = spec.rpartition(":")
    path = Path(file)
    if not colon:
        like = nearest(spec, ZOO)
        hint = f"; did you mean {like}?" if like else ""
        _refuse(repr(spec) + hint, f"FILE.py:Class, or one of {', '.join(ZOO)}")
    if path.suffix != ".py" or not path.is_file():
        _refuse(repr(spec), "FILE.py:Class, with a file that is there")
    found = importlib.util.spec_from_file_location(f"user_device_{path.stem}", path)
    if found is None or found.loader is None:
        _refuse(repr(spec), "a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    try:
        found.loader.exec_module(module)
        made: object = getattr(module, name)
    except Exception as error:  # noqa: BLE001 - a user's file may raise anything; it is reported
        _refuse(f"{type(error).__name__}: {error}", f"a class {name} in {path}")
    if not isinstance(made, type) or not issubclass(made, Device):
        _refuse(f"{name}, which is {type(made).__name__}", "a subclass of Device")
    return made


def _refuse(seen: str, expected: str) -> NoReturn:
    raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where="--device")
