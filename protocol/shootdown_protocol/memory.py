"""Addresses, page table entries and the PASID table's entries, as x86-64 lays them out.

Only arithmetic on plain integers may live here: no memory is read or written.
An entry is one 64-bit word::

    63  62........52 51......46 45.........12 11..9 8  7  6 5 4 3 2  1  0
    NX  generation   reserved=0 PFN           avail G  PS D A . . US RW P

Bits 52 to 62 are ignored by hardware; they carry the frame's generation for the log and are
masked out of results and of explored states (`hardware_bits`).
"""

from __future__ import annotations

from typing import Final, NewType

Pfn = NewType("Pfn", int)
"""An emulated physical page number, scrambled: never a frame's index (see `layout.Layout`)."""
FrameIndex = NewType("FrameIndex", int)
"""Position of a frame in the shared segment, counted from the first frame."""
Pasid = NewType("Pasid", int)
"""A 20-bit process address space identifier."""
Iova = NewType("Iova", int)
"""A device's virtual address; under SVA it equals the process's virtual address, in bytes."""
Pte = NewType("Pte", int)
"""One page table entry of any level, in the format above."""

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
WORDS_PER_FRAME: Final = PAGE_SIZE // 8
ENTRIES_PER_TABLE: Final = 512
LEVELS: Final = 4
PASID_BITS: Final = 20
PASID_DIRECTORY_PAGES: Final = 4
"""Pages of the PASID table's directory, one after the other: an entry for each 512 PASIDs."""
VA_BITS: Final = 47
"""User half of a four-level canonical address space."""

PRESENT: Final = 1 << 0
RW: Final = 1 << 1
USER: Final = 1 << 2
ACCESSED: Final = 1 << 5
DIRTY: Final = 1 << 6
PS: Final = 1 << 7
"""At level 2 (PD): this entry maps a 2 MiB page."""
GLOBAL: Final = 1 << 8
"""A leaf of every address space alike."""
NX: Final = 1 << 63

PFN_BITS: Final = 34
PFN_MASK: Final = ((1 << PFN_BITS) - 1) << PAGE_SHIFT
RESERVED_MASK: Final = 0x3F << 46
"""Bits above the emulated physical address width; set in a present entry they are a fault."""
GENERATION_SHIFT: Final = 52
GENERATION_MODULUS: Final = 1 << 11
GENERATION_MASK: Final = (GENERATION_MODULUS - 1) << GENERATION_SHIFT
HARDWARE_MASK: Final = ((1 << 64) - 1) & ~GENERATION_MASK

NONE: Final = Pte(0)


def make_pte(pfn: int, *, writable: bool, generation: int = 0, dirty: bool = False) -> Pte:
    """Build a present user 4 KiB leaf entry, as ``mk_pte()`` and ``pte_mkwrite()`` do."""
    pte = (pfn << PAGE_SHIFT) | PRESENT | USER | ACCESSED
    if writable:
        pte |= RW
    if dirty:
        pte |= DIRTY
    return Pte(pte | (generation % GENERATION_MODULUS) << GENERATION_SHIFT)


def make_table_entry(pfn: int, generation: int = 0) -> Pte:
    """Build an entry that points to the next lower table, as ``pmd_populate()`` does."""
    generation_bits = (generation % GENERATION_MODULUS) << GENERATION_SHIFT
    return Pte((pfn << PAGE_SHIFT) | PRESENT | RW | USER | ACCESSED | generation_bits)


def pte_present(pte: int) -> bool:
    """Whether the entry maps something, as ``pte_present()``."""
    return bool(pte & PRESENT)


def pte_write(pte: int) -> bool:
    """Whether the entry lets a store through, as ``pte_write()``."""
    return bool(pte & RW)


def pte_pfn(pte: int) -> Pfn:
    """The page frame number of the entry, as ``pte_pfn()``."""
    return Pfn((pte & PFN_MASK) >> PAGE_SHIFT)


def pte_generation(pte: int) -> int:
    """Generation of the mapped frame, modulo 2048, as carried in the ignored bits."""
    return (pte & GENERATION_MASK) >> GENERATION_SHIFT


def pte_wrprotect(pte: int) -> Pte:
    """The same entry without write permission, as ``pte_wrprotect()``."""
    return Pte(pte & ~RW)


def pte_mkwrite(pte: int) -> Pte:
    """The same entry with write permission, as ``pte_mkwrite()``."""
    return Pte(pte | RW)


def hardware_bits(pte: int) -> Pte:
    """The entry as hardware sees it: without the generation carried for the log."""
    return Pte(pte & HARDWARE_MASK)


def pte_same(one: int, other: int) -> bool:
    """Whether two entries are the same to hardware, as ``pte_same()``."""
    return not (one ^ other) & HARDWARE_MASK


def table_index(va: int, level: int) -> int:
    """Index into the table of ``level`` (4 = PML4, 1 = page table) for an address in bytes."""
    return (va >> (PAGE_SHIFT + 9 * (level - 1))) & (ENTRIES_PER_TABLE - 1)
