"""A device that completes by one message more than it has obeyed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shootdown_device_agent.machine.device import Device
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.trap import trap


class CompletesWhatHasArrived(Device):
    """Sets the bit of every request in its queue as soon as it has obeyed the first."""

    SETTINGS: ClassVar[Mapping[str, bool | int | str]] = {"vector": True}

    async def serve_invalidate(self) -> None:
        """Take all that have arrived, obey one, complete all, and obey the others."""
        requests = await trap("", self.step_take_all)
        await self.invalidate(requests[0])
        await trap("drain", self.step_drain, requests[0])
        await self.complete(requests)
        await self.obey_late(requests[1:])

    async def obey_late(self, requests: tuple[InvalidateRequest, ...]) -> None:
        """Obey requests that are complete already."""
        for request in requests:
            await self.invalidate(request)
            await trap("drain", self.step_drain, request)
