"""Commands of a host's queue to its IOMMU, as one thing said in three dialects.

`vtd`, `smmuv3` and `riscv` each write and read a command as two 64-bit words, bit by bit as their
specifications do. What a dialect cannot say is not silently changed: `ValueError`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shootdown_protocol.ats_range import Block
from shootdown_protocol.limits import PASID_MAX, PRGI_MAX

Words = tuple[int, int]
"""A command as the queue holds it: two 64-bit words."""

SOURCE_MAX: Final = (1 << 16) - 1
"""Largest number of a device (PCIe requester ID)."""
TAG_MAX: Final = PASID_MAX
"""Largest tag of IOTLB entries: VT-d's PASID, RISC-V's PSCID."""
STATUS_MAX: Final = (1 << 32) - 1
"""Largest value that a fence writes."""
NO_PASID: Final = -1


class IotlbInvalidate(NamedTuple):
    """Drop entries with a tag from the IOTLB. ``block`` None: all of them.

    ``leaf_only``: no table was freed, so paging-structure caches may keep what they hold.
    """

    tag: int
    block: Block | None
    leaf_only: bool = False


class DeviceTlbInvalidate(NamedTuple):
    """Send a device an invalidation request; ``pasid`` may be `NO_PASID`."""

    source: int
    pasid: int
    block: Block
    for_all_pasids: bool = False


class PageGroupResponse(NamedTuple):
    """Answer a page request group; ``code`` is a `messages.PageResponseCode`."""

    source: int
    pasid: int
    prgi: int
    code: int


class Fence(NamedTuple):
    """Write ``status`` to an address when all that was said before is done."""

    address: int
    status: int


class ErrorRegisters(NamedTuple):
    """What an IOMMU's registers say of an error of its queue.

    ``status`` is where it is reported, ``acknowledged`` what software answered there (SMMUv3's
    GERRORN; elsewhere it clears ``status``), ``detail`` says more.
    """

    status: int = 0
    acknowledged: int = 0
    detail: int = 0


Command = IotlbInvalidate | DeviceTlbInvalidate | PageGroupResponse | Fence


def place(value: int, high: int, low: int) -> int:
    """Put a value into bits ``high`` to ``low``; `ValueError` if it does not fit."""
    if not 0 <= value < 1 << high - low + 1:
        raise ValueError(f"saw {value:#x}; expected {high - low + 1} bits")
    return value << low


def taken(word: int, high: int, low: int) -> int:
    """What bits ``high`` to ``low`` hold."""
    return word >> low & (1 << high - low + 1) - 1


def check_page_response(command: PageGroupResponse) -> None:
    """Refuse an index that no group has."""
    if not 0 <= command.prgi <= PRGI_MAX:
        raise ValueError(f"saw PRGI {command.prgi}; expected 0 to {PRGI_MAX}")
