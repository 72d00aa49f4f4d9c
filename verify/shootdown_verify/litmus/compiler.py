"""From the tree of a scenario to the program that processes run.

What each declaration and each instruction becomes lives here, with the checks of one statement
at a time; `checks` holds those that need the whole program.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_protocol.program import (
    GIGANTIC_STATES,
    HUGE_STATES,
    Column,
    Instruction,
    Location,
    Op,
    Program,
    Speculation,
    State,
    Warm,
)
from shootdown_verify.litmus.placement import SHARED_GIB, Unplaced, place
from shootdown_verify.litmus.scope import Scope
from shootdown_verify.litmus.syntax import Cell, Header, Translation
from shootdown_verify.litmus.tokens import Token
from shootdown_verify.litmus.vocabulary import (
    ANY_SIZE_OPERATIONS,
    FILE_OPERATIONS,
    FORK_OPERATIONS,
    HUGE_OPERATIONS,
    MOVE_OPERATIONS,
    OPTIONS,
    PAGE_OPERATIONS,
    SHARE_OPERATIONS,
    STATES,
    STATES_NEEDED,
    SUBSCRIBER_OPERATIONS,
    TEXT_OPERATIONS,
    WRITABLE,
)
from shootdown_verify.source import one_of, quote


def compile_program(scope: Scope) -> Program:
    """Make the program; raise `ScenarioError` at a statement that means nothing."""
    locations = _locations(scope)
    _check_regions(scope, locations)
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
    parents, mms, aliases = _parents(scope), _mms(scope), _aliases(scope)
    apart = _apart(mms, aliases, group)
    gigantic = _gigantic(scope, group)
    unplaced = [
        Unplaced(
            mms[index],
            max(parent, shared_home(index, mms, aliases)),
            group.get(index, -1),
            gigantic.get(index, index in apart),
        )
        for index, parent in enumerate(parents)
    ]
    return tuple(
        Location(
            name=declaration.name.text,
            mm=home.mm,
            va=spot.va,
            state=_state(scope, index, mms, aliases),
            value=declaration.value,
            table=spot.table,
            parent=parents[index],
            racy=index in racy,
            alias=aliases[index],
        )
        for index, (declaration, home, spot) in enumerate(
            zip(scope.tree.declarations, unplaced, place(unplaced), strict=True)
        )
    )


def _apart(mms: list[int], aliases: list[int], group: dict[int, int]) -> set[int]:
    """Locations under a shared table of level 2: those that share, and all in their tables."""
    homes = [shared_home(index, mms, aliases) for index in range(len(mms))]
    apart = {place for index, home in enumerate(homes) if home >= 0 for place in (index, home)}
    groups = {group[index] for index in apart if index in group}
    return apart | {index for index, number in group.items() if number in groups}


def _gigantic(scope: Scope, group: dict[int, int]) -> dict[int, int]:
    """GiB that each location in a 1 GiB page is moved by, so that it has one of its own."""
    places: dict[tuple[str, int], int] = {}
    moved = {}
    for index, declaration in enumerate(scope.tree.declarations):
        if declaration.state in GIGANTIC_STATES:
            key = ("group", group[index]) if index in group else ("own", index)
            moved[index] = places.setdefault(key, len(places) + SHARED_GIB + 1)
    return moved


def _state(scope: Scope, index: int, mms: list[int], aliases: list[int]) -> State:
    """State of a location; one that shares a page is mapped as its home is."""
    home = shared_home(index, mms, aliases)
    return scope.tree.declarations[index if home < 0 else home].state


def shared_home(index: int, mms: list[int], aliases: list[int]) -> int:
    """The location whose page another address space maps at ``index`` too, -1 for none."""
    home = aliases[index]
    return home if home >= 0 and mms[home] != mms[index] else -1


def _aliases(scope: Scope) -> list[int]:
    """Find what each location is another address of, -1 for nothing: declared earlier."""
    mms = _mms(scope)
    aliases: list[int] = []
    for index, declaration in enumerate(scope.tree.declarations):
        token, relation = declaration.alias, declaration.relation
        if token is None or relation is None:
            aliases.append(-1)
            continue
        home = scope.location(token)
        of = scope.tree.declarations[min(home, index)]
        if home >= index or of.alias or of.parent or home in aliases:
            expected = "a location declared above, with a page of its own and no other such address"
            raise scope.fault(token, quote(token.text), expected)
        if (relation.text == "move") != (mms[home] == mms[index]):
            where = "the same" if relation.text == "move" else "another"
            seen = f"a {relation.text} in {'another' if where == 'the same' else 'the same'}"
            raise scope.fault(relation, f"{seen} address space", f"{where} address space")
        if relation.text == "share" and of.state is not State.HUGETLB:
            raise scope.fault(token, quote(token.text), "a location that begins hugetlb")
        aliases.append(home)
    return aliases


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
            expected = "an rw location, or another mapped writable, or no 'write'"
            raise scope.fault(held.write, seen, expected)
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
            _check_cell(scope, cell, locations, header)
        columns.append(
            Column(
                name=header.name.text,
                device=scope.devices[scope.device_name(header)] if header.is_device else -1,
                cpu=_cpu(scope, header),
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


def _cpu(scope: Scope, header: Header) -> int:
    """The CPU that a column runs on: its own, for a mirror's thread one after all of those."""
    number = int(header.name.text[3:])
    if header.is_device:
        return -1
    if header.is_cpu:
        return number
    return 1 + number + max(int(h.name.text[3:]) if h.is_cpu else -1 for h in scope.tree.headers)


def _check_cell(scope: Scope, cell: Cell, locations: tuple[Location, ...], header: Header) -> None:
    verb = cell.verb
    if cell.op is Op.PREFETCH and not header.is_device:
        whom = "CPU" if header.is_cpu else "mirror"
        raise scope.fault(verb, f"a prefetch by a {whom}", "a prefetch in a DEV column")
    if cell.op is not Op.RUN:
        return
    if not header.is_cpu:
        whose = "device" if header.is_device else "mirror"
        seen = f"operation {quote(verb.text)} in a {whose}'s column"
        raise scope.fault(verb, seen, "operations in CPU columns only")
    assert cell.name is not None
    index = scope.location(cell.name)
    _check_scheme(scope, verb)
    _check_size(scope, cell, locations[index])
    if verb.text in MOVE_OPERATIONS and all(
        other.alias != index or other.mm != locations[index].mm for other in locations
    ):
        seen = f"a move of {quote(cell.name.text)}, which has nowhere to go"
        raise scope.fault(cell.name, seen, f"a location 'move of {cell.name.text}'")
    if verb.text in SHARE_OPERATIONS and not _is_shared(locations, index):
        seen = f"{quote(cell.name.text)}, which nobody shares"
        raise scope.fault(cell.name, seen, f"a location 'share of {cell.name.text}'")
    if verb.text in FORK_OPERATIONS and all(other.parent != index for other in locations):
        seen = f"a fork of {quote(cell.name.text)}, which has no child"
        raise scope.fault(cell.name, seen, f"a location 'child of {cell.name.text}'")
    _check_state(scope, verb, cell.name, locations[index].state)


def _check_scheme(scope: Scope, verb: Token) -> None:
    """Check that who registers or is removed is a mirror of the scheme that does so."""
    needed = SUBSCRIBER_OPERATIONS.get(verb.text)
    scheme = scope.tree.options.get("mirror", "hmm")
    mirrors = [h for h in scope.tree.headers if not h.is_cpu and not h.is_device]
    if needed is not None and scheme != needed and mirrors:
        seen = f"{quote(verb.text)} of a mirror in the scheme {scheme}"
        raise scope.fault(verb, seen, f"'mirror {needed};' above")


def _check_state(scope: Scope, verb: Token, name: Token, state: State) -> None:
    """Refuse an operation on a location that it could do nothing with, or the wrong thing."""
    needed = STATES_NEEDED.get(verb.text, ())
    if needed and state not in [STATES[word] for word in needed]:
        seen = f"{quote(name.text)}, which begins {_word(state)}"
        raise scope.fault(name, seen, f"a location that begins {one_of(needed)}")
    if state is State.FILE and verb.text not in FILE_OPERATIONS:
        seen = f"{quote(name.text)}, a page of a file"
        raise scope.fault(name, seen, f"a private page, or one of {one_of(FILE_OPERATIONS)}")
    if state is State.UPROBED and verb.text not in TEXT_OPERATIONS:
        seen = f"{quote(name.text)}, a page of text with a probe"
        raise scope.fault(name, seen, f"another page, or one of {one_of(TEXT_OPERATIONS)}")
    if state is State.COW and verb.text in PAGE_OPERATIONS:
        seen = f"{quote(name.text)}, which a process outside maps too"
        raise scope.fault(name, seen, "a page that the scenario maps alone, as rw or cow_sole")


def _word(state: State) -> str:
    """How a scenario says a state."""
    return next((word for word, value in STATES.items() if value is state), "none")


def _is_shared(locations: tuple[Location, ...], index: int) -> bool:
    """Whether another address space maps the page of a location through the same table."""
    mm = locations[index].mm
    home = locations[index].alias
    return any(other.alias == index and other.mm != mm for other in locations) or (
        home >= 0 and locations[home].mm != mm
    )


def _check_size(scope: Scope, cell: Cell, location: Location) -> None:
    """Check that an operation on 4 KiB pages is not on a larger one."""
    verb, name = cell.verb, cell.name
    assert name is not None
    small = verb.text not in HUGE_OPERATIONS and verb.text not in ANY_SIZE_OPERATIONS
    if small and location.state in HUGE_STATES:
        word = _word(location.state)
        fitting = [op for op, states in HUGE_OPERATIONS.items() if word in states]
        seen = f"{quote(verb.text)} on the large page {quote(name.text)}"
        raise scope.fault(verb, seen, f"an operation on such a page ({one_of(fitting)})")


def _check_regions(scope: Scope, locations: tuple[Location, ...]) -> None:
    """Check that what shares a page-table page is mapped at one size, and as one page if large."""
    large = (*HUGE_STATES, State.FILE_THP)
    first: dict[int, int] = {}
    for index, location in enumerate(locations):
        other = first.setdefault(location.table, index)
        if other == index:
            continue
        token, state = scope.tree.declarations[index].name, locations[other].state
        if location.state is not state and (location.state in large or state in large):
            seen = f"{quote(location.name)} in the 2 MiB region of {quote(locations[other].name)}"
            raise scope.fault(token, seen, "locations that all begin in one state")
        if state is State.HUGE_ZERO:
            raise scope.fault(
                token, f"{quote(location.name)} in the huge zero page", "one location"
            )
