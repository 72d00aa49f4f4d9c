"""What a check finds, and the memory models that a finding may break.

Only vocabulary of verdicts may live here.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec


class Model(IntEnum):
    """A memory model, the weakest first: whatever breaks one breaks all that follow it."""

    COHERENCE = 1
    """All agree on the order of one logical word's stores."""
    CAUSAL = 2
    """Release/acquire: who sees an effect sees its causes."""
    TSO = 3
    """x86: stores of a thread are seen in order, though later than its loads."""
    SC = 4
    """One order of all accesses, in program order, explains all results."""
    REAL_TIME = 5
    """Besides, what had ended before another thing began comes first."""

    @property
    def label(self) -> str:
        """As scenarios, reports and JSON write it."""
        return self.name.lower().replace("_", "-")


CONDITION: Final = "condition"
ORDER: Final = "order"
"""Coherence or causality broken among accesses none of which is wrong by itself."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong in an instance.

    ``check`` is ``S1`` to ``S5`` (`docs/running.md`), ``protocol``, `CONDITION` or `ORDER`;
    ``title`` names the kind of wrong. ``why`` is a predicate whose subject is ``task``: a check
    sees a record and not who made it, so the judge fills ``task`` and ``index`` (the record's
    place among the records judged) in, ``edges`` and ``events``: why, in sentences, and the places
    of the records that they speak of. ``model`` is the weakest model that this alone is known to
    break.
    """

    check: str
    title: str
    why: str
    location: int = -1
    model: Model | None = None
    task: str = ""
    index: int = -1
    edges: tuple[str, ...] = ()
    events: tuple[int, ...] = ()

    @property
    def sentence(self) -> str:
        """Subject and predicate."""
        return f"{self.task} {self.why}" if self.task else self.why
