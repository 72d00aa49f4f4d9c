"""Writes tables of ``docs/protocol.md``, ``shared_memory.md`` and ``faults.md`` from the code.

``python -m shootdown_protocol.describe`` rewrites what stands between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``; with ``--check`` it writes nothing and exits with 1 if a page would change.
Everything else on those pages is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from shootdown_protocol import (
    board,
    faults,
    history,
    history_file,
    layout,
    limits,
    program,
    registry,
    remote_messages,
    words,
)
from shootdown_protocol import messages as m
from shootdown_protocol.errors import ERRORS
from shootdown_protocol.memory import PAGE_SHIFT, WORDS_PER_FRAME
from shootdown_protocol.process_status import ProcessRole, ProcessState, ProcessStatus
from shootdown_protocol.sides import Plane

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = ("protocol.md", "shared_memory.md", "faults.md")
_REGION: Final = re.compile(r"(<!-- begin ([\w-]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)

U64_MAX: Final = (1 << 64) - 1
Hint = Any
"""A type as an annotation gives it."""


# --- Markdown ----------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = (" ".join(str(cell).split()).replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _text(doc: str | None) -> str:
    """A docstring as Markdown: paragraphs kept, code quoted once."""
    assert doc is not None
    paragraphs = inspect.cleandoc(doc).replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _docstrings(body: Sequence[ast.stmt]) -> dict[str, str]:
    """The string under each name that is given a value, by name."""
    found = {}
    for node, below in pairwise(body):
        if not isinstance(below, ast.Expr) or not isinstance(below.value, ast.Constant):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = _text(str(below.value.value))
    return found


def _constants(module: ModuleType) -> dict[str, tuple[object, str]]:
    """Value and docstring of each documented constant of a module, in its order."""
    docs = _docstrings(ast.parse(inspect.getsource(module)).body)
    return {name: (getattr(module, name), doc) for name, doc in docs.items()}


def _constant_table(module: ModuleType, prefix: str, header: tuple[str, str, str]) -> str:
    rows = [
        (value, f"`{name}`", doc)
        for name, (value, doc) in _constants(module).items()
        if name.startswith(prefix)
    ]
    return _table(header, rows)


# --- Types -------------------------------------------------------------------------------------


def _type(hint: Hint) -> str:
    """What a field may hold, in words."""
    if hasattr(hint, "__metadata__"):
        return _ranged(get_args(hint)[0], hint.__metadata__[0])
    arguments = get_args(hint)
    origin: object = get_origin(hint)
    if origin is Literal:
        return f"integer {arguments[0]}"
    if origin is UnionType:
        return " or ".join(map(_type, arguments))
    if origin is tuple:
        return f"array of {_type(arguments[0])}"
    if origin is dict:
        return f"map of {_type(arguments[0])} to {_type(arguments[1])}"
    if issubclass(hint, msgspec.Struct | Enum):
        return f"`{hint.__name__}`"
    return {int: "integer", float: "float", str: "string", bool: "boolean", NoneType: "nil"}[hint]


def _ranged(hint: Hint, meta: msgspec.Meta) -> str:
    """A type with its range: what it is called, what it is on the wire, from where to where."""
    phrase = _type(hint)
    if hint is int:
        assert meta.ge is not None
        most = U64_MAX if meta.le is None else int(meta.le)
        phrase += f" {_number(int(meta.ge))} to {_number(most)}"
        phrase += f", a multiple of {meta.multiple_of}" if meta.multiple_of else ""
    elif hint is str:
        phrase = f"string of up to {meta.max_length}"
    elif meta.max_length is not None:
        name, _, rest = phrase.partition(" ")
        items = rest.removeprefix("of ")
        items = f"({items})" if ":" in items else items
        phrase = f"{name} of {meta.min_length or 0} to {meta.max_length} {items}"
    return f"{meta.title}: {phrase}" if meta.title else phrase


def _number(value: int) -> str:
    """A number, one near a large power of two as what it is short of it."""
    power = (value - 1).bit_length()
    short = (1 << power) - value
    if value < 1 << 20 or short > 1 << PAGE_SHIFT:
        return str(value)
    return f"2^{power} - {short}" if short else f"2^{power}"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    if field.default is msgspec.NODEFAULT:
        return f"`{field.default_factory()}`"
    return f"`{field.default.value if isinstance(field.default, Enum) else field.default!r}`"


def _fields(kind: type[msgspec.Struct]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    if not kind.__struct_config__.array_like:
        rows = [(f"`{f.encode_name}`", _type(hints[f.name]), _default(f)) for f in fields]
        return _table(("key", "holds", "if missing"), rows)
    first = 0 if kind.__struct_config__.tag is None else 1
    numbered = enumerate(fields, start=first)
    places = [(place, f"`{f.name}`", _type(hints[f.name])) for place, f in numbered]
    return _table(("element", "field", "holds"), places)


def _section(kind: type[msgspec.Struct], aside: str = "") -> str:
    tag = kind.__struct_config__.tag
    lead = f"*{f'Tag `{tag}`' if tag is not None else ''}{aside}.* " if tag is not None else ""
    return f"### {kind.__name__}\n\n{lead}{_text(kind.__doc__)}\n\n{_fields(kind)}\n"


def _enum(kind: type[Enum]) -> str:
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    docs = _docstrings(definition.body)
    rows = [(f"`{item.value}`", f"`{item.name}`", docs.get(item.name, "")) for item in kind]
    table = _table(("value", "name", "what"), rows)
    return f"### {kind.__name__}\n\n{_text(kind.__doc__)}\n\n{table}\n"


# --- Tables ------------------------------------------------------------------------------------


def message_list() -> str:
    """Every message, one a line."""
    rows = [
        (
            kind.plane.value,
            f"`{kind.tag}`",
            f"[{kind.name}](#{kind.name.lower()})",
            kind.direction.value,
        )
        for kind in registry.MESSAGES
    ]
    return _table(("plane", "tag", "message", "goes"), rows)


def message_fields(plane: Plane, elements: Sequence[type[msgspec.Struct]]) -> str:
    """Every message of a plane and what it is made of, then its elements."""
    kinds = [kind for kind in registry.MESSAGES if kind.plane is plane]
    parts = [_section(kind.type, f", {kind.direction.value}") for kind in kinds]
    return "".join((*parts, *map(_section, elements)))


def device_messages() -> str:
    """Messages of the device plane."""
    elements = (
        m.BatchSlot,
        m.InvalidateRequest,
        m.ItagCompletion,
        m.PageRequest,
        m.PageResponse,
        faults.FaultStatus,
        faults.Fault,
        remote_messages.TranslationRequest,
        remote_messages.TranslationCompletion,
        remote_messages.AccessRequest,
        remote_messages.AccessAnswer,
        remote_messages.ColumnWait,
        remote_messages.ColumnEnd,
        remote_messages.ThreadAccessRequest,
        remote_messages.RegisterWrite,
        remote_messages.RegisterStatus,
    )
    enums = (m.InvalidateFlag, m.PageResponseCode)
    return message_fields(Plane.DEVICE, elements) + "".join(map(_enum, enums))


def control_messages() -> str:
    """Messages of the control plane."""
    enums = (ProcessRole, ProcessState, m.RunEnd)
    return message_fields(Plane.CONTROL, (ProcessStatus,)) + "".join(map(_enum, enums))


def observer_messages() -> str:
    """The message of the observer plane."""
    return message_fields(Plane.OBSERVER, ())


def program_fields() -> str:
    """What a compiled scenario is made of."""
    kinds: tuple[type[msgspec.Struct], ...] = (
        program.Program,
        program.Location,
        program.Column,
        program.Instruction,
        program.Warm,
        program.Speculation,
    )
    enums = (program.Op, program.When, program.State)
    return "".join((*map(_section, kinds), *map(_enum, enums)))


def record_fields() -> str:
    """What a history's records are made of."""
    kinds: tuple[type[msgspec.Struct], ...] = (history.Stamped, *get_args(history.AnyRecord))
    return "".join((*map(_section, kinds), _enum(history.Kind), _enum(history.Place)))


def error_list() -> str:
    """Every error code."""
    rows = [
        (int(kind.code), f"`{kind.name}`", "definite" if kind.definite else "indefinite", kind.doc)
        for kind in ERRORS.values()
    ]
    return _table(("code", "name", "", "what happened"), rows)


def limit_list() -> str:
    """Every bound, wherever it is defined."""
    rows = [
        (f"`{name}`", _number(value) if isinstance(value, int) else value, doc)
        for module in (limits, board, layout, words)
        for name, (value, doc) in _constants(module).items()
        if module is limits or name.endswith("_MAX")
    ]
    return _table(("limit", "value", "of what"), rows)


def history_header() -> str:
    """Words of a history file's header."""
    return _constant_table(history_file, "F_", ("word", "name", "what"))


def segment_parts() -> str:
    """Where the parts of a segment begin, for one size as an example."""
    example = layout.Layout(frames=16_384, board_words=65_536, scramble=12_347)
    rows = [
        ("header", "0", f"{layout.HEADER_WORDS}", "0"),
        ("frame table", f"{layout.HEADER_WORDS}", "2 x frames", f"{example.frame_table * 8:#x}"),
        ("board", "frame table's end", "board words", f"{example.board * 8:#x}"),
        (
            "memory",
            f"board's end, rounded up to {WORDS_PER_FRAME}",
            f"{WORDS_PER_FRAME} x frames",
            f"{example.memory * 8:#x}",
        ),
        ("end", "", "", f"{example.words * 8:#x}"),
    ]
    frames = f"{example.frames} frames, {example.board_words} board words"
    return _table(("part", "first word", "words", f"first byte with {frames}"), rows)


def header_words() -> str:
    """Words of the segment's header."""
    return _constant_table(layout, "H_", ("word", "name", "what"))


def board_words() -> str:
    """Words of the board: the fixed ones, an agent's, and a slot's."""
    documented = _constants(board)
    slot = board.SlotLayout(columns=0, locations=0)
    rows: list[tuple[object, str, str, str]] = [
        (value, f"`{name}`", "the daemon", doc)
        for name, (value, doc) in documented.items()
        if name[1] != "_" and isinstance(value, int) and value < board.AGENTS
    ]
    for name, (value, doc) in documented.items():
        if name.startswith("A_"):
            place = f"{board.AGENTS} + {board.WORDS_PER_AGENT} a + {value}"
            rows.append((place, f"`{name}`", "agent a", doc))
    first, width = board.BOARD_FIXED, board.WORDS_PER_LOCATION
    rows.append((f"{first} + s n", "`S_STARTED`", "the daemon", documented["S_STARTED"][1]))
    ended = f"{first} + s n + {slot.ended(0)} + c"
    rows.append(
        (ended, "", "who runs column c", "Instance number plus one when the column has ended.")
    )
    for name, (value, doc) in documented.items():
        if name.startswith("L_"):
            place = f"{first} + s n + {slot.ended(0)} + C + {width} l + {value}"
            writer = "who stores to l" if name in {"L_FLOOR", "L_VERSION"} else "the daemon"
            rows.append((place, f"`{name}`", writer, doc))
    for name, (value, doc) in documented.items():
        if name.startswith("F_"):
            place = f"{first} + s n + {slot.ended(0)} + C + {width} L"
            place += f" + {board.WORDS_PER_FUNCTION} d + {value}"
            writer = "the daemon" if name == "F_CONTROL" else "who serves d"
            rows.append((place, f"`{name}`", writer, doc))
    return _table(("word of the board", "name", "who writes", "what"), rows)


def fault_kinds() -> str:
    """Every kind of fault: how it is applied, what catches it, which promise it is aimed at."""
    rows = [
        (
            f"`{kind.name}`",
            kind.doc,
            f"`--{'`, `--'.join(kind.parameters)}`" if kind.parameters else "none",
            kind.live,
            kind.explored,
            kind.caught_by,
            f"[{kind.promise}](guarantees.md)",
        )
        for kind in faults.KINDS.values()
    ]
    header = ("kind", "what happens", "takes", "live", "explored", "what catches it", "promise")
    return _table(header, rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "messages": message_list,
    "device-messages": device_messages,
    "control-messages": control_messages,
    "observer-messages": observer_messages,
    "program": program_fields,
    "records": record_fields,
    "errors": error_list,
    "fault-kinds": fault_kinds,
    "limits": limit_list,
    "history-header": history_header,
    "segment-parts": segment_parts,
    "header-words": header_words,
    "board-words": board_words,
}
"""What may stand between markers, by name."""


def render(page: str) -> str:
    """A page with its tables as the code has them; `KeyError` for a table that there is not."""
    return _REGION.sub(lambda found: found[1] + "\n" + TABLES[found[2]]() + found[3], page)


def main(arguments: Sequence[str]) -> int:
    """Rewrite the pages, or with ``--check`` only say whether they would change."""
    changed = []
    for name in PAGES:
        page = DOCS / name
        before = page.read_text()
        after = render(before)
        if after != before:
            changed.append(name)
            if "--check" not in arguments:
                page.write_text(after)
    for name in changed:
        sys.stdout.write(
            f"docs/{name} is not what the code says\n"
            if "--check" in arguments
            else f"docs/{name} written\n"
        )
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
