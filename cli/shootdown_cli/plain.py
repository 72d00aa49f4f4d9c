"""Reads the plainest command lines without typer, whose import outlasts the start of a testbed.

Only what is complete and beyond doubt is read here. Anything else, be it wrong, abbreviated, a
question for help or one of a shell's for completion, is typer's: `parse` then gives None.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args, get_type_hints

from shootdown_cli.commands import COMMANDS
from shootdown_cli.declared import Argument, Option


class Plain(NamedTuple):
    """A command and the values of its parameters."""

    command: Callable[..., int]
    values: dict[str, object]


class _Refused(Exception):  # noqa: N818 - no error: it means that typer is to look
    """These words are not plain."""


def parse(words: list[str]) -> Plain | None:
    """Read the words after the program's name; None when typer is to look at them."""
    command = next((c for c in COMMANDS if words and c.__name__ == words[0]), None)
    if command is None or "_SHOOTDOWN_COMPLETE" in os.environ:
        return None
    try:
        return Plain(command, _values(command, words[1:]))
    except _Refused:
        return None


def _values(command: Callable[..., int], words: list[str]) -> dict[str, object]:
    hints = get_type_hints(command, include_extras=True)
    declared = {name: get_args(hint) for name, hint in hints.items() if name != "return"}
    places = [name for name, (_, item) in declared.items() if isinstance(item, Argument)]
    flags = {
        item.flag or "--" + name.replace("_", "-"): name
        for name, (_, item) in declared.items()
        if isinstance(item, Option)
    }
    values: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    rest = iter(words)
    for word in rest:
        is_flag = word.startswith("-")
        name = flags.get(word) if is_flag else places[0] if places else None
        if name is None or name in values:
            raise _Refused
        kind, item = declared[name]
        if kind in (list[str], list[str] | None):  # an argument's takes all words that follow
            given = next(rest, "") if is_flag else word
            lists.setdefault(name, []).append(_value(str, item, given))
            continue
        if not is_flag:
            places.pop(0)
        if kind is bool:
            values[name] = True
        else:
            values[name] = _value(kind, item, next(rest, "") if is_flag else word)
    values |= lists
    values = _defaults(command) | values
    if values.keys() != declared.keys():
        raise _Refused
    return values


def _defaults(command: Callable[..., int]) -> dict[str, object]:
    """Defaults of a command's parameters; to import `inspect` for them would take longer."""
    code, last = command.__code__, command.__defaults__ or ()
    by_place = code.co_varnames[: code.co_argcount][-len(last) :] if last else ()
    return {**dict(zip(by_place, last, strict=True)), **(command.__kwdefaults__ or {})}


def _value(kind: object, item: Argument | Option, word: str) -> object:
    if not word or word.startswith("-"):
        raise _Refused
    if kind in (int, int | None):
        least = item.least if isinstance(item, Option) else None
        if not (word.isascii() and word.isdigit()) or (least is not None and int(word) < least):
            raise _Refused
        return int(word)
    return Path(word) if kind is Path else word
