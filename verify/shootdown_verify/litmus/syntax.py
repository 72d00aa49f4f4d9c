"""The tree of a scenario file: what was written, each part with its place.

Only plain data may live here. `parser` makes a tree from tokens, and knows which word may follow
which; `compiler` makes a program from a tree, and knows what the words mean together.
"""

from __future__ import annotations

from dataclasses import dataclass

from shootdown_protocol.program import Op, State, When
from shootdown_verify.litmus.condition import Condition
from shootdown_verify.litmus.tokens import Token


@dataclass(frozen=True, slots=True)
class Declaration:
    """``A@mm = 0 cow``, ``A = none``, ``B@mm = child of A``, or ``B = move of A``, ``share of A``.

    ``relation`` is the word before ``of``.
    """

    name: Token
    mm: Token | None
    state: State
    value: int = 0
    parent: Token | None = None
    alias: Token | None = None
    relation: Token | None = None


@dataclass(frozen=True, slots=True)
class Translation:
    """``atc DEV0 A write`` and ``speculate DEV0 A write times 3``."""

    column: Token
    location: Token
    write: Token | None
    times: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """``CPU0`` or ``DEV0@d0``."""

    name: Token
    device: Token | None

    @property
    def is_cpu(self) -> bool:
        """Whether the column is a thread on a CPU."""
        return self.name.text.startswith("CPU")

    @property
    def is_device(self) -> bool:
        """Whether the column is a thread of a device."""
        return self.name.text.startswith("DEV")


@dataclass(frozen=True, slots=True)
class Cell:
    """One instruction. ``name`` is a location, or a column for ``await`` and ``sync``."""

    verb: Token
    op: Op
    name: Token | None = None
    register: Token | None = None
    value: Token | None = None
    amount: int = 0
    when: When = When.NOW
    when_token: Token | None = None
    write: bool = False


@dataclass(frozen=True, slots=True)
class Atom:
    """The words of one atom of a condition; ``column`` None for a final value."""

    column: Token | None
    name: Token
    value: Token


@dataclass(frozen=True, slots=True)
class Forbidden:
    """``forbidden EXPRESSION``."""

    condition: Condition
    atoms: tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """``caught [KIND] NAMES [with [KIND] NAME] : CHECKS`` or ``safe [KIND] NAMES [with ...]``.

    ``kind`` is ``device``, ``mutant``, or empty for disciplines; so is ``other_kind``.
    """

    keyword: Token
    kind: str
    names: tuple[Token, ...]
    other_kind: str
    other: Token | None
    by: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """``bug KEY "TEXT"``."""

    key: Token
    text: Token


@dataclass(frozen=True, slots=True)
class AllowedFaults:
    """``faults KIND... N``: the statement's word, its kinds, and how many may happen in all."""

    keyword: Token
    kinds: tuple[Token, ...]
    most: Token


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole file. ``cells`` has one tuple a column; ``options`` only those that were written."""

    name: Token
    summary: Token
    declarations: tuple[Declaration, ...]
    same_table: tuple[tuple[Token, ...], ...]
    racy: tuple[Token, ...]
    warm: tuple[Translation, ...]
    speculation: tuple[Translation, ...]
    bound: tuple[Token, ...]
    options: dict[str, str]
    headers: tuple[Header, ...]
    cells: tuple[tuple[Cell, ...], ...]
    forbidden: tuple[Forbidden, ...]
    weakest: Token
    claims: tuple[Claim, ...]
    facts: tuple[Fact, ...]
    faults: AllowedFaults | None
    end: Token
