"""PCIe ATS translation requests and completions: what is asked, what is answered, and its bits.

A completion's data entry is one 64-bit word: address and size as in `ats_range`, and below them::

    63......12  11  10  9..6  5       4     3    2  1  0
    address     S   N   0     Global  Priv  Exe  U  W  R

R, W and Exe all clear in a completion that succeeds says that there is no translation; the size
then is that of the hole. Exe, Priv and Global mean something with a PASID only. Only this
arithmetic may live here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shootdown_protocol import ats_range
from shootdown_protocol.ats_range import Block
from shootdown_protocol.memory import GLOBAL, NX, PRESENT, RW, USER

READ: Final = 1 << 0
WRITE: Final = 1 << 1
UNTRANSLATED_ONLY: Final = 1 << 2
"""U: the range may only be reached by untranslated requests."""
EXECUTE: Final = 1 << 3
PRIVILEGED: Final = 1 << 4
IS_GLOBAL: Final = 1 << 5
RESERVED: Final = 0xF << 6
NO_SNOOP: Final = 1 << 10
"""N: accesses need not be coherent."""

_BITS: Final = READ | WRITE | UNTRANSLATED_ONLY | EXECUTE | PRIVILEGED | IS_GLOBAL | NO_SNOOP


class TranslationRequest(NamedTuple):
    """What a device asks for. Execute and privileged requests need a PASID."""

    has_pasid: bool = True
    execute: bool = False
    privileged: bool = False


USER_REQUEST: Final = TranslationRequest()
"""What a device asks for on behalf of a process: to read or write its data."""


class TranslationCompletion(NamedTuple):
    """One translation as it is answered; ``bits`` are those above."""

    block: Block
    bits: int

    @property
    def translates(self) -> bool:
        """Whether there is a translation at all."""
        return bool(self.bits & (READ | WRITE | EXECUTE))


def permissions(entry: int, request: TranslationRequest, *, writable: bool) -> int:
    """Bits of the completion for a leaf entry; ``writable``: so say the tables above it, too.

    A page that only the supervisor may reach is no translation for a user's request. Execution is
    answered to who asked for it, and needs permission to read. N and U are never set: all of this
    memory is coherent and may be reached by translated requests.
    """
    privileged = request.privileged and request.has_pasid
    bits = PRIVILEGED if privileged else 0
    if request.has_pasid and entry & GLOBAL:
        bits |= IS_GLOBAL
    if not entry & PRESENT or not (entry & USER or privileged):
        return bits & PRIVILEGED
    bits |= READ
    if writable and entry & RW:
        bits |= WRITE
    if request.execute and request.has_pasid and not entry & NX:
        bits |= EXECUTE
    return bits


def encode(completion: TranslationCompletion) -> int:
    """Pack a completion; bits that are none of its own are our mistake."""
    assert not completion.bits & ~_BITS, f"bits {completion.bits:#x}"
    return ats_range.encode(*completion.block) | completion.bits


def decode(word: int) -> TranslationCompletion:
    """Unpack a word; `ValueError` when reserved bits are set or the size is none."""
    if word & RESERVED:
        raise ValueError(f"saw {word:#x}; expected bits 9 to 6 clear")
    return TranslationCompletion(ats_range.decode(word & ~_BITS), word & _BITS)
