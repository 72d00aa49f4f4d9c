"""The board: words of the shared segment that processes tell each other things by.

Each word has one writing process, so no read-modify-write is needed. Words of a running batch
lie in *slots*, one slot an instance; a slot's first word says when its instance started.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shootdown_protocol.program import Program
from shootdown_protocol.words import ORDER_MASK

CLOCK: Final = 0
"""Steps the daemon has made in the current batch (the batch clock)."""
GO: Final = 1
"""Number of the batch that may run; the daemon raises it when every agent is warm."""
STOP: Final = 2
"""Non-zero: finish the batch under way and begin no other."""
IDLE: Final = 3
"""Non-zero while the daemon has no step that it could make: it waits for an agent."""
AGENTS: Final = 8
AGENTS_MAX: Final = 64
"""Agents of a testbed."""
WORDS_PER_AGENT: Final = 4
A_WARM: Final = 0
"""Number of the batch for which the agent's caches are warm."""
A_DONE: Final = 1
"""Number of the batch whose device columns have all ended and drained at this agent."""
A_BEAT: Final = 2
"""Counts rounds of the agent's working loop."""

BOARD_FIXED: Final = AGENTS + AGENTS_MAX * WORDS_PER_AGENT

S_STARTED: Final = 0
"""Batch clock at the instance's first step, plus one; 0 before. May bear `CUT_OFF`."""
CUT_OFF: Final = 1 << 62
"""Bit of a started word: the instance's CPU columns died, so nothing waits for them any more."""
S_COLUMNS: Final = 1

L_FLOOR: Final = 0
"""`words.make_order` of the newest version whose store has ended, plus one; 0 for none."""
L_LIMIT: Final = 1
"""What an access begun now must obey, raised when an operation returns: see `pack_limit`."""
L_VERSION: Final = 2
"""Number of the newest version handed out."""
L_EPOCH: Final = 3
"""Epoch of what is mapped now; the daemon raises it when it clears an entry for good."""
L_RETURNED: Final = 4
"""How many operations on the location have returned."""
WORDS_PER_LOCATION: Final = 5

F_CONTROL: Final = 0
"""A device's control register: bit 0 enables ATS, the bits above count resets."""
F_STATUS: Final = 1
"""What the device has obeyed of that, once no translation and no access of its is under way."""
WORDS_PER_FUNCTION: Final = 2
ATS_ENABLE: Final = 1
ONE_RESET: Final = 2
"""A reset clears `ATS_ENABLE` and adds this to the control register."""

READ: Final = 1
WRITE: Final = 2
_PERMISSION_BITS: Final = 2
_CEILING_SHIFT: Final = 32
_ORDER_SHIFT: Final = _PERMISSION_BITS


class SlotLayout(msgspec.Struct, frozen=True):
    """Words of one slot: started, one ``ended`` word a column, five words a location.

    Where a program attaches, detaches or resets devices, two for each of its devices follow.
    """

    columns: int
    locations: int
    functions: int = 0

    @classmethod
    def of(cls, program: Program) -> SlotLayout:
        """What a slot of a program needs."""
        functions = len(program.devices) if program.has_functions else 0
        return cls(len(program.columns), len(program.locations), functions)

    @property
    def words(self) -> int:
        """Words of one slot."""
        return self.function(self.functions)

    def ended(self, column: int) -> int:
        """Offset of the word that says (by the instance number plus one) that a column ended."""
        return S_COLUMNS + column

    def location(self, location: int) -> int:
        """Offset of a location's first word."""
        return S_COLUMNS + self.columns + WORDS_PER_LOCATION * location

    def function(self, device: int) -> int:
        """Offset of a device's first word."""
        return self.location(self.locations) + WORDS_PER_FUNCTION * device


def agent_word(agent: int, word: int) -> int:
    """Offset in the board of one of an agent's words (``A_...``)."""
    assert 0 <= agent < AGENTS_MAX
    return AGENTS + agent * WORDS_PER_AGENT + word


def pack_limit(order: int, permissions: int, ceiling: int | None = None) -> int:
    """Pack a location's limit.

    ``order`` is the oldest epoch and version an access may meet, ``permissions`` `READ` and
    `WRITE`; ``ceiling`` (a fork's child) is the newest version of the parent that it may meet.
    """
    high = 0 if ceiling is None else ceiling + 1
    return high << _CEILING_SHIFT | order << _ORDER_SHIFT | permissions


def limit_order(limit: int) -> int:
    """Oldest epoch and version that an access may meet."""
    return (limit >> _ORDER_SHIFT) & ORDER_MASK


def limit_permissions(limit: int) -> int:
    """`READ` and `WRITE` bits."""
    return limit & (READ | WRITE)


def limit_ceiling(limit: int) -> int | None:
    """Newest version of the parent that a fork's child may meet, or None."""
    ceiling = limit >> _CEILING_SHIFT
    return ceiling - 1 if ceiling else None
