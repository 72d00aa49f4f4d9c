"""The one error that reading a scenario can give."""

from __future__ import annotations

from shootdown_verify.source import SourceError


class ScenarioError(SourceError):
    """A scenario is not one: it names the place, what was seen, and what was expected."""
