"""A device whose completions of one invalidation say different counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import Store
from shootdown_engine.trap import trap

CLASSES = 2
"""Traffic classes, each with a completion of its own."""


class MiscountsCompletions(Device):
    """Says in each completion how many are still to come, not how many there are."""

    SETTINGS: ClassVar[Mapping[str, bool | int | str]] = {"completions": CLASSES}

    async def complete(self, requests: tuple[InvalidateRequest, ...]) -> None:
        """Count down."""
        for left in range(CLASSES, 0, -1):
            await trap("invalidate_completion", self.step_complete_of, requests, left)

    def step_complete_of(
        self, store: Store, requests: tuple[InvalidateRequest, ...], left: int
    ) -> None:
        """Send one completion message with a count."""
        self.send_completion(store, sum(1 << request.itag for request in requests), left)
