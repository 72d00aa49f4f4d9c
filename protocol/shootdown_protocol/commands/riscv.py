"""RISC-V IOMMU: IOTINVAL.VMA, ATS.INVAL, ATS.PRGR and IOFENCE.C.

The base specification's IOTINVAL names one page or a whole address space (PSCID) and does not tell
leaves from tables. ATS.INVAL has the payload of the request that it sends.
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
from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE

IOTINVAL: Final = 1
IOFENCE: Final = 2
ATS: Final = 4
VMA: Final = 0
C: Final = 0
INVAL: Final = 0
PRGR: Final = 1

CQCSR_CMD_TO: Final = 1 << 9
"""An IOFENCE.C has found an ATS.INVAL before it timed out; writing the bit clears it."""

_IOTINVAL_AV: Final = 1 << 10
_PSCV: Final = 1 << 32
_FENCE_AV: Final = 1 << 10
_PV: Final = 1 << 32
_GLOBAL: Final = 1 << 0


def iotlb_block(block: Block) -> Block | None:
    """What an IOTLB invalidation of a block can name; None for the whole PSCID."""
    return block if block.size == PAGE_SIZE else None


def time_out(registers: ErrorRegisters, source: int) -> ErrorRegisters:
    """Set cqcsr.cmd_to, which names no device; cqh stays at the IOFENCE.C."""
    del source
    return ErrorRegisters(registers.status | CQCSR_CMD_TO)


def is_stopped(registers: ErrorRegisters) -> bool:
    """Whether no command is processed before software has cleared cmd_to."""
    return bool(registers.status & CQCSR_CMD_TO)


def acknowledge(registers: ErrorRegisters) -> ErrorRegisters:
    """Write one to cmd_to."""
    return ErrorRegisters(registers.status & ~CQCSR_CMD_TO)


def encode(command: Command) -> Words:
    """Write a command as two double words."""
    if isinstance(command, IotlbInvalidate):
        return _iotinval(command)
    if isinstance(command, DeviceTlbInvalidate):
        low = ATS | place(INVAL, 9, 7) | _device(command.source, command.pasid)
        payload = ats_range.encode(*command.block)
        return low, payload | (_GLOBAL if command.for_all_pasids else 0)
    if isinstance(command, PageGroupResponse):
        check_page_response(command)
        low = ATS | place(PRGR, 9, 7) | _device(command.source, command.pasid)
        payload = place(command.prgi, 40, 32) | place(command.code, 47, 44)
        return low, payload | place(command.source, 63, 48)
    if command.address & 3:
        raise ValueError(f"saw fence address {command.address:#x}; expected a multiple of 4")
    low = IOFENCE | place(C, 9, 7) | _FENCE_AV | place(command.status, 63, 32)
    return low, place(command.address >> 2, 61, 0)


def decode(words: Words) -> Command:
    """Read two double words; `ValueError` for an opcode or function that is none of these."""
    low, high = words
    kind = taken(low, 6, 0), taken(low, 9, 7)
    if kind == (IOTINVAL, VMA):
        block = None
        if low & _IOTINVAL_AV:
            block = Block(taken(high, 61, 10) << PAGE_SHIFT, PAGE_SIZE)
        return IotlbInvalidate(taken(low, 31, 12), block)
    if kind == (IOFENCE, C):
        return Fence(taken(high, 61, 0) << 2, taken(low, 63, 32))
    pasid = taken(low, 31, 12) if low & _PV else NO_PASID
    source = taken(low, 55, 40)
    if kind == (ATS, INVAL):
        block = ats_range.decode(high & ~_GLOBAL)
        return DeviceTlbInvalidate(source, pasid, block, bool(high & _GLOBAL))
    if kind == (ATS, PRGR):
        return PageGroupResponse(source, pasid, taken(high, 40, 32), taken(high, 47, 44))
    seen = f"opcode {kind[0]} with function {kind[1]}"
    raise ValueError(f"saw {seen}; expected IOTINVAL.VMA, IOFENCE.C, ATS.INVAL or ATS.PRGR")


def _iotinval(command: IotlbInvalidate) -> Words:
    low = IOTINVAL | place(VMA, 9, 7) | _PSCV | place(command.tag, 31, 12)
    if command.block is None:
        return low, 0
    if command.block.size != PAGE_SIZE:
        raise ValueError(f"saw {command.block.size:#x} bytes; expected one page, or all of them")
    return low | _IOTINVAL_AV, place(command.block.address >> PAGE_SHIFT, 61, 10)


def _device(source: int, pasid: int) -> int:
    low = place(source, 55, 40)
    return low if pasid == NO_PASID else low | _PV | place(pasid, 31, 12)
