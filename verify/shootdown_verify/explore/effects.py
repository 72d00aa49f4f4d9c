"""What a step changed, in few words: the cells whose names mean something to a reader.

Books that the explorer or the judge keep (versions, floors, nodes) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from shootdown_engine.store import Cell
from shootdown_protocol.memory import PAGE_SHIFT, PS, pte_pfn, pte_present, pte_write
from shootdown_protocol.words import VALUE_MAX, is_data, is_poison, unpack
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Transition
from shootdown_verify.whole import Whole

Say = Callable[[Hashable], str]
LEVEL_NAMES: Final = {1: "pte", 2: "pmd", 3: "pud"}
"""What entries of a level are called."""


class Effects:
    """Names and wording for the cells of one whole."""

    def __init__(self, whole: Whole) -> None:
        """Learn where the entries and frames of its locations are."""
        self._names: dict[Cell, tuple[str, Say]] = {}
        self._devices: dict[Hashable, str] = dict(enumerate(whole.program.devices))
        self._locations = [place.name for place in whole.program.locations]
        self._pages: dict[tuple[int, int], str] = {
            (site.pasid, site.vpn): site.name for site in whole.slot.sites
        }
        for site, entry in zip(whole.slot.sites, whole.kslot.entries, strict=True):
            for level, word in entry.words(whole.store):
                self._names[word] = (f"{LEVEL_NAMES[level]} {site.name}", _say_entry)
        for pfn in whole.kslot.frames:
            first = whole.memory.first_word(pfn)
            for site in whole.slot.sites:
                self._names[first + site.word_offset] = (f"frame {pfn:#x}", self._say_word)
            self._names["fill", first] = (f"frame {pfn:#x}", self._say_word)

    def __call__(self, system: System, step: Transition, before: int) -> str:
        """``pte A: frame 0x100003 -> none``, for each cell that changed and has a name."""
        after = step.apply(before)
        said = []
        for number, cell in enumerate(system.cells.names):
            if step.writes >> number & 1:
                old = system.cells.value(number, before)
                new = system.cells.value(number, after)
                if old != new and (line := self._line(cell, old, new)):
                    said.append(line)
        return "; ".join(said)

    def name(self, cell: Cell) -> str:
        """``pte A`` or ``atc d0 A``; empty for a cell whose name means nothing to a reader."""
        if cell in self._names:
            return self._names[cell][0]
        if isinstance(cell, tuple) and cell[0] in {"atc", "iotlb"}:
            return self._cached(cell)
        if isinstance(cell, tuple) and cell[0] == "channel":
            return f"the channel {cell[1]}"
        return ""

    def _cached(self, cell: tuple[Any, ...]) -> str:
        """A cell of a translation cache: whose, and which page; of a larger one its size too."""
        kind, device, pasid, vpn, *larger = cell
        last = vpn + (1 << larger[0] - PAGE_SHIFT) if larger else vpn + 1
        inside = (
            p for (space, page), p in self._pages.items() if space == pasid and vpn <= page < last
        )
        page = next(inside, f"page {vpn:#x} of PASID {pasid:#x}")
        size = f" of 2^{larger[0]} bytes" if larger else ""
        return f"{kind} {self._devices[device]} {page}{size}"

    def _line(self, cell: Cell, old: Hashable, new: Hashable) -> str:
        if cell in self._names:
            name, say = self._names[cell]
            return f"{name}: {say(old)} -> {say(new)}"
        if isinstance(cell, tuple) and cell[0] in {"atc", "iotlb"}:
            return f"{self.name(cell)}: {_say_cached(old)} -> {_say_cached(new)}"
        if isinstance(cell, tuple) and cell[0] == "channel":
            return f"{cell[1]} {'sent' if _length(new) > _length(old) else 'taken'}"
        return ""

    def _say_word(self, word: Hashable) -> str:
        if not isinstance(word, int):
            return "as filled"
        if is_poison(word):
            return "freed"
        if is_data(word):
            return f"{self._locations[unpack(word).location]}={word & VALUE_MAX}"
        return f"{word:#x}"


def _length(queue: Hashable) -> int:
    return len(queue) if isinstance(queue, tuple) else 0


def _say_entry(entry: Hashable) -> str:
    if not isinstance(entry, int) or not pte_present(entry):
        return "none"
    if entry & PS:
        return f"2 MiB page{' writable' if pte_write(entry) else ''}"
    return f"frame {pte_pfn(entry):#x}{' writable' if pte_write(entry) else ''}"


def _say_cached(entry: Hashable) -> str:
    pfn = getattr(entry, "pfn", None)
    return "none" if pfn is None else f"frame {pfn:#x}"
