"""VT-d: descriptors of the invalidation queue (``iotlb_inv_dsc``, ``dev_tlb_inv_dsc``, wait).

Scalable mode's PASID-tagged descriptors, of which the first two quad words say all. A wait
descriptor writes its status when all descriptors before it are done.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol import ats_range
from shootdown_protocol.ats_range import Block
from shootdown_protocol.commands import (
    NO_PASID,
    Command,
    DeviceTlbInvalidate,
    ErrorRegisters,
    Fence,
    IotlbInvalidate,
    PageGroupResponse,
    Words,
    check_page_response,
    place,
    taken,
)
from shootdown_protocol.memory import PAGE_SHIFT

DEV_TLB: Final = 0x3
WAIT: Final = 0x5
PASID_IOTLB: Final = 0x6
PASID_DEV_TLB: Final = 0x8
PAGE_GROUP_RESPONSE: Final = 0x9

GRANULARITY_PASID: Final = 2
"""Everything of a PASID but global entries."""
GRANULARITY_PAGES: Final = 3
"""A naturally aligned block of 2**AM pages."""
MASK_MAX: Final = 0x3F
QUEUE_DEPTH: Final = 0
"""Invalidate queue depth of the device: 0 means 32."""

FSTS_ITE: Final = 1 << 6
"""Fault status register: invalidation time-out error; writing it clears it."""

_STATUS_WRITE: Final = 1 << 5
_FENCE: Final = 1 << 6
_IH: Final = 1 << 6
_S_BIT: Final = 1 << 11
_GLOBAL: Final = 1 << 0
_LEGACY_S: Final = 1 << 0
_PASID_PRESENT: Final = 1 << 4
_PAGE_MASK: Final = ~0xFFF & (1 << 64) - 1


def iotlb_block(block: Block) -> Block | None:
    """What an IOTLB invalidation of a block can name: any block of pages."""
    return block


def time_out(registers: ErrorRegisters, source: int) -> ErrorRegisters:
    """Report that a device has not completed: ITE, and its number in IQERCD.ITESID."""
    return ErrorRegisters(registers.status | FSTS_ITE, 0, place(source, 47, 32))


def is_stopped(registers: ErrorRegisters) -> bool:
    """Whether no descriptor is fetched before software has cleared ITE."""
    return bool(registers.status & FSTS_ITE)


def acknowledge(registers: ErrorRegisters) -> ErrorRegisters:
    """Write one to ITE."""
    return ErrorRegisters(registers.status & ~FSTS_ITE)


def encode(command: Command) -> Words:
    """Write a command as a descriptor's two quad words."""
    if isinstance(command, IotlbInvalidate):
        return _iotlb(command)
    if isinstance(command, DeviceTlbInvalidate):
        return _device_tlb(command)
    if isinstance(command, PageGroupResponse):
        check_page_response(command)
        low = PAGE_GROUP_RESPONSE | place(command.code, 15, 12) | place(command.source, 31, 16)
        if command.pasid != NO_PASID:
            low |= _PASID_PRESENT | place(command.pasid, 51, 32)
        return low, place(command.prgi, 11, 3)
    if command.address & 3:
        raise ValueError(f"saw status address {command.address:#x}; expected a multiple of 4")
    low = WAIT | _STATUS_WRITE | _FENCE | place(command.status, 63, 32)
    return low, command.address


def decode(words: Words) -> Command:
    """Read a descriptor's two quad words; `ValueError` for a type that is none of these."""
    low, high = words
    kind = taken(low, 3, 0)
    if kind == PASID_IOTLB:
        return _read_iotlb(low, high)
    if kind == PASID_DEV_TLB:
        word = high & _PAGE_MASK | high & _S_BIT
        source, pasid = taken(low, 31, 16), taken(low, 51, 32)
        return DeviceTlbInvalidate(source, pasid, ats_range.decode(word), bool(high & _GLOBAL))
    if kind == DEV_TLB:
        word = high & _PAGE_MASK | (ats_range.S_BIT if high & _LEGACY_S else 0)
        return DeviceTlbInvalidate(taken(low, 47, 32), NO_PASID, ats_range.decode(word))
    if kind == PAGE_GROUP_RESPONSE:
        pasid = taken(low, 51, 32) if low & _PASID_PRESENT else NO_PASID
        return PageGroupResponse(taken(low, 31, 16), pasid, taken(high, 11, 3), taken(low, 15, 12))
    if kind == WAIT:
        return Fence(high, taken(low, 63, 32))
    raise ValueError(f"saw descriptor type {kind:#x}; expected 0x3, 0x5, 0x6, 0x8 or 0x9")


def _iotlb(command: IotlbInvalidate) -> Words:
    low = PASID_IOTLB | place(command.tag, 51, 32)
    hint = _IH if command.leaf_only else 0
    if command.block is None:
        return low | place(GRANULARITY_PASID, 5, 4), 0
    mask = command.block.size.bit_length() - 1 - PAGE_SHIFT
    low |= place(GRANULARITY_PAGES, 5, 4)
    return low, command.block.address | hint | place(mask, 5, 0)


def _read_iotlb(low: int, high: int) -> IotlbInvalidate:
    tag = taken(low, 51, 32)
    if taken(low, 5, 4) == GRANULARITY_PASID:
        return IotlbInvalidate(tag, None)
    size = 1 << taken(high, 5, 0) + PAGE_SHIFT
    address = high & _PAGE_MASK & ~(size - 1)
    return IotlbInvalidate(tag, Block(address, size), bool(high & _IH))


def _device_tlb(command: DeviceTlbInvalidate) -> Words:
    word = ats_range.encode(*command.block)
    if command.pasid == NO_PASID:
        size = _LEGACY_S if word & ats_range.S_BIT else 0
        low = DEV_TLB | place(command.source, 47, 32) | place(QUEUE_DEPTH, 20, 16)
        if command.for_all_pasids:
            raise ValueError("saw a request for all PASIDs without one; expected a PASID's form")
        return low, word & _PAGE_MASK | size
    low = PASID_DEV_TLB | place(QUEUE_DEPTH, 8, 4) | place(command.source, 31, 16)
    low |= place(command.pasid, 51, 32)
    return low, word | (_GLOBAL if command.for_all_pasids else 0)
