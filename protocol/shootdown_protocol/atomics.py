"""Atomic exchange and compare-and-swap on words of the shared segment: x86-64 and nothing else.

Python has neither. Entries whose accessed and dirty bits a device sets need both: the walker sets a
bit by compare-and-swap, as hardware does, and the kernel clears an entry by exchange, so that
neither loses what the other has written. The instructions are a few bytes of machine code in a
page of this process, called through `ctypes`.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache
from typing import Final

_XCHG: Final = bytes.fromhex("4889f0 488707 c3")
"""mov rax, rsi; xchg [rdi], rax; ret"""
_CMPXCHG: Final = bytes.fromhex("4889f0 f0480fb117 c3")
"""mov rax, rsi; lock cmpxchg [rdi], rdx; ret"""
_CMPXCHG_AT: Final = 16

_pages: list[mmap.mmap] = []
"""Code pages in use: a function's page must outlive it."""


@cache
def _functions() -> tuple[Callable[[int, int], int], Callable[[int, int, int], int]]:
    """Write the code into a page that may be executed; gives exchange and compare-and-swap."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page[: len(_XCHG)] = _XCHG
    page[_CMPXCHG_AT : _CMPXCHG_AT + len(_CMPXCHG)] = _CMPXCHG
    _pages.append(page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    word, address = ctypes.c_uint64, ctypes.c_void_p
    exchange = ctypes.PYFUNCTYPE(word, address, word)(start)
    swap = ctypes.PYFUNCTYPE(word, address, word, word)(start + _CMPXCHG_AT)
    return exchange, swap


class Atomics:
    """Atomic operations on the words of one memoryview, which must stay mapped."""

    def __init__(self, words: memoryview) -> None:
        """Find where the words lie."""
        assert words.format == "Q"
        self._exchange, self._swap = _functions()
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(words))

    def exchange(self, word: int, value: int) -> int:
        """Write a word and give what it was."""
        return self._exchange(self._base + 8 * word, value)

    def compare_exchange(self, word: int, expected: int, value: int) -> int:
        """Write a word if it is what is expected; gives what it was."""
        return self._swap(self._base + 8 * word, expected, value)
