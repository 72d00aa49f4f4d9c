"""A scenario, read, checked and compiled.

Reading never ends otherwise than in a `Scenario` or a `ScenarioError` that points at a place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
from shootdown_verify.litmus.vocabulary import (
    DEVICE,
    FILE_CHARACTERS_MAX,
    MODELS,
    MUTANT,
    WITH,
    Names,
)
from shootdown_verify.source import Source, Span


class Configuration(NamedTuple):
    """What a scenario is explored with; ``device`` and ``mutant`` are empty for the right ones."""

    discipline: str
    device: str
    mutant: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a scenario claims of a discipline, or under ``clear_flush`` of something faulty.

    That is a ``device`` or a ``mutant`` of the kernel. ``by`` names the checks (of
    `vocabulary.CHECKS`) that may find the violation; it is empty for what is safe here. ``other``
    is what the claim joins to it, of the kind ``other_kind`` (empty for a discipline).
    """

    subject: str
    by: tuple[str, ...]
    device: bool = False
    mutant: bool = False
    other: str = ""
    other_kind: str = ""

    @property
    def kind(self) -> str:
        """What ``subject`` is: ``device``, ``mutant``, or empty for a discipline."""
        return DEVICE if self.device else MUTANT if self.mutant else ""

    @property
    def configuration(self) -> Configuration:
        """What is to be explored."""
        said = {self.kind: self.subject}
        if self.other:
            said[self.other_kind] = self.other
        return Configuration(
            said.get("", "clear_flush"), said.get(DEVICE, ""), said.get(MUTANT, "")
        )

    @property
    def words(self) -> str:
        """As the scenario says it: ``device inserts_late``."""
        joined = f" {WITH} {f'{self.other_kind} {self.other}'.strip()}" if self.other else ""
        return f"{self.kind} {self.subject}".strip() + joined

    @property
    def caught(self) -> bool:
        """Whether a violation is claimed."""
        return bool(self.by)


@dataclass(frozen=True, slots=True)
class Facts:
    """The real bug that a scenario shows.

    ``class_`` is one of `vocabulary.BUG_CLASSES`, ``fix`` names commits or CVEs, ``symptom`` is
    what was seen; ``wrong`` and ``right`` are the two orders.
    """

    class_: str
    fix: str
    symptom: str
    wrong: str
    right: str


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """A scenario. Two are equal when they say the same: text, path and lines do not count.

    ``digest`` is the SHA-256 of the text, in hexadecimal. Not all disciplines need be claimed;
    of those that are not, the scenario says nothing. ``weakest`` None: no model is broken;
    ``facts`` None: it shows no real bug. ``fault_kinds`` may happen besides, ``faults`` in all.
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
    facts: Facts | None = None
    fault_kinds: tuple[str, ...] = ()
    faults: int = 0

    def forbids(self, registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether an outcome is forbidden; registers are keyed ``COLUMN:register``."""
        return any(condition.evaluate(registers, finals) for condition in self.conditions)

    def expectation(
        self, subject: str, *, device: bool = False, mutant: bool = False
    ) -> Expectation | None:
        """Find the claim about a discipline, faulty device or mutant, if there is one."""
        for expectation in self.expectations:
            found = (expectation.subject, expectation.device, expectation.mutant)
            if found == (subject, device, mutant) and not expectation.other:
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
        faults = (self.fault_kinds, self.faults)
        return (program, self.conditions, self.expectations, self.weakest, self.facts, faults)

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
    mutants: Collection[str] | None = None,
) -> Scenario:
    """Read a scenario; ``path`` gives errors their file and the scenario its name.

    ``operations`` and ``disciplines`` are the names it may use, ``faulty_devices`` and ``mutants``
    too (None lets any pass). Raises `ScenarioError`, and nothing else, whatever the text.
    """
    source = Source(str(path), text)
    if len(text) > FILE_CHARACTERS_MAX:
        seen = f"{len(text)} characters"
        expected = f"a scenario of at most {FILE_CHARACTERS_MAX}"
        raise ScenarioError(source, Span(1, 1), seen=seen, expected=expected)
    tree = parse_tree(source, Names.of(operations, disciplines, faulty_devices, mutants))
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
        facts=_facts(tree),
        fault_kinds=tuple(kind.text for kind in tree.faults.kinds) if tree.faults else (),
        faults=int(tree.faults.most.text) if tree.faults else 0,
    )


def _expectations(tree: Tree) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(
            name.text,
            tuple(token.text for token in claim.by),
            device=claim.kind == DEVICE,
            mutant=claim.kind == MUTANT,
            other=claim.other.text if claim.other else "",
            other_kind=claim.other_kind,
        )
        for claim in tree.claims
        for name in claim.names
    )


def _facts(tree: Tree) -> Facts | None:
    said = {fact.key.text: fact.text.text.strip('"') for fact in tree.facts}
    if not said:
        return None
    return Facts(said["class"], said["fix"], said["symptom"], said["wrong"], said["right"])


def load(
    path: str | Path,
    *,
    operations: Collection[str],
    disciplines: Collection[str],
    faulty_devices: Collection[str] | None = None,
    mutants: Collection[str] | None = None,
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
        mutants=mutants,
    )


def _undecodable(path: str, content: bytes, at: int) -> ScenarioError:
    before = content[:at].decode()
    span = Span(before.count("\n") + 1, at - content.rfind(b"\n", 0, at))
    source = Source(path, content.decode(errors="replace"))
    return ScenarioError(source, span, seen=f"byte {content[at]:#04x}", expected="UTF-8 text")
