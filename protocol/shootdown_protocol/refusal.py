"""Why bytes are not a message of a link: the slow path of `codec`, taken only to refuse.

It reads the bytes again without types, so that the error can name the message, the field and the
value that was seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args, get_type_hints

import msgspec

from shootdown_protocol.errors import ErrorCode, RemoteProtocolError
from shootdown_protocol.messages import (
    PROTOCOL_VERSION,
)
from shootdown_protocol.registry import MESSAGES, MessageKind
from shootdown_protocol.sides import Bytes, Plane, Side

Untyped = Any
"""A value as it came, or a type to look at; nothing is known of either."""

SEEN_CHARACTERS_MAX: Final = 60
"""How much of a value an error shows."""
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_WRONG_FIELDS: Final = re.compile("(required|unknown) field|at (least|most) length")
_OBJECT: Final = re.compile("^Object (contains )?")
_TOKEN: Final = re.compile(r"\[(\d+|\.\.\.)\]|\.(\w+)")


def refusal(data: Bytes, side: Side) -> RemoteProtocolError:
    """The error for bytes that are no message of this side."""
    if len(data) == 0:
        return _refuse(ErrorCode.EMPTY_MESSAGE, side.where, "no bytes", "a message")
    if len(data) > side.bytes_max:
        seen, expected = f"{len(data)} bytes", f"at most {side.bytes_max}"
        return _refuse(ErrorCode.MESSAGE_TOO_LONG, side.where, seen, expected)
    try:
        value = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        return _unreadable(data, side, error)
    kind = _kind_of(value, side)
    if isinstance(kind, RemoteProtocolError):
        return kind
    return _wrong_version(value, kind) or _wrong_field(value, kind)


def _refuse(code: ErrorCode, where: str, seen: str, expected: str) -> RemoteProtocolError:
    return RemoteProtocolError(code, seen=seen, expected=expected, where=where)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SEEN_CHARACTERS_MAX else text[: SEEN_CHARACTERS_MAX - 3] + "..."


def _unreadable(data: Bytes, side: Side, error: Exception) -> RemoteProtocolError:
    text = str(error)
    if "truncated" in text:
        seen = f"{len(data)} bytes that end before the message does"
        return _refuse(ErrorCode.TRUNCATED_MESSAGE, side.where, seen, "a whole message")
    if "trailing" in text:
        return _refuse(ErrorCode.TRAILING_BYTES, side.where, text, "one message and nothing else")
    return _refuse(ErrorCode.MALFORMED_MESSAGE, side.where, text, "msgpack")


def _kind_of(value: object, side: Side) -> MessageKind | RemoteProtocolError:
    """Find the message that a value means to be."""
    tag = _tag_of(value, side)
    if isinstance(tag, bool) or not isinstance(tag, int if side.plane is Plane.DEVICE else str):
        expected = "an array that begins with a tag"
        if side.plane is not Plane.DEVICE:
            expected = "a map with a type"
        return _refuse(ErrorCode.MALFORMED_MESSAGE, side.where, _show(value), expected)
    on_plane = [kind for kind in MESSAGES if kind.plane is side.plane]
    for kind in on_plane:
        if kind.tag == tag:
            if side.accepts(kind):
                return kind
            expected = f"a message that goes {side.direction.value}"
            return _refuse(ErrorCode.WRONG_DIRECTION, side.where, kind.name, expected)
    expected = "one of " + ", ".join(str(kind.tag) for kind in on_plane if side.accepts(kind))
    return _refuse(ErrorCode.UNKNOWN_MESSAGE, side.where, f"tag {_show(tag)}", expected)


def _tag_of(value: object, side: Side) -> object:
    if side.plane is Plane.DEVICE:
        return value[0] if isinstance(value, list) and value else None
    return value.get("type") if isinstance(value, dict) else None


def _wrong_version(value: Untyped, kind: MessageKind) -> RemoteProtocolError | None:
    """Look at the version before all else: the other fields may be those of the other version."""
    fields = kind.type.__struct_fields__
    if "protocol_version" not in fields:
        return None
    if isinstance(value, dict):
        seen = value.get("protocol_version")
    else:
        position = 1 + fields.index("protocol_version")
        seen = value[position] if position < len(value) else None
    if not isinstance(seen, int) or isinstance(seen, bool) or seen == PROTOCOL_VERSION:
        return None
    where = f"{kind.name}.protocol_version"
    return _refuse(ErrorCode.UNKNOWN_VERSION, where, str(seen), str(PROTOCOL_VERSION))


def _wrong_field(value: object, kind: MessageKind) -> RemoteProtocolError:
    try:
        msgspec.convert(value, kind.type)
    except msgspec.ValidationError as error:
        return _explain(str(error), value, kind)
    # Only a form that the typed decoder refuses and this one lets pass gets here.
    return _refuse(ErrorCode.MALFORMED_MESSAGE, kind.name, _show(value), "the message's own form")


def _explain(text: str, value: object, kind: MessageKind) -> RemoteProtocolError:
    """Turn msgspec's words into code, place, seen and expected."""
    match = _AT.match(text)
    assert match is not None
    what = match["what"].replace("`", "")
    where, found, owner = _find(value, kind.type, match["path"] or "", kind.name)
    expected, got, kind_seen = what.removeprefix("Expected ").partition(", got ")
    if _WRONG_FIELDS.search(what):
        # What msgspec counts includes the tag in one case and not in the other.
        seen = f"{len(found)} elements" if got else _OBJECT.sub("", what)
        return _refuse(ErrorCode.WRONG_FIELDS, where, seen, _fields_of(owner))
    if got:
        seen = f"{kind_seen} {_show(found)}"
        return _refuse(ErrorCode.WRONG_TYPE, where, seen, expected)
    if what.startswith("Invalid enum value"):
        expected = "one of the values that it may have"
    place = f"a key of {where}" if match["key"] else where
    return _refuse(ErrorCode.OUT_OF_RANGE, place, _show(found), expected)


def _fields_of(owner: Untyped) -> str:
    owner = _bare(owner)
    fields: Sequence[str] = owner.__struct_fields__
    if owner.__struct_config__.tag is not None:
        fields = ("type" if not owner.__struct_config__.array_like else "tag", *fields)
    return f"{len(fields)}: {', '.join(fields)}"


def _find(value: Untyped, owner: Untyped, path: str, where: str) -> tuple[str, Untyped, Untyped]:
    """Follow msgspec's path: the place in words, the value there, and the type expected there."""
    for index, name in _TOKEN.findall(path):
        if index == "...":
            step = _first_refused(value, owner)
        elif index:
            step = _field_at(value, owner, int(index))
        else:
            step = _field_named(value, owner, name)
        if step is None:
            break
        place, value, owner = step
        where += place
    return where, value, owner


_Step = tuple[str, Untyped, Untyped]


def _hint(owner: Untyped, field: str) -> Untyped:
    return get_type_hints(owner, include_extras=True)[field]


def _bare(hint: Untyped) -> Untyped:
    """A type without its annotations."""
    return get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


def _field_at(value: Untyped, owner: Untyped, index: int) -> _Step | None:
    owner = _bare(owner)
    if not isinstance(value, Sequence) or index >= len(value):
        return None
    if not hasattr(owner, "__struct_fields__"):
        arguments = get_args(owner)
        return (f"[{index}]", value[index], arguments[0]) if arguments else None
    position = index - (0 if owner.__struct_config__.tag is None else 1)
    if not 0 <= position < len(owner.__struct_fields__):
        return None
    name = owner.__struct_fields__[position]
    return f".{name}", value[index], _hint(owner, name)


def _field_named(value: Untyped, owner: Untyped, name: str) -> _Step | None:
    owner = _bare(owner)
    if not isinstance(value, Mapping) or name not in getattr(owner, "__struct_fields__", ()):
        return None
    return f".{name}", value.get(name), _hint(owner, name)


def _first_refused(value: Untyped, owner: Untyped) -> _Step | None:
    """Find the entry of a map that msgspec's path leaves unnamed, by trying each."""
    arguments = get_args(_bare(owner))
    if not isinstance(value, Mapping) or not arguments:
        return None
    for key, item in value.items():
        try:
            msgspec.convert(item, arguments[1])
        except msgspec.ValidationError:
            return f"[{key!r}]", item, arguments[1]
    return None
