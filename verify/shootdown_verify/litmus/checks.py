"""What must hold of a scenario as a whole.

One property a function, each raising `ScenarioError` at the first place that breaks it. They know
tokens, not the program: an error points at the word.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from shootdown_engine.slot import REUSED
from shootdown_protocol.program import Op, State, When
from shootdown_verify.check.finding import CONDITION
from shootdown_verify.litmus.scope import Scope
from shootdown_verify.litmus.syntax import Cell, Declaration
from shootdown_verify.litmus.tokens import Token
from shootdown_verify.litmus.vocabulary import BIND_OPERATION, FACTS, INNER_OPERATIONS, MODELS
from shootdown_verify.source import nearest, one_of, quote

_Placed = tuple[int, int, Cell]
"""A cell with its column and its position there."""


def check(scope: Scope, *, binds: bool) -> None:
    """Check a whole scenario; ``binds`` says whether a discipline has anything to bind."""
    _name_is_the_files(scope)
    _registers_differ(scope)
    _stores_differ(scope)
    _waits_end(scope)
    _waits_can_come_true(scope)
    _locations_have_one_writer(scope)
    _conditions_can_be_met(scope)
    _something_bound_runs(scope)
    _claims_are_sound(scope, binds=binds)
    _facts_are_whole(scope)
    _pasid_goes_round(scope)


def _cells(scope: Scope) -> Iterator[_Placed]:
    for column, cells in enumerate(scope.tree.cells):
        for position, cell in enumerate(cells):
            yield column, position, cell


def _name_is_the_files(scope: Scope) -> None:
    name, stem = scope.tree.name, PurePath(scope.source.path).stem
    if name.text != stem:
        hint = stem if nearest(name.text, [stem]) else ""
        raise scope.fault(name, quote(name.text), f"the name of the file, {quote(stem)}", hint)


def _registers_differ(scope: Scope) -> None:
    seen: set[tuple[int, str]] = set()
    for column, _, cell in _cells(scope):
        if cell.register is None:
            continue
        if (column, cell.register.text) in seen:
            name = scope.tree.headers[column].name.text
            what = f"a second load into {quote(f'{name}:{cell.register.text}')}"
            raise scope.fault(cell.register, what, "every register of a column once")
        seen.add((column, cell.register.text))


def _stores_differ(scope: Scope) -> None:
    """A value must say which store wrote it."""
    values = {(i, d.value) for i, d in enumerate(scope.tree.declarations)}
    for _, _, cell in _cells(scope):
        if cell.op is not Op.STORE:
            continue
        assert cell.name is not None
        assert cell.value is not None
        written = (_word_of(scope, scope.location(cell.name)), int(cell.value.text))
        if written in values:
            what = f"{cell.value.text} in {quote(cell.name.text)} a second time"
            expected = "a value that no other store and not the initial state gives it"
            raise scope.fault(cell.value, what, expected)
        values.add(written)


def _waits_end(scope: Scope) -> None:
    """No column waits for itself, nor for one that waits for it."""
    waits: dict[int, list[tuple[int, Token]]] = {}
    for column, _, cell in _cells(scope):
        if cell.op in {Op.AWAIT, Op.SYNC}:
            assert cell.name is not None
            waits.setdefault(column, []).append((scope.column(cell.name), cell.name))
    names = list(scope.columns)
    for start in waits:
        circle = _circle(waits, start)
        if circle:
            path = " -> ".join(names[column] for column in [start, *(c for c, _ in circle)])
            raise scope.fault(circle[-1][1], f"a wait without end, {path}", "columns that can end")


def _circle(waits: dict[int, list[tuple[int, Token]]], start: int) -> list[tuple[int, Token]]:
    """Find the shortest way from a column back to itself, or nothing."""
    ways: list[list[tuple[int, Token]]] = [[step] for step in waits[start]]
    met: set[int] = set()
    while ways:
        way = ways.pop(0)
        column = way[-1][0]
        if column == start:
            return way
        if column not in met:
            met.add(column)
            ways += [[*way, step] for step in waits.get(column, [])]
    return []


def _waits_can_come_true(scope: Scope) -> None:
    for column, position, cell in _cells(scope):
        if cell.when is When.NOW or _comes_true(scope, column, position, cell):
            continue
        assert cell.name is not None
        assert cell.when_token is not None
        name = quote(cell.name.text)
        needs = {
            When.WRITABLE: (f"{name} never writable", f"an operation or a plain store on {name}"),
            When.PRESENT: (f"{name} never present", f"an operation or a plain access of {name}"),
            When.FREED: ("nothing ever freed", "an operation or a plain store"),
            When.RETURNED: ("no operation to return", f"an operation on {name}"),
        }
        seen, expected = needs[cell.when]
        where = "in another column" if cell.when is When.RETURNED else "in time"
        raise scope.fault(cell.when_token, seen, f"{expected} {where}")


def _comes_true(scope: Scope, column: int, position: int, cell: Cell) -> bool:
    """Whether the initial state, another column, or this one before, can end a wait."""
    assert cell.name is not None
    index = scope.location(cell.name)
    declaration = scope.tree.declarations[index]
    if cell.when in _HOLDS_AT_ONCE.get(_begins(scope, declaration), set()):
        return True
    places = {index}
    if declaration.parent and cell.when is not When.RETURNED:
        places.add(scope.location(declaration.parent))
    if declaration.alias:
        places.add(scope.location(declaration.alias))
    for other, at, helper in _cells(scope):
        if other == column and (at >= position or cell.when is When.RETURNED):
            continue
        if helper.op not in _HELPS[cell.when] or (helper.op is not Op.RUN and helper.when):
            continue
        assert helper.name is not None
        if cell.when is When.FREED or scope.location(helper.name) in places:
            return True
    return False


def _begins(scope: Scope, declaration: Declaration) -> State:
    """How a location is mapped at the start; a shared one as its home is."""
    if declaration.alias and declaration.relation and declaration.relation.text == "share":
        return scope.tree.declarations[scope.location(declaration.alias)].state
    return declaration.state


def _word_of(scope: Scope, location: int) -> int:
    """The location whose logical word lies at a location."""
    alias = scope.tree.declarations[location].alias
    return scope.location(alias) if alias else location


_HOLDS_AT_ONCE = {
    State.RW: {When.WRITABLE, When.PRESENT},
    State.RO: {When.PRESENT},
    State.COW: {When.PRESENT},
    State.COW_SOLE: {When.PRESENT},
    State.ZERO: {When.PRESENT},
    State.KSM_PAIR: {When.PRESENT},
    State.PINNED: {When.WRITABLE, When.PRESENT},
    State.FILE: {When.WRITABLE, When.PRESENT},
    State.WRPROTECTED: {When.PRESENT},
    State.UPROBED: {When.PRESENT},
    State.KSM_TWIN: {When.WRITABLE, When.PRESENT},
    State.HUGE: {When.WRITABLE, When.PRESENT},
    State.HUGE_COW: {When.PRESENT},
    State.HUGE_ZERO: {When.PRESENT},
    State.HUGETLB: {When.WRITABLE, When.PRESENT},
    State.HUGETLB_COW: {When.PRESENT},
    State.HUGETLB_1G: {When.WRITABLE, When.PRESENT},
    State.HUGETLB_1G_COW: {When.PRESENT},
    State.FILE_THP: {When.WRITABLE, When.PRESENT},
}
_HELPS = {
    When.WRITABLE: {Op.RUN, Op.STORE},
    When.PRESENT: {Op.RUN, Op.STORE, Op.LOAD},
    When.FREED: {Op.RUN, Op.STORE},
    When.RETURNED: {Op.RUN},
}


def _locations_have_one_writer(scope: Scope) -> None:
    """All CPUs are one process, every device may be another; two make a location racy."""
    writer: dict[int, str] = {}
    racy = {scope.location(name) for name in scope.tree.racy}
    for column, _, cell in _cells(scope):
        if cell.op is not Op.STORE:
            continue
        assert cell.name is not None
        header = scope.tree.headers[column]
        who = f"device {quote(scope.device_name(header))}" if header.is_device else "CPUs"
        location = _word_of(scope, scope.location(cell.name))
        first = writer.setdefault(location, who)
        if first != who and location not in racy:
            name = cell.name.text
            seen = f"{quote(name)} written by {first} and by {who}"
            raise scope.fault(cell.name, seen, f"one writer, or 'racy {name};' above")


def _conditions_can_be_met(scope: Scope) -> None:
    loads = [(c, cell.register.text) for c, _, cell in _cells(scope) if cell.register]
    values = {declaration.value for declaration in scope.tree.declarations}
    stored = {int(cell.value.text) for _, _, cell in _cells(scope) if cell.value}
    for forbidden in scope.tree.forbidden:
        for atom in forbidden.atoms:
            if atom.column is None:
                _is_a_home(scope, atom.name)
            else:
                _register_is_loaded(scope, atom.column, atom.name, loads)
            if int(atom.value.text) not in {0, *values, *stored}:
                written = [str(value) for value in sorted({0, *values, *stored})]
                expected = f"a value that something gives ({one_of(written)})"
                raise scope.fault(atom.value, atom.value.text, expected)


def _is_a_home(scope: Scope, name: Token) -> None:
    """What is in memory in the end goes by the name of the word's own location."""
    home = _word_of(scope, scope.location(name))
    own = scope.tree.declarations[home].name.text
    if own != name.text:
        raise scope.fault(name, f"{quote(name.text)}, another address of {quote(own)}", quote(own))


def _register_is_loaded(
    scope: Scope, column: Token, register: Token, loads: list[tuple[int, str]]
) -> None:
    index = scope.column(column)
    own = [name for c, name in loads if c == index]
    if register.text not in own:
        expected = f"a register that {column.text} loads ({one_of(own)})"
        raise scope.fault(register, quote(register.text), expected, nearest(register.text, own))


def _something_bound_runs(scope: Scope) -> None:
    """A discipline that moves only what never happens cannot be told from any other."""
    bound = scope.tree.bound
    named = dict.fromkeys(cell.verb.text for _, _, cell in _cells(scope) if cell.op is Op.RUN)
    if not bound or not (INNER_OPERATIONS | named.keys()).isdisjoint(t.text for t in bound):
        return
    done = f"the columns do {', '.join(named)}" if named else "the columns do no operation"
    seen = f"{quote(bound[0].text)}, which no column does"
    expected = f"an operation that happens; {done}"
    raise scope.fault(bound[0], seen, expected, nearest(bound[0].text, named))


def _claims_are_sound(scope: Scope, *, binds: bool) -> None:
    claimed: set[tuple[str, str, str]] = set()
    for claim in scope.tree.claims:
        if not claim.kind and not binds:
            seen = "a claim about a discipline"
            raise scope.fault(claim.keyword, seen, "an operation in a column, or 'bind OPERATION;'")
        for name in claim.names:
            other = claim.other.text if claim.other else ""
            if (claim.kind, name.text, other) in claimed:
                raise scope.fault(name, f"a second claim about {quote(name.text)}", "one")
            claimed.add((claim.kind, name.text, other))
        _checks_are_sound(scope, claim.by)
    if not any(claim.by for claim in scope.tree.claims):
        expected = "'caught DISCIPLINE : CHECK': a scenario that nothing fails tests nothing"
        raise scope.fault(scope.tree.end, scope.tree.end.seen, expected)
    weakest = scope.tree.weakest
    if MODELS[weakest.text] is not None and not _may_break_a_model(scope):
        checks = one_of(sorted(_BREAK_MODELS))
        raise scope.fault(weakest, quote(weakest.text), f"'none', or something caught by {checks}")


def _facts_are_whole(scope: Scope) -> None:
    """All that there is to say of a bug is said once, or nothing at all."""
    said: set[str] = set()
    for fact in scope.tree.facts:
        if fact.key.text in said:
            raise scope.fault(fact.key, f"a second 'bug {fact.key.text}'", "one")
        said.add(fact.key.text)
    missing = [key for key in FACTS if key not in said]
    if said and missing:
        raise scope.fault(scope.tree.end, scope.tree.end.seen, f"'bug {missing[0]}' and its text")


def _pasid_goes_round(scope: Scope) -> None:
    """One PASID for several address spaces is of use only if somebody binds the next."""
    if scope.tree.options.get("pasid") != REUSED:
        return
    named = {cell.verb.text for _, _, cell in _cells(scope) if cell.op is Op.RUN}
    if len(scope.mms) < 2 or BIND_OPERATION not in named:  # noqa: PLR2004 - one after the other
        seen = "'pasid reused' with nobody to have the PASID next"
        expected = f"two address spaces, and {BIND_OPERATION} of the second in a column"
        raise scope.fault(scope.tree.end, seen, expected)


def _checks_are_sound(scope: Scope, by: tuple[Token, ...]) -> None:
    for index, token in enumerate(by):
        if token.text in [other.text for other in by[:index]]:
            raise scope.fault(token, f"{quote(token.text)} a second time", "each check once")
        if token.text == CONDITION and not scope.tree.forbidden:
            raise scope.fault(token, "'condition' without one", "'forbidden CONDITION'")


def _may_break_a_model(scope: Scope) -> bool:
    checks = {token.text for claim in scope.tree.claims for token in claim.by}
    return not _BREAK_MODELS.isdisjoint(checks)


_BREAK_MODELS = frozenset({"S2", "S3", CONDITION})
"""Checks that can find a memory model broken."""
