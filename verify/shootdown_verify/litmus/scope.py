"""The names that a scenario declares, and errors for those that it uses without.

Only declaring and looking up may live here.
"""

from __future__ import annotations

from collections.abc import Iterable

from shootdown_protocol.limits import COLUMNS_MAX, MMS_MAX
from shootdown_protocol.program import State
from shootdown_protocol.words import LOCATIONS_MAX
from shootdown_verify.litmus.errors import ScenarioError
from shootdown_verify.litmus.syntax import Declaration, Header, Tree
from shootdown_verify.litmus.tokens import Token
from shootdown_verify.litmus.vocabulary import COLUMN, DEFAULT_DEVICE, DEFAULT_MM, RESERVED
from shootdown_verify.source import Source, nearest, one_of, quote


class Scope:
    """Locations, address spaces, columns and devices by name.

    ``mms``, ``devices``, ``locations`` and ``columns`` map a name to its position, in the order
    in which the file names them.
    """

    def __init__(self, source: Source, tree: Tree) -> None:
        """Declare everything; `ScenarioError` on a name declared twice or a bound overrun."""
        self.source = source
        self.tree = tree
        self.mms: dict[str, int] = {}
        self.locations: dict[str, int] = {}
        self.devices: dict[str, int] = {}
        self.columns: dict[str, int] = {}
        for declaration in tree.declarations:
            self._declare(declaration)
        for header in tree.headers:
            self._declare_column(header)

    def _declare(self, declaration: Declaration) -> None:
        name = declaration.name
        if COLUMN.fullmatch(name.text):
            raise self.fault(name, quote(name.text), "a location, and that is a column's name")
        if name.text in RESERVED:
            raise self.fault(
                name, quote(name.text), "a location, and that is a word of the language"
            )
        self._new(name, self.locations, "location")
        if len(self.locations) > LOCATIONS_MAX:
            raise self.fault(name, "one location too many", f"at most {LOCATIONS_MAX} locations")
        self.mms.setdefault(self.mm_name(declaration), len(self.mms))
        if len(self.mms) > MMS_MAX:
            raise self.fault(name, "one address space too many", f"at most {MMS_MAX}")
        if declaration.state in (State.ZERO, State.HUGE_ZERO) and declaration.value:
            raise self.fault(name, f"value {declaration.value} of the zero page", "0")

    def _declare_column(self, header: Header) -> None:
        self._new(header.name, self.columns, "column")
        assert len(self.columns) <= COLUMNS_MAX
        if header.is_device:
            self.devices.setdefault(self.device_name(header), len(self.devices))

    def _new(self, name: Token, known: dict[str, int], what: str) -> None:
        if name.text in known:
            raise self.fault(name, f"a second {what} {quote(name.text)}", "every name once")
        known[name.text] = len(known)

    @staticmethod
    def mm_name(declaration: Declaration) -> str:
        """Name the address space of a location."""
        return declaration.mm.text if declaration.mm else DEFAULT_MM

    @staticmethod
    def device_name(header: Header) -> str:
        """Name the device of a ``DEV`` column."""
        return header.device.text if header.device else DEFAULT_DEVICE

    def location(self, name: Token) -> int:
        """Find a location."""
        return self._find(name, self.locations, "a location of this scenario")

    def column(self, name: Token) -> int:
        """Find a column."""
        return self._find(name, self.columns, "a column of this scenario")

    def device_of(self, name: Token) -> int:
        """Find the device of a ``DEV`` column."""
        columns = {header.name.text: header for header in self.tree.headers if header.is_device}
        if name.text in self.devices:
            own = [c for c, h in columns.items() if self.device_name(h) == name.text]
            raise self.fault(name, f"device {quote(name.text)}", f"a column of it ({one_of(own)})")
        self._find(name, columns, "a device's column of this scenario")
        return self.devices[self.device_name(columns[name.text])]

    def _find(self, name: Token, known: Iterable[str], what: str) -> int:
        names = list(known)
        if name.text not in names:
            hint = nearest(name.text, names)
            raise self.fault(name, quote(name.text), f"{what} ({one_of(names)})", hint)
        return names.index(name.text)

    def fault(self, at: Token, seen: str, expected: str, hint: str = "") -> ScenarioError:
        """Make an error at a token."""
        return ScenarioError(self.source, at.span, seen=seen, expected=expected, nearest=hint)
