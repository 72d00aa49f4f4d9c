"""A scenario, read, checked and compiled.

Reading never ends otherwise than in a `Scenario` or a `ScenarioError` that points at a place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Model
from shootdown_verify.litmus.checks import check
from shootdown_verify.litmus.compiler import compile_program
from shootdown_verify.litmus.condition import Condition
from shootdown_verify.litmus.errors import ScenarioError
from shootdown_verify.litmus.parser import parse_tree
from shootdown_verify.litmus.scope import Scope
from shootdown_verify.litmus.syntax import Tree
from shootdown_verify.litmus.vocabulary import FILE_CHARACTERS_MAX, MODELS, Names
from shootdown_verify.source import Source, Span


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a scenario claims of a discipline, or of a faulty device under ``clear_flush``.

    ``by`` names the checks (of `vocabulary.CHECKS`) that may find the violation; it is empty for
    a discipline that is safe here.
    """

    subject: str
    by: tuple[str, ...]
    device: bool = False

    @property
    def caught(self) -> bool:
        """Whether a violation is claimed."""
        return bool(self.by)


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A scenario. Two are equal when they say the same: text, path and lines do not count.

    ``digest`` is the SHA-256 of the text, in hexadecimal. Not all disciplines need be claimed;
    of those that are not, the scenario says nothing. ``weakest`` None: no model is broken.
    """

    name: str
    summary: str
    program: Program
    conditions: tuple[Condition, ...]
    expectations: tuple[Expectation, ...]
    weakest: Model | None
    text: str
    path: str
    digest: str

    def forbids(self, registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether an outcome is forbidden; registers are keyed ``COLUMN:register``."""
        return any(condition.evaluate(registers, finals) for condition in self.conditions)

    def expectation(self, subject: str, *, device: bool = False) -> Expectation | None:
        """Find the claim about a discipline (or a faulty device), if there is one."""
        for expectation in self.expectations:
            if (expectation.subject, expectation.device) == (subject, device):
                return expectation
        return None

    @property
    def registers(self) -> tuple[str, ...]:
        """All registers, as ``COLUMN:register``, in the order of columns and instructions."""
        return tuple(
            f"{column.name}:{instruction.register}"
            for column in self.program.columns
            for instruction in column.instructions
            if instruction.register
        )

    def _said(self) -> tuple[object, ...]:
        columns = tuple(
            msgspec.structs.replace(
                column,
                instructions=tuple(
                    msgspec.structs.replace(instruction, line=0)
                    for instruction in column.instructions
                ),
            )
            for column in self.program.columns
        )
        program = msgspec.structs.replace(self.program, columns=columns)
        return (program, self.conditions, self.expectations, self.weakest)

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, Scenario) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.name, self.summary))


def parse(
    text: str,
    path: str | Path,
    *,
    operations: Collection[str],
    disciplines: Collection[str],
    faulty_devices: Collection[str] | None = None,
) -> Scenario:
    """Read a scenario; ``path`` gives errors their file and the scenario its name.

    ``operations`` and ``disciplines`` are the names it may use, ``faulty_devices`` too (None lets
    any pass). Raises `ScenarioError`, and nothing else, whatever the text.
    """
    source = Source(str(path), text)
    if len(text) > FILE_CHARACTERS_MAX:
        seen = f"{len(text)} characters"
        expected = f"a scenario of at most {FILE_CHARACTERS_MAX}"
        raise ScenarioError(source, Span(1, 1), seen=seen, expected=expected)
    tree = parse_tree(source, Names.of(operations, disciplines, faulty_devices))
    scope = Scope(source, tree)
    program = compile_program(scope)
    check(scope, binds=bool(program.bound))
    return Scenario(
        name=program.name,
        summary=program.summary,
        program=program,
        conditions=tuple(forbidden.condition for forbidden in tree.forbidden),
        expectations=_expectations(tree),
        weakest=MODELS[tree.weakest.text],
        text=text,
        path=str(path),
        digest=hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(),
    )


def _expectations(tree: Tree) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(name.text, tuple(token.text for token in claim.by), device=claim.device)
        for claim in tree.claims
        for name in claim.names
    )


def load(
    path: str | Path,
    *,
    operations: Collection[str],
    disciplines: Collection[str],
    faulty_devices: Collection[str] | None = None,
) -> Scenario:
    """Read a scenario file, as `parse`; also raises `OSError` if the file cannot be read."""
    content = Path(path).read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _undecodable(str(path), content, error.start) from error
    return parse(
        text,
        path,
        operations=operations,
        disciplines=disciplines,
        faulty_devices=faulty_devices,
    )


def _undecodable(path: str, content: bytes, at: int) -> ScenarioError:
    before = content[:at].decode()
    span = Span(before.count("\n") + 1, at - content.rfind(b"\n", 0, at))
    source = Source(path, content.decode(errors="replace"))
    return ScenarioError(source, span, seen=f"byte {content[at]:#04x}", expected="UTF-8 text")
