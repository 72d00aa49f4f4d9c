"""A command comes back from its two words as it was, in each dialect, and lies where it should."""

from __future__ import annotations

import contextlib
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.ats_range import EVERYTHING, Block
from shootdown_protocol.commands import (
    NO_PASID,
    SOURCE_MAX,
    STATUS_MAX,
    Command,
    DeviceTlbInvalidate,
    ErrorRegisters,
    Fence,
    IotlbInvalidate,
    PageGroupResponse,
    riscv,
    smmuv3,
    vtd,
)
from shootdown_protocol.limits import PASID_MAX, PRGI_MAX

DIALECTS = {"vtd": vtd, "smmuv3": smmuv3, "riscv": riscv}
SHIFTS = range(12, 65)
PASIDS = st.integers(0, PASID_MAX)
SOURCES = st.integers(0, SOURCE_MAX)
CODES = st.sampled_from((0, 1, 15))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A naturally aligned block of any size."""
    size = 1 << draw(st.sampled_from(SHIFTS))
    return Block(draw(st.integers(0, (EVERYTHING.size - 1) // size)) * size, size)


def there_and_back(dialect: ModuleType, command: Command) -> Command:
    """Write a command and read it, both words within 64 bits."""
    words = dialect.encode(command)
    assert all(0 <= word < 1 << 64 for word in words)
    read: Command = dialect.decode(words)
    return read


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(source=SOURCES, pasid=PASIDS, block=blocks(), for_all=st.booleans())
def test_device_tlb_invalidation(
    dialect: ModuleType, source: int, pasid: int, block: Block, for_all: bool
) -> None:
    """Device, PASID, range and global bit."""
    command = DeviceTlbInvalidate(source, pasid, block, for_all)

    assert there_and_back(dialect, command) == command


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_every_size_of_a_device_tlb_invalidation(dialect: ModuleType, shift: int) -> None:
    """Each power of two from a page to everything, at the lowest and the highest place."""
    size = 1 << shift
    for address in {0, EVERYTHING.size - size, (1 << 47) // size * size}:
        for pasid in (5, NO_PASID):
            command = DeviceTlbInvalidate(7, pasid, Block(address, size))
            assert there_and_back(dialect, command) == command


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(tag=st.integers(0, smmuv3.ASID_MAX), block=blocks(), leaf_only=st.booleans())
def test_iotlb_invalidation(dialect: ModuleType, tag: int, block: Block, leaf_only: bool) -> None:
    """Tag, and the range where the dialect can name it: else everything of the tag."""
    named = dialect.iotlb_block(block)
    read = there_and_back(dialect, IotlbInvalidate(tag, named, leaf_only))

    assert isinstance(read, IotlbInvalidate)
    assert (read.tag, read.block) == (tag, named)
    assert read.leaf_only in {leaf_only, False}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(source=SOURCES, pasid=st.just(NO_PASID) | PASIDS, prgi=st.integers(0, PRGI_MAX), code=CODES)
def test_page_group_response(
    dialect: ModuleType, source: int, pasid: int, prgi: int, code: int
) -> None:
    """Device, PASID or none, group and response code."""
    command = PageGroupResponse(source, pasid, prgi, code)

    assert there_and_back(dialect, command) == command


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(address=st.integers(0, (1 << 50) - 1), status=st.integers(0, STATUS_MAX))
def test_fence(dialect: ModuleType, address: int, status: int) -> None:
    """Address of the status, which is aligned to four bytes, and the status."""
    command = Fence(address << 2, status)
    if dialect is smmuv3 and command.address >= 1 << 52:
        with pytest.raises(ValueError, match="expected 50 bits"):
            dialect.encode(command)
        return

    assert there_and_back(dialect, command) == command


PAIR = Block(0x4000, 0x2000)
EVERYONE = DeviceTlbInvalidate(6, 0x12345, PAIR, for_all_pasids=True)
SPECIFIED: list[tuple[ModuleType, Command, tuple[int, int]]] = [
    (vtd, IotlbInvalidate(0x12345, PAIR), (0x0001_2345_0000_0036, 0x4001)),
    (vtd, IotlbInvalidate(5, None), (0x0000_0005_0000_0026, 0)),
    (vtd, EVERYONE, (0x0001_2345_0006_0008, 0x4801)),
    (vtd, DeviceTlbInvalidate(1, NO_PASID, PAIR), (0x1_0000_0003, 0x4001)),
    (vtd, Fence(0x1000, 2), (0x0000_0002_0000_0065, 0x1000)),
    (vtd, PageGroupResponse(3, 5, 7, 1), (0x0000_0005_0003_1019, 7 << 3)),
    (smmuv3, IotlbInvalidate(9, PAIR, leaf_only=True), (9 << 48 | 0x10_0012, 0x4401)),
    (smmuv3, IotlbInvalidate(9, None), (9 << 48 | 0x11, 0)),
    (smmuv3, EVERYONE, (6 << 32 | 0x1234_5A40, 0x4001)),
    (smmuv3, PageGroupResponse(6, 5, 7, 0), (6 << 32 | 0x5841, 0x2007)),
    (smmuv3, Fence(0x1000, 2), (2 << 32 | 0x1046, 0x1000)),
    (riscv, IotlbInvalidate(0x12345, Block(0x4000, 0x1000)), (1 << 32 | 0x1234_5401, 4 << 10)),
    (riscv, EVERYONE, (6 << 40 | 1 << 32 | 0x1234_5004, 0x4801)),
    (riscv, PageGroupResponse(6, 5, 7, 15), (6 << 40 | 1 << 32 | 0x5084, 0x0006_F007 << 32)),
    (riscv, Fence(0x1000, 2), (2 << 32 | 0x402, 0x400)),
]


@pytest.mark.parametrize(("dialect", "command", "words"), SPECIFIED)
def test_words_are_those_of_the_specifications(
    dialect: ModuleType, command: Command, words: tuple[int, int]
) -> None:
    """Fields lie where VT-d, SMMUv3 and the RISC-V IOMMU put them."""
    assert tuple(dialect.encode(command)) == words


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(words=st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)))
def test_any_words_are_a_command_or_refused(dialect: ModuleType, words: tuple[int, int]) -> None:
    """A queue full of anything raises `ValueError` and nothing else."""
    with contextlib.suppress(ValueError):
        assert dialect.decode(words)


def test_what_a_dialect_cannot_say_is_refused() -> None:
    """Nothing is silently made smaller or larger."""
    with pytest.raises(ValueError, match="one page"):
        riscv.encode(IotlbInvalidate(1, Block(0, 0x2000)))
    with pytest.raises(ValueError, match="2\\*\\*43"):
        smmuv3.encode(IotlbInvalidate(1, Block(0, 1 << 44)))
    with pytest.raises(ValueError, match="20 bits"):
        vtd.encode(DeviceTlbInvalidate(1, PASID_MAX + 1, Block(0, 0x1000)))


@pytest.mark.parametrize("language", [vtd, smmuv3, riscv])
def test_a_queue_stops_until_software_has_acknowledged(language: ModuleType) -> None:
    """However often a device does not complete: reported, stopped, acknowledged, going on."""
    registers = ErrorRegisters()

    for source in (5, 6, 5):
        stopped = language.time_out(registers, source)
        registers = language.acknowledge(stopped)

        assert language.is_stopped(stopped)
        assert not language.is_stopped(registers)


def test_a_time_out_is_reported_as_the_specifications_say() -> None:
    """ITE with ITESID, GERROR.CMDQ_ERR with CERROR_ATC_INV_SYNC, and cqcsr.cmd_to."""
    none = ErrorRegisters()

    assert vtd.time_out(none, 0x1234) == ErrorRegisters(1 << 6, 0, 0x1234 << 32)
    assert smmuv3.time_out(none, 7) == ErrorRegisters(1, 0, 3 << 24)
    assert riscv.time_out(none, 7) == ErrorRegisters(1 << 9, 0, 0)
