"""Finds a device class: a faulty one of the zoo by name, or a user's own in a file of theirs.

Whoever serves a device loads its class here, from the same words that a person has typed:
``NAME``, ``FILE.py:Class``, or ``FILE.py`` when one class of that file is a device.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from shootdown_device_agent.machine.config import check_settings
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.errors import ErrorCode, UsageError


def load_device(spec: str) -> type[Device]:
    """The device class that ``spec`` names; `UsageError` says what is wrong with it."""
    from shootdown_device_agent.machine.zoo import ZOO  # noqa: PLC0415 - dozens of modules

    if spec in ZOO:
        return ZOO[spec]
    file, name = split_spec(spec)
    if not file:
        like = difflib.get_close_matches(spec, ZOO, 1)
        hint = f"; did you mean {like[0]}?" if like else ""
        _refuse(repr(spec) + hint, f"FILE.py:Class, or one of {', '.join(ZOO)}")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        _refuse(repr(spec), "FILE.py:Class, with a file that is there")
    module = _import(path)
    made = _named(module, name, path) if name else _only(module, path)
    check_settings(made.SETTINGS, f"SETTINGS of {made.__name__} in {path}")
    return made


def split_spec(spec: str) -> tuple[str, str]:
    """File and class of a spec; both empty for a bare name, the class alone for ``FILE.py``."""
    file, colon, name = spec.rpartition(":")
    if colon:
        return file, name
    return (spec, "") if spec.endswith(".py") else ("", "")


def _import(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"user_device_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything
        _refuse(f"{type(error).__name__}: {error}", f"a module that can be imported, in {path}")
    return module


def _named(module: ModuleType, name: str, path: Path) -> type[Device]:
    made: object = getattr(module, name, None)
    if made is None:
        own = [each.__name__ for each in _own_devices(module)]
        like = difflib.get_close_matches(name, own, 1) or own[:1]
        hint = f"; did you mean {like[0]}?" if like else ""
        _refuse(f"no {name}{hint}", f"a class {name} in {path}")
    if not isinstance(made, type) or not issubclass(made, Device):
        _refuse(f"{name}, which is {type(made).__name__}", "a subclass of Device")
    return made


def _only(module: ModuleType, path: Path) -> type[Device]:
    own = _own_devices(module)
    if len(own) != 1:
        names = ", ".join(each.__name__ for each in own) or "no device class"
        _refuse(f"{names} in {path}", "FILE.py:Class, or a file with one subclass of Device")
    return own[0]


def _own_devices(module: ModuleType) -> list[type[Device]]:
    """Subclasses of `Device` that the module itself makes."""
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, Device)
        and each.__module__ == module.__name__
    ]


def _refuse(seen: str, expected: str) -> NoReturn:
    raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where="a device's class")
