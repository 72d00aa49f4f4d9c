"""Exit statuses, the same for every command."""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
EXIT_VIOLATION: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCONCLUSIVE: Final = 3
EXIT_FAILED: Final = 4
"""The testbed itself failed."""

EXIT_OF: Final = {"ok": EXIT_OK, "violation": EXIT_VIOLATION, "inconclusive": EXIT_INCONCLUSIVE}
"""By verdict."""
