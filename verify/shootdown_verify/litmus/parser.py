"""From the text of a scenario to its tree: which word may follow which.

Nothing here asks whether a name was declared or a value makes sense; `compiler` does. The
grammar, with ``[...]`` optional, ``...`` repetition and ``{`` ``}`` literal::

    file       SHOOTDOWN NAME "SUMMARY" { statement... } table end...
    statement  LOCATION[@MM] = (VALUE [STATE] | none | (child | move | share) of LOCATION) ;
               same_table LOCATION LOCATION... ;        racy LOCATION... ;
               atc DEV LOCATION [write] ;               bind OPERATION... ;
               speculate DEV LOCATION [write] [times N] ;
               reuse (lifo | fifo) ;                    ptl (split | mm) ;
               mmap_lock (write | read) ;               DEVICE_OPTION (WORD | NUMBER) ;
    table      a line of headers, then lines of cells, parted by | and ended by ; or nothing
    header     CPU<n> | DEV<n>[@DEVICE] | MIR<n>
    cell       load LOCATION REGISTER [when present|writable|returned]
               store LOCATION VALUE [when writable|freed|present|returned]
               prefetch LOCATION [write] | await COLUMN | sync COLUMN | delay TICKS
               OPERATION LOCATION [when ...] | nothing
    end        forbidden CONDITION [;] | weakest MODEL [;] | bug FACT "TEXT" [;]
               caught SUBJECT... [with SUBJECT] : CHECK... [;]
               safe SUBJECT... [with SUBJECT] [;]
    subject    DISCIPLINE | device NAME | mutant NAME, the kind said once before the first
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shootdown_protocol.device_options import DEVICE_OPTIONS
from shootdown_protocol.faults import KINDS
from shootdown_protocol.limits import (
    COLUMNS_MAX,
    FAULTS_MAX,
    INSTRUCTIONS_PER_COLUMN_MAX,
    NAME_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
)
from shootdown_protocol.program import Op, State, When
from shootdown_protocol.words import VALUE_MAX
from shootdown_verify.litmus.condition_parser import parse_condition
from shootdown_verify.litmus.reader import Reader
from shootdown_verify.litmus.syntax import (
    AllowedFaults,
    Cell,
    Claim,
    Declaration,
    Fact,
    Forbidden,
    Header,
    Translation,
    Tree,
)
from shootdown_verify.litmus.tokens import Shape, Token
from shootdown_verify.litmus.vocabulary import (
    BUG_CLASSES,
    CHECKS,
    CLAIM_KINDS,
    COLUMN,
    DELAY_TICKS_MAX,
    DEVICE,
    END_WORDS,
    FACTS,
    FAULT_KINDS,
    INIT_WORDS,
    INSTRUCTIONS,
    LOAD_WHENS,
    MODELS,
    OPTIONS,
    SPECULATION_TIMES,
    SPECULATION_TIMES_MAX,
    STATES,
    STORE_WHENS,
    WHENS,
    WITH,
    Names,
)
from shootdown_verify.source import Source, nearest, one_of


@dataclass(slots=True)
class _Init:
    """What the initial state has said so far."""

    declarations: list[Declaration] = field(default_factory=list)
    same_table: list[tuple[Token, ...]] = field(default_factory=list)
    racy: list[Token] = field(default_factory=list)
    warm: list[Translation] = field(default_factory=list)
    speculation: list[Translation] = field(default_factory=list)
    bound: list[Token] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _End:
    """What the statements after the table have said so far."""

    forbidden: list[Forbidden] = field(default_factory=list)
    weakest: Token | None = None
    claims: list[Claim] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    faults: AllowedFaults | None = None


def parse_tree(source: Source, names: Names) -> Tree:
    """Read a whole file; raise `ScenarioError` at the first token that cannot stand there."""
    reader = Reader.of(source)
    reader.expect("SHOOTDOWN")
    name = reader.take()
    if name.shape is not Shape.WORD or len(name.text) > NAME_CHARACTERS_MAX:
        expected = f"the scenario's name, the file's, at most {NAME_CHARACTERS_MAX} characters"
        raise reader.error(name, expected)
    summary = _summary(reader)
    init = _init(reader, names)
    headers = _headers(reader)
    cells = _table(reader, headers, names)
    end = _end(reader, names)
    if end.weakest is None:
        raise reader.error(
            reader.peek(), "'weakest' and the weakest model that a caught run breaks"
        )
    return Tree(
        name=name,
        summary=summary,
        declarations=tuple(init.declarations),
        same_table=tuple(init.same_table),
        racy=tuple(init.racy),
        warm=tuple(init.warm),
        speculation=tuple(init.speculation),
        bound=tuple(init.bound),
        options=init.options,
        headers=headers,
        cells=cells,
        forbidden=tuple(end.forbidden),
        weakest=end.weakest,
        claims=tuple(end.claims),
        facts=tuple(end.facts),
        faults=end.faults,
        end=reader.peek(),
    )


def _summary(reader: Reader) -> Token:
    token = reader.take()
    if token.shape is not Shape.STRING or not token.text.strip('" \t'):
        raise reader.error(token, "one sentence in double quotes: what the scenario shows")
    if len(token.text) > TEXT_CHARACTERS_MAX:
        raise reader.fault(token, "a long sentence", f"at most {TEXT_CHARACTERS_MAX} characters")
    return token


# The initial state.


def _init(reader: Reader, names: Names) -> _Init:
    reader.expect("{")
    init = _Init()
    while not reader.is_next("}"):
        _statement(reader, init, names)
        reader.expect(";")
    if not init.declarations:
        raise reader.error(reader.peek(), "a location, as in 'A = 0 rw;'")
    reader.expect("}")
    return init


def _statement(reader: Reader, init: _Init, names: Names) -> None:
    keyword = reader.take() if reader.is_next(*INIT_WORDS) else None
    if keyword is None:
        init.declarations.append(_declaration(reader))
        return
    match keyword.text:
        case "same_table":
            first = _location(reader)
            init.same_table.append((first, *_locations(reader)))
        case "racy":
            init.racy += _locations(reader)
        case "atc":
            init.warm.append(_translation(reader))
        case "speculate":
            init.speculation.append(_speculation(reader))
        case "bind":
            init.bound += _operations(reader, names)
        case option:
            if option in init.options:
                raise reader.fault(keyword, f"a second '{option}'", f"one '{option}' at most")
            init.options[option] = _option(reader, option)


def _option(reader: Reader, option: str) -> str:
    values = OPTIONS.get(option) or DEVICE_OPTIONS[option]
    what = f"a value of {option}"
    if isinstance(values, range):
        return reader.number(values.start, values.stop - 1, what).text
    return reader.word(values, what).text


def _declaration(reader: Reader) -> Declaration:
    expected = f"a location and '=', or a statement ({one_of(INIT_WORDS)})"
    name = reader.name(expected, INIT_WORDS)
    if not reader.is_next("@", "="):
        raise reader.error(name, expected, INIT_WORDS)
    mm = reader.name("the name of an address space") if reader.take_if("@") else None
    reader.expect("=")
    if reader.take_if("none"):
        return Declaration(name, mm, State.NONE)
    if reader.take_if("child"):
        reader.expect("of")
        return Declaration(name, mm, State.NONE, parent=reader.name("the parent location"))
    relation = reader.take() if reader.is_next("move", "share") else None
    if relation is not None:
        reader.expect("of")
        alias = reader.name("the location that it is another address of")
        return Declaration(name, mm, State.NONE, alias=alias, relation=relation)
    if reader.peek().shape is Shape.WORD:
        expected = "a value, 'none', 'child of', 'move of' or 'share of'"
        raise reader.error(reader.peek(), expected, ["none", "child", "move", "share"])
    value = int(reader.number(0, VALUE_MAX, "a value").text)
    if reader.is_next(";"):
        return Declaration(name, mm, State.RW, value)
    state = STATES[reader.word(STATES, "a state").text]
    return Declaration(name, mm, state, value)


def _location(reader: Reader) -> Token:
    return reader.name("a location")


def _locations(reader: Reader) -> list[Token]:
    """One location or more, up to the semicolon."""
    locations = [_location(reader)]
    while not reader.is_next(";"):
        locations.append(_location(reader))
    return locations


def _translation(reader: Reader) -> Translation:
    column = _column(reader)
    location = _location(reader)
    return Translation(column, location, reader.take_if("write"))


def _speculation(reader: Reader) -> Translation:
    pair = _translation(reader)
    times = SPECULATION_TIMES
    if reader.take_if("times"):
        times = int(reader.number(1, SPECULATION_TIMES_MAX, "a number of times").text)
    return Translation(pair.column, pair.location, pair.write, times)


def _operations(reader: Reader, names: Names) -> list[Token]:
    """One operation or more, up to the semicolon."""
    operations = [reader.word(sorted(names.operations), "an operation")]
    while not reader.is_next(";"):
        operations.append(reader.word(sorted(names.operations), "an operation"))
    return operations


# The table.


def _column(reader: Reader) -> Token:
    """Take the name of a column."""
    token = reader.peek()
    if token.shape is not Shape.WORD or not COLUMN.fullmatch(token.text):
        raise reader.error(token, f"a column, CPU, DEV or MIR and a number below {COLUMNS_MAX}")
    if int(token.text[3:]) >= COLUMNS_MAX:
        raise reader.error(token, f"a column, CPU, DEV or MIR and a number below {COLUMNS_MAX}")
    return reader.take()


def _headers(reader: Reader) -> tuple[Header, ...]:
    line = reader.take_line()
    parts = line.split("|")
    if len(parts) > COLUMNS_MAX:
        token = parts[COLUMNS_MAX].peek()
        raise reader.fault(token, f"{len(parts)} columns", f"at most {COLUMNS_MAX}")
    return tuple(_header(part) for part in parts)


def _header(part: Reader) -> Header:
    name = _column(part)
    device = part.take_if("@")
    if device and not name.text.startswith("DEV"):
        kind = name.text[:3]
        raise part.error(device, f"nothing after a {kind} column: only devices have names")
    header = Header(name, part.name("the name of a device") if device else None)
    part.expect_end("'|' or the end of the line after a column's name")
    return header


def _table(
    reader: Reader, headers: tuple[Header, ...], names: Names
) -> tuple[tuple[Cell, ...], ...]:
    columns: list[list[Cell]] = [[] for _ in headers]
    while not reader.is_next(*END_WORDS) and not reader.at_end:
        line = reader.take_line()
        first = line.peek()
        parts = line.split("|")
        if len(parts) != len(headers):
            raise _wrong_row(reader, parts, first, len(headers))
        for column, part in zip(columns, parts, strict=True):
            if not part.at_end:
                if len(column) == INSTRUCTIONS_PER_COLUMN_MAX:
                    expected = f"at most {INSTRUCTIONS_PER_COLUMN_MAX} instructions in a column"
                    raise part.fault(part.peek(), "one instruction too many", expected)
                column.append(_cell(part, names))
    return tuple(tuple(column) for column in columns)


def _wrong_row(reader: Reader, parts: list[Reader], first: Token, columns: int) -> Exception:
    """Complain of a row: at the first cell too many, or at the end of too few."""
    cells = "1 cell" if len(parts) == 1 else f"{len(parts)} cells"
    expected = f"{columns}, one for each column"
    if len(parts) == 1:
        hint = nearest(first.text, END_WORDS)
        return reader.fault(first, cells, expected, hint)
    at = parts[columns] if len(parts) > columns else parts[-1]
    return reader.fault(at.peek(), cells, expected)


def _cell(part: Reader, names: Names) -> Cell:
    verb = part.take()
    if verb.shape is not Shape.WORD or verb.text not in {*INSTRUCTIONS, *names.operations}:
        right = [*INSTRUCTIONS, *sorted(names.operations)]
        expected = f"an instruction ({one_of(INSTRUCTIONS)}) or an operation"
        raise part.error(verb, expected, [*right, *END_WORDS])
    cell = _instruction(part, verb)
    part.expect_end("'|' or the end of the line after an instruction", ["when", "write"])
    return cell


def _instruction(part: Reader, verb: Token) -> Cell:
    match verb.text:
        case "load":
            location = _location(part)
            register = part.name("a register")
            when, token = _when(part, LOAD_WHENS)
            return Cell(verb, Op.LOAD, location, register, when=when, when_token=token)
        case "store":
            location = _location(part)
            value = part.number(1, VALUE_MAX, "a value")
            when, token = _when(part, STORE_WHENS)
            return Cell(verb, Op.STORE, location, value=value, when=when, when_token=token)
        case "prefetch":
            location = _location(part)
            return Cell(verb, Op.PREFETCH, location, write=part.take_if("write") is not None)
        case "await":
            return Cell(verb, Op.AWAIT, _column(part))
        case "sync":
            return Cell(verb, Op.SYNC, _column(part))
        case "delay":
            ticks = part.number(1, DELAY_TICKS_MAX, "a number of batch-clock ticks")
            return Cell(verb, Op.DELAY, amount=int(ticks.text))
        case _:
            location = _location(part)
            when, token = _when(part, STORE_WHENS)
            return Cell(verb, Op.RUN, location, when=when, when_token=token)


def _when(part: Reader, allowed: tuple[str, ...]) -> tuple[When, Token | None]:
    if not part.take_if("when"):
        return When.NOW, None
    token = part.word(allowed, "what to wait for")
    return WHENS[token.text], token


# What comes after the table.


def _end(reader: Reader, names: Names) -> _End:
    end = _End()
    while not reader.at_end:
        keyword = reader.word(END_WORDS, "a statement")
        match keyword.text:
            case "forbidden":
                end.forbidden.append(parse_condition(reader))
            case "weakest":
                if end.weakest is not None:
                    raise reader.fault(keyword, "a second 'weakest'", "one 'weakest'")
                end.weakest = reader.word(MODELS, "a model")
            case "caught":
                end.claims.append(_claim(reader, keyword, names))
            case "faults":
                if end.faults is not None:
                    raise reader.fault(keyword, "a second 'faults'", "one 'faults'")
                end.faults = _faults(reader, keyword)
            case "bug":
                end.facts.append(_fact(reader))
            case _:
                end.claims.append(_claim(reader, keyword, names))
        reader.take_if(";")
    return end


def _claim(reader: Reader, keyword: Token, names: Names) -> Claim:
    kind = _kind(reader)
    subjects = _until(reader, *_known(kind, names))
    other_kind, other = "", None
    if reader.take_if(WITH):
        other_kind = _kind(reader)
        others = _until(reader, *_known(other_kind, names))
        other = others[0]
        if len(others) > 1 or other_kind == kind:
            seen = f"'{WITH}' and " + (f"{len(others)} names" if len(others) > 1 else "its like")
            raise reader.fault(
                others[len(others) - 1], seen, "one discipline, device or mutant of another kind"
            )
    by: tuple[Token, ...] = ()
    if keyword.text == "caught":
        reader.expect(":")
        by = _until(reader, CHECKS, "a check")
    return Claim(keyword, kind, subjects, other_kind, other, by)


def _kind(reader: Reader) -> str:
    return reader.take().text if reader.is_next(*CLAIM_KINDS) else ""


def _known(kind: str, names: Names) -> tuple[frozenset[str] | None, str]:
    """What a claim of a kind may name, and what that is called."""
    if kind == DEVICE:
        return names.faulty_devices, "a faulty device"
    return (names.mutants, "a mutant") if kind else (names.disciplines, "a discipline")


def _faults(reader: Reader, keyword: Token) -> AllowedFaults:
    """Kinds of faults, and how many of them may happen in all."""
    kinds: list[Token] = []
    while not kinds or reader.peek().shape is not Shape.NUMBER:
        token = reader.peek()
        kind = KINDS.get(token.text)
        if kind is not None and token.text not in FAULT_KINDS:
            why = kind.explored if kind.is_live else kind.live
            raise reader.fault(token, token.seen, f"a kind that has a step ({why})")
        if token.shape is not Shape.WORD or token.text not in FAULT_KINDS:
            expected = "a kind of fault" + " or how many of them may happen" * bool(kinds)
            raise reader.error(token, f"{expected} ({one_of(FAULT_KINDS)})", FAULT_KINDS)
        if token.text in [other.text for other in kinds]:
            raise reader.fault(token, f"{token.seen} a second time", "each kind once")
        kinds.append(reader.take())
    most = reader.number(1, FAULTS_MAX, "how many of them may happen,")
    return AllowedFaults(keyword, tuple(kinds), most)


def _fact(reader: Reader) -> Fact:
    """One thing about the real bug that a scenario shows."""
    key = reader.word(FACTS, "what it says of the bug")
    text = reader.take()
    if text.shape is not Shape.STRING or not text.text.strip('" \t'):
        raise reader.error(text, f"the bug's {key.text} in double quotes")
    if len(text.text) > TEXT_CHARACTERS_MAX:
        raise reader.fault(text, "a long text", f"at most {TEXT_CHARACTERS_MAX} characters")
    if key.text == "class" and text.text.strip('"') not in BUG_CLASSES:
        hint = nearest(text.text.strip('"'), BUG_CLASSES)
        raise reader.fault(text, text.seen, f"a class of bugs ({one_of(BUG_CLASSES)})", hint)
    return Fact(key, text)


def _until(
    reader: Reader, known: tuple[str, ...] | frozenset[str] | None, what: str
) -> tuple[Token, ...]:
    """One word or more; ``known`` None lets any pass."""
    words: list[Token] = []
    while not words or (reader.peek().shape is Shape.WORD and not reader.is_next(*END_WORDS, WITH)):
        token = reader.peek()
        if known is None and token.shape is Shape.WORD:
            words.append(reader.take())
            continue
        right = list(known) if isinstance(known, tuple) else sorted(known or ())
        if token.shape is not Shape.WORD or token.text not in right:
            expected = f"{what} ({one_of(right)})" if right else what
            raise reader.error(token, expected, [*right, *(END_WORDS if words else ())])
        words.append(reader.take())
    return tuple(words)
