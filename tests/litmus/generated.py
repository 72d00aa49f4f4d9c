"""Hypothesis strategies for scenarios that make sense, written untidily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st
from tests.litmus.texts import DISCIPLINES, FAULTY_DEVICES

from shootdown_engine.slot import REUSED
from shootdown_protocol.program import HUGE_STATES
from shootdown_verify.litmus import CHECKS
from shootdown_verify.litmus.vocabulary import (
    FAULT_KINDS,
    FILE_OPERATIONS,
    MODELS,
    OPTIONS,
    STATES,
    TEXT_OPERATIONS,
    UNMAPPED,
)

NAMES = ("A", "B", "C", "x", "y_1", "Zed")
HUGE = [word for word, state in STATES.items() if state in HUGE_STATES]
LARGE = [*HUGE, "file_thp"]
PRESENT = [state for state in STATES if state not in UNMAPPED]
PLAIN_OPERATIONS = ("wp_page_copy", "zap_pte_range", "unmap_vmas", "change_pte_range")


@dataclass
class Draft:
    """What a scenario under construction has so far."""

    lines: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    mms: dict[str, str] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    registers: list[str] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    values: set[int] = field(default_factory=lambda: {0})
    stores: int = 0


def some(draw: st.DrawFn, items: Sequence[str]) -> list[str]:
    """Draw different items, in any order, perhaps none."""
    return draw(st.lists(st.sampled_from(items), unique=True)) if items else []


def homes(draft: Draft, name: str) -> set[str]:
    """Name the address spaces of a location and of those that it descends from."""
    above = homes(draft, draft.parents[name]) if name in draft.parents else set()
    return {draft.mms[name], *above}


def declare(draw: st.DrawFn, draft: Draft, name: str) -> None:
    """Declare a location."""
    mm = draw(st.sampled_from(("mm", "other", "child")))
    childless = [parent for parent in draft.states if parent not in draft.parents.values()]
    parents = [parent for parent in childless if mm not in homes(draft, parent)]
    kinds = [*STATES, "none", "child"] if parents else [*STATES, "none"]
    kind = draw(st.sampled_from(kinds))
    draft.states[name], draft.mms[name] = kind, mm
    where = "" if mm == "mm" and draw(st.booleans()) else f"@{mm}"
    if kind == "child":
        draft.parents[name] = draw(st.sampled_from(parents))
        value = f"child of {draft.parents[name]}"
    elif kind == "none":
        value = "none"
    else:
        number = 0 if kind in ("zero", "huge_zero") else draw(st.integers(500, 1023))
        draft.values.add(number)
        value = f"{number} {'' if kind == 'rw' and draw(st.booleans()) else kind}"
    draft.lines.append(f"{name}{where} = {value};")


def group(draw: st.DrawFn, draft: Draft) -> None:
    """Put some locations into one table, and declare all of them racy."""
    mm = draw(st.sampled_from(sorted(set(draft.mms.values()))))
    small = [n for n in draft.states if n not in draft.parents and draft.states[n] not in LARGE]
    able = [n for n in small if draft.mms[n] == mm]
    names = some(draw, able)
    if len(names) > 1:
        draft.lines.append(f"same_table {' '.join(names)} ;")
    draft.lines.append(f"racy {' '.join(draft.states)};")


def cell(draw: st.DrawFn, draft: Draft, columns: list[str], index: int) -> str:
    """Write one instruction of a column; it waits only for columns before it."""
    name = draw(st.sampled_from(sorted(draft.states)))
    column, state = columns[index], draft.states[name]
    is_cpu = column.startswith("CPU")
    kinds = ["load", "store", "delay", "op" if is_cpu else "prefetch"]
    kinds += ["await", "sync"] if index else []
    kind = draw(st.sampled_from(kinds))
    when = " when present" if state in PRESENT and draw(st.booleans()) else ""
    match kind:
        case "load":
            register = f"r{len(draft.registers)}"
            draft.registers.append(f"{column}:{register}")
            return f"load {name} {register}{when}"
        case "store":
            draft.stores += 1
            draft.values.add(draft.stores)
            return f"store {name}  {draft.stores}{when}"
        case "delay":
            return f"delay {draw(st.integers(1, 99))}"
        case "prefetch":
            return f"prefetch {name}{draw(st.sampled_from(('', ' write')))}"
        case "op":
            return operation(draw, draft, name) + when
        case _:
            return f"{kind} {draw(st.sampled_from(columns[:index]))}"


def operation(draw: st.DrawFn, draft: Draft, name: str) -> str:
    """Write an operation that the location allows."""
    state = draft.states[name]
    special = {"file": FILE_OPERATIONS, "uprobed": TEXT_OPERATIONS}
    able = list(special.get(state, PLAIN_OPERATIONS))
    able = ["unmap_mapping_range"] if state in HUGE else able
    forked = name in draft.parents.values() and state not in {*HUGE, *special}
    able += ["copy_pte_range"] if forked else []
    able += ["replace_page"] if draft.states[name] == "ksm_pair" else []
    verb = draw(st.sampled_from(able))
    draft.operations.add(verb)
    return f"{verb} {name}"


def table(draw: st.DrawFn, draft: Draft, columns: list[str]) -> list[str]:
    """Write the table, with empty cells where they fall."""
    cells = [
        [cell(draw, draft, columns, index) for _ in range(draw(st.integers(1, 3)))]
        for index in range(len(columns))
    ]
    rows: list[str] = []
    while any(cells):
        row = [own.pop(0) if own and draw(st.integers(0, 3)) < 3 else "" for own in cells]
        if len(columns) > 1 or row[0]:
            rows.append(" | ".join(row) + draw(st.sampled_from(("", " ;", "  # a remark"))))
    return rows


def translations(draw: st.DrawFn, draft: Draft, devices: list[str]) -> None:
    """Let devices hold and guess translations."""
    for name in some(draw, sorted(draft.states)) if devices else []:
        column = draw(st.sampled_from(devices))
        write = draw(st.sampled_from(("", " write")))
        if draft.states[name] in PRESENT and (write == "" or draft.states[name] == "rw"):
            draft.lines.append(f"atc {column} {name}{write};")
        times = draw(st.sampled_from(("", " times 1", " times 2", " times 7")))
        draft.lines.append(f"speculate {column} {name}{write}{times};")


def conditions(draft: Draft) -> st.SearchStrategy[str]:
    """Conditions on what the scenario loads and holds."""
    atoms = st.builds(
        "{}={}".format,
        st.sampled_from([*draft.registers, *draft.states]),
        st.sampled_from(sorted(draft.values)),
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            inner.map("~({})".format),
            st.builds("{} /\\ ({})".format, inner, inner),
            st.builds("({}) \\/ {}".format, inner, inner),
        ),
        max_leaves=6,
    )


def claims(draw: st.DrawFn, draft: Draft, *, conditional: bool) -> list[str]:
    """Claim something caught, perhaps something safe, and the model that it breaks."""
    checks = [check for check in CHECKS if check != "condition" or conditional]
    by = draw(st.lists(st.sampled_from(checks), min_size=1, unique=True))
    of_a_discipline = draw(st.booleans())
    if draft.operations and of_a_discipline:
        caught, *safe = draw(st.permutations(DISCIPLINES))
        lines = [f"caught {caught} : {' '.join(by)}"]
        lines += [f"safe {' '.join(safe)};"] if draw(st.booleans()) else []
    else:
        lines = [f"caught device {draw(st.sampled_from(sorted(FAULTY_DEVICES)))} : {' '.join(by)}"]
    may_break = bool({"S2", "S3", "condition"} & set(by))
    model = draw(st.sampled_from(sorted(MODELS))) if may_break else "none"
    kinds = some(draw, FAULT_KINDS)
    lines += [f"faults {' '.join(kinds)} {draw(st.integers(1, 64))}"] if kinds else []
    return [*lines, f"weakest {model}"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Texts of scenarios named ``small`` that make sense."""
    draft = Draft()
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        declare(draw, draft, name)
    group(draw, draft)
    cpus = draw(st.lists(st.integers(0, 63), min_size=1, max_size=3, unique=True))
    headers = [f"CPU{number}" for number in cpus]
    threads = draw(st.lists(st.integers(0, 63), max_size=2, unique=True))
    headers += [f"DEV{number}{draw(st.sampled_from(('', '@d0', '@gpu')))}" for number in threads]
    columns = [header.partition("@")[0] for header in headers]
    translations(draw, draft, [c for c in columns if c.startswith("DEV")])
    rows = table(draw, draft, columns)
    bound = some(draw, PLAIN_OPERATIONS)
    if draft.operations.intersection(bound):
        draft.lines.append(f"bind {' '.join(bound)};")
        draft.operations.update(bound)
    for option in some(draw, sorted(OPTIONS)):
        # A PASID is reused only where an operation binds the next one, and none here does.
        words = [word for word in OPTIONS[option] if word != REUSED]
        draft.lines.append(f"{option} {draw(st.sampled_from(words))};")
    forbidden = draw(st.lists(conditions(draft), max_size=2))
    return "\n".join(
        [
            "# made by a machine",
            "SHOOTDOWN small",
            '"It says something."',
            "{",
            *draft.lines,
            "}",
            " | ".join(headers),
            *rows,
            *(f"forbidden {condition}" for condition in forbidden),
            *claims(draw, draft, conditional=bool(forbidden)),
        ]
    )
