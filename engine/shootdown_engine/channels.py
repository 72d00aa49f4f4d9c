"""Messages between the kernel machine and the device machine, and the channels they travel in.

Live, the shells translate them to and from the wire's; explored, they are the channels' contents.
Channels: ``("invalidate", device)``, ``("completion", device)`` (the ITag alone),
``("page_request", slot)``, ``("page_response", device, slot, prgi)`` (the answer alone).
"""

from __future__ import annotations

from typing import NamedTuple


class InvalidateRequest(NamedTuple):
    """An invalidation for one device; ``size`` in bytes, a power of two; ``address`` aligned."""

    itag: int
    pasid: int
    address: int
    size: int
    instance: int


class PageRequest(NamedTuple):
    """A page request group of one; ``prgi`` names the group within device and slot."""

    device: int
    pasid: int
    location: int
    write: bool
    prgi: int
