"""SMMUv3: commands of the command queue, and CMD_SYNC.

TLBI is by ASID, 16 bits, for a granule of 4 KiB and with the range operands of SMMUv3.2. An
ATC_INV names its range by log2 of its pages. CMD_SYNC signals by a message, MSIADDR and MSIDATA.
"""

from __future__ import annotations

from typing import Final

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
from shootdown_protocol.messages import PageResponseCode

TLBI_NH_ASID: Final = 0x11
TLBI_NH_VA: Final = 0x12
ATC_INV: Final = 0x40
PRI_RESP: Final = 0x41
SYNC: Final = 0x46

ASID_MAX: Final = (1 << 16) - 1
SCALE_MAX: Final = (1 << 5) - 1
"""Largest SCALE; a larger block is invalidated as the whole ASID."""
ATC_SIZE_MAX: Final = 52
"""Size of an ATC_INV of everything, log2 of its 4 KiB pages."""

GERROR_CMDQ_ERR: Final = 1 << 0
"""Active where GERROR and GERRORN differ; software toggles GERRORN to acknowledge."""
CERROR_ATC_INV_SYNC: Final = 3
"""CMDQ_CONS.ERR: a CMD_SYNC that failed since an ATC_INV before it has timed out."""

_SSV: Final = 1 << 11
_GLOBAL: Final = 1 << 9
_LEAF: Final = 1 << 0
_TG_4K: Final = 1
_SIGNAL_BY_MESSAGE: Final = 1
_PAGE_MASK: Final = ~0xFFF & (1 << 64) - 1
_RESPONSES: Final = {
    int(PageResponseCode.INVALID): 0,
    int(PageResponseCode.FAILURE): 1,
    int(PageResponseCode.SUCCESS): 2,
}
"""RESP of a PRI_RESP: deny, fail, success."""
_CODES: Final = {response: code for code, response in _RESPONSES.items()}


def iotlb_block(block: Block) -> Block | None:
    """What an IOTLB invalidation of a block can name; None for the whole ASID."""
    return block if block.size.bit_length() - 1 - PAGE_SHIFT <= SCALE_MAX else None


def time_out(registers: ErrorRegisters, source: int) -> ErrorRegisters:
    """Toggle GERROR.CMDQ_ERR and say why in CMDQ_CONS.ERR, which names no device."""
    del source
    status = registers.status ^ GERROR_CMDQ_ERR
    return ErrorRegisters(status, registers.acknowledged, place(CERROR_ATC_INV_SYNC, 30, 24))


def is_stopped(registers: ErrorRegisters) -> bool:
    """Whether an error of the command queue is active: none of its commands is consumed."""
    return bool((registers.status ^ registers.acknowledged) & GERROR_CMDQ_ERR)


def acknowledge(registers: ErrorRegisters) -> ErrorRegisters:
    """Make GERRORN what GERROR is."""
    return ErrorRegisters(registers.status, registers.status)


def encode(command: Command) -> Words:
    """Write a command as two double words."""
    if isinstance(command, IotlbInvalidate):
        return _tlbi(command)
    if isinstance(command, DeviceTlbInvalidate):
        low = ATC_INV | place(command.source, 63, 32) | _substream(command.pasid)
        low |= _GLOBAL if command.for_all_pasids else 0
        size = command.block.size.bit_length() - 1 - PAGE_SHIFT
        return low, command.block.address | place(size, 5, 0)
    if isinstance(command, PageGroupResponse):
        check_page_response(command)
        if command.code not in _RESPONSES:
            raise ValueError(f"saw response code {command.code}; expected 0, 1 or 15")
        low = PRI_RESP | place(command.source, 63, 32) | _substream(command.pasid)
        return low, place(command.prgi, 8, 0) | place(_RESPONSES[command.code], 13, 12)
    if command.address & 3:
        raise ValueError(f"saw message address {command.address:#x}; expected a multiple of 4")
    low = SYNC | place(_SIGNAL_BY_MESSAGE, 13, 12) | place(command.status, 63, 32)
    return low, place(command.address >> 2, 51, 2)


def decode(words: Words) -> Command:
    """Read two double words; `ValueError` for an opcode that is none of these."""
    low, high = words
    opcode = taken(low, 7, 0)
    pasid = taken(low, 31, 12) if low & _SSV else NO_PASID
    source = taken(low, 63, 32)
    if opcode == TLBI_NH_ASID:
        return IotlbInvalidate(taken(low, 63, 48), None)
    if opcode == TLBI_NH_VA:
        pages = taken(low, 16, 12) + 1 << taken(low, 24, 20)
        block = Block(high & _PAGE_MASK, pages << PAGE_SHIFT)
        return IotlbInvalidate(taken(low, 63, 48), block, bool(high & _LEAF))
    if opcode == ATC_INV:
        size = 1 << taken(high, 5, 0) + PAGE_SHIFT
        block = Block(high & _PAGE_MASK & ~(size - 1), size)
        return DeviceTlbInvalidate(source, pasid, block, bool(low & _GLOBAL))
    if opcode == PRI_RESP:
        code = _CODES.get(taken(high, 13, 12))
        if code is None:
            raise ValueError("saw RESP 3; expected 0 to 2")
        return PageGroupResponse(source, pasid, taken(high, 8, 0), code)
    if opcode == SYNC:
        return Fence(taken(high, 51, 2) << 2, taken(low, 63, 32))
    raise ValueError(f"saw opcode {opcode:#x}; expected 0x11, 0x12, 0x40, 0x41 or 0x46")


def _tlbi(command: IotlbInvalidate) -> Words:
    asid = place(command.tag, 63, 48)
    if command.block is None:
        return TLBI_NH_ASID | asid, 0
    scale = command.block.size.bit_length() - 1 - PAGE_SHIFT
    if scale > SCALE_MAX:
        raise ValueError(f"saw {command.block.size:#x} bytes; expected a block of 2**43 or less")
    low = TLBI_NH_VA | asid | place(scale, 24, 20)
    leaf = _LEAF if command.leaf_only else 0
    return low, command.block.address | place(_TG_4K, 11, 10) | leaf


def _substream(pasid: int) -> int:
    return 0 if pasid == NO_PASID else _SSV | place(pasid, 31, 12)
