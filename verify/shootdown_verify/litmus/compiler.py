"""From the tree of a scenario to the program that processes run.

What each declaration and each instruction becomes lives here, with the checks of one statement
at a time; `checks` holds those that need the whole program.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_protocol.device_options import ON
from shootdown_protocol.program import (
    Column,
    Instruction,
    Location,
    Op,
    Program,
    Speculation,
    State,
    Warm,
)
from shootdown_verify.litmus.placement import Unplaced, place
from shootdown_verify.litmus.scope import Scope
from shootdown_verify.litmus.syntax import Cell, Translation
from shootdown_verify.litmus.tokens import Token
from shootdown_verify.litmus.vocabulary import (
    FILE_OPERATIONS,
    FORK_OPERATION,
    OPTIONS,
    PAGE_OPERATIONS,
    STATES,
    STATES_NEEDED,
    WRITABLE,
)
from shootdown_verify.source import one_of, quote


def _check_options(scope: Scope) -> None:
    options = scope.tree.options
    if options.get("ad_bits") == options.get("walk_by_level") == ON:
        seen = "'ad_bits on' beside 'walk_by_level on'"
        raise scope.fault(scope.tree.name, seen, "one of the two: bits are set by whole walks")


def compile_program(scope: Scope) -> Program:
    """Make the program; raise `ScenarioError` at a statement that means nothing."""
    _check_options(scope)
    locations = _locations(scope)
    return Program(
        name=scope.tree.name.text,
        summary=scope.tree.summary.text.strip('"').strip(),
        mms=tuple(scope.mms),
        devices=tuple(scope.devices),
        locations=locations,
        columns=_columns(scope, locations),
        warm=_warm(scope, locations),
        speculation=_speculation(scope),
        bound=_bound(scope),
        options={name: values[0] for name, values in OPTIONS.items()} | scope.tree.options,
    )


# Locations.


def _locations(scope: Scope) -> tuple[Location, ...]:
    group = _groups(scope)
    racy = _named_once(scope, scope.tree.racy, "racy")
    unplaced = [
        Unplaced(mm, parent, group.get(index, -1))
        for index, (mm, parent) in enumerate(zip(_mms(scope), _parents(scope), strict=True))
    ]
    return tuple(
        Location(
            name=declaration.name.text,
            mm=home.mm,
            va=spot.va,
            state=declaration.state,
            value=declaration.value,
            table=spot.table,
            parent=home.parent,
            racy=index in racy,
        )
        for index, (declaration, home, spot) in enumerate(
            zip(scope.tree.declarations, unplaced, place(unplaced), strict=True)
        )
    )


def _mms(scope: Scope) -> list[int]:
    return [scope.mms[scope.mm_name(declaration)] for declaration in scope.tree.declarations]


def _parents(scope: Scope) -> list[int]:
    """Find each location's parent, -1 for none: declared earlier, in another address space."""
    mms = _mms(scope)
    parents: list[int] = []
    for index, declaration in enumerate(scope.tree.declarations):
        token = declaration.parent
        if token is None:
            parents.append(-1)
            continue
        parent = scope.location(token)
        if parent >= index:
            expected = "a parent declared above its child"
            raise scope.fault(token, quote(token.text), expected)
        if any(mms[forebear] == mms[index] for forebear in _line(parents, parent)):
            seen = f"{quote(declaration.name.text)} in an address space that it descends from"
            raise scope.fault(declaration.name, seen, "another one, as in 'B@child = child of A'")
        if parent in parents:
            seen = f"a second child of {quote(token.text)}"
            raise scope.fault(token, seen, "one child of a location at most: it is forked once")
        parents.append(parent)
    return parents


def _line(parents: list[int], location: int) -> Iterator[int]:
    """Follow a line of forks up, from a location itself."""
    while location >= 0:
        yield location
        location = parents[location]


def _groups(scope: Scope) -> dict[int, int]:
    """Number the ``same_table`` group of each location that is in one."""
    parents, mms = _parents(scope), _mms(scope)
    group: dict[int, int] = {}
    for number, names in enumerate(scope.tree.same_table):
        first = scope.location(names[0])
        for name in names:
            location = scope.location(name)
            if parents[location] >= 0:
                seen = f"the child {quote(name.text)}"
                raise scope.fault(name, seen, "its parent: a child lies where its parent lies")
            if mms[location] != mms[first]:
                seen = f"{quote(name.text)} of another address space"
                raise scope.fault(name, seen, "locations of one address space")
            if location in group:
                seen = f"{quote(name.text)} a second time"
                raise scope.fault(name, seen, "each location in one same_table, once")
            group[location] = number
    return group


def _named_once(scope: Scope, names: tuple[Token, ...], statement: str) -> set[int]:
    found: set[int] = set()
    for name in names:
        location = scope.location(name)
        if location in found:
            seen = f"{quote(name.text)} a second time"
            raise scope.fault(name, seen, f"each location in '{statement}' once")
        found.add(location)
    return found


# What devices hold, and what they may fetch.


def _warm(scope: Scope, locations: tuple[Location, ...]) -> tuple[Warm, ...]:
    warm: dict[tuple[int, int], Warm] = {}
    for held in scope.tree.warm:
        device, index = scope.device_of(held.column), scope.location(held.location)
        location = locations[index]
        if location.state in (State.NONE, State.SWAPPED):
            seen = f"a translation of {quote(location.name)}, which begins unmapped"
            raise scope.fault(held.location, seen, "a location that a device can hold")
        if held.write and location.state not in WRITABLE:
            seen = f"permission to write {quote(location.name)}, which begins without"
            raise scope.fault(held.write, seen, "an rw location, or no 'write'")
        if (device, index) in warm:
            seen = f"a second translation of {quote(location.name)} in one device"
            raise scope.fault(held.location, seen, "each device and location once in 'atc'")
        warm[device, index] = Warm(device, index, write_intent=held.write is not None)
    return tuple(warm.values())


def _speculation(scope: Scope) -> tuple[Speculation, ...]:
    found: dict[tuple[int, int, bool], Speculation] = {}
    for guess in scope.tree.speculation:
        device, location = scope.device_of(guess.column), scope.location(guess.location)
        key = (device, location, guess.write is not None)
        if key in found:
            raise scope.fault(
                guess.location,
                f"a second speculation of {quote(guess.location.text)} by one device",
                "one of each kind, with 'times N'",
            )
        found[key] = _guess(key, guess)
    return tuple(found.values())


def _guess(key: tuple[int, int, bool], guess: Translation) -> Speculation:
    device, location, write = key
    return Speculation(device, location, write_intent=write, count=guess.times)


def _bound(scope: Scope) -> tuple[str, ...]:
    """Name what the discipline binds: what is said, else the operations of the columns."""
    said = scope.tree.bound
    for index, token in enumerate(said):
        if token.text in [other.text for other in said[:index]]:
            seen = f"{quote(token.text)} a second time"
            raise scope.fault(token, seen, "each operation in 'bind' once")
    cells = (cell for column in scope.tree.cells for cell in column)
    named = [cell.verb.text for cell in cells if cell.op is Op.RUN]
    return tuple(token.text for token in said) or tuple(dict.fromkeys(named))


# Columns.


def _columns(scope: Scope, locations: tuple[Location, ...]) -> tuple[Column, ...]:
    columns = []
    for header, cells in zip(scope.tree.headers, scope.tree.cells, strict=True):
        if not cells:
            seen = f"nothing in column {quote(header.name.text)}"
            raise scope.fault(header.name, seen, "an instruction or more")
        for cell in cells:
            _check_cell(scope, cell, locations, is_cpu=header.is_cpu)
        columns.append(
            Column(
                name=header.name.text,
                device=-1 if header.is_cpu else scope.devices[scope.device_name(header)],
                cpu=int(header.name.text[3:]) if header.is_cpu else -1,
                instructions=tuple(_instruction(scope, cell) for cell in cells),
            )
        )
    return tuple(columns)


def _instruction(scope: Scope, cell: Cell) -> Instruction:
    name = cell.name
    on_column = cell.op in {Op.AWAIT, Op.SYNC}
    return Instruction(
        op=cell.op,
        location=scope.location(name) if name and not on_column else -1,
        value=int(cell.value.text) if cell.value else 0,
        register=cell.register.text if cell.register else "",
        when=cell.when,
        write_intent=cell.write,
        target=scope.column(name) if name and on_column else -1,
        amount=cell.amount,
        operation=cell.verb.text if cell.op is Op.RUN else "",
        line=cell.verb.line,
    )


def _check_cell(scope: Scope, cell: Cell, locations: tuple[Location, ...], *, is_cpu: bool) -> None:
    verb = cell.verb
    if cell.op is Op.PREFETCH and is_cpu:
        raise scope.fault(verb, "a prefetch by a CPU", "a prefetch in a DEV column")
    if cell.op is not Op.RUN:
        return
    if not is_cpu:
        seen = f"operation {quote(verb.text)} in a device's column"
        raise scope.fault(verb, seen, "operations in CPU columns only")
    assert cell.name is not None
    index = scope.location(cell.name)
    if verb.text == FORK_OPERATION and all(other.parent != index for other in locations):
        seen = f"a fork of {quote(cell.name.text)}, which has no child"
        raise scope.fault(cell.name, seen, f"a location 'child of {cell.name.text}'")
    _check_state(scope, verb, cell.name, locations[index].state)


def _check_state(scope: Scope, verb: Token, name: Token, state: State) -> None:
    """Refuse an operation on a location that it could do nothing with, or the wrong thing."""
    needed = STATES_NEEDED.get(verb.text, ())
    if needed and state not in [STATES[word] for word in needed]:
        seen = f"{quote(name.text)}, which begins {_word(state)}"
        raise scope.fault(name, seen, f"a location that begins {one_of(needed)}")
    if state is State.FILE and verb.text not in FILE_OPERATIONS:
        seen = f"{quote(name.text)}, a page of a file"
        raise scope.fault(name, seen, f"a private page, or one of {one_of(FILE_OPERATIONS)}")
    if state is State.COW and verb.text in PAGE_OPERATIONS:
        seen = f"{quote(name.text)}, which a process outside maps too"
        raise scope.fault(name, seen, "a page that the scenario maps alone, as rw or cow_sole")


def _word(state: State) -> str:
    """How a scenario says a state."""
    return next((word for word, value in STATES.items() if value is state), "none")
