"""Messages between the kernel machine and the device machine, and the channels they travel in.

Live, the shells translate them to and from the wire's; explored, they are the channels' contents.
Channels: ``("invalidate", device)``, ``("completion", device)``, ``("page_request", slot)``,
``("page_response", device, slot, prgi)`` (the answer alone).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, NamedTuple

from shootdown_protocol.limits import ITAGS


class InvalidateRequest(NamedTuple):
    """An invalidation for one device; ``size`` in bytes, a power of two; ``address`` aligned.

    ``size`` 0, which no kernel sends: a fault has made the device obey and drop nothing.
    ``flags`` are `shootdown_protocol.messages.InvalidateFlag`.
    """

    itag: int
    pasid: int
    address: int
    size: int
    instance: int
    flags: int = 0


request_of: Final[Callable[[tuple[int, int, int, int, int, int]], InvalidateRequest]] = partial(
    tuple.__new__, InvalidateRequest
)
"""A request of all its fields in their order, made without a call into Python."""


class Completion(NamedTuple):
    """One completion message: a bit for each ITag it is for, and how many each of them gets.

    ``due`` is the message's count field, three bits: 0 means 8.
    """

    itags: int
    due: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The ITags, in their order."""
        return itags_in(self.itags)


@lru_cache(1024)
def itags_in(vector: int) -> tuple[int, ...]:
    """The ITags whose bits are set in a vector, in their order."""
    return tuple(itag for itag in range(ITAGS) if vector >> itag & 1)


completion_of: Final[Callable[[tuple[int, int]], Completion]] = partial(tuple.__new__, Completion)
"""A completion of both its fields, made likewise."""


STOP_MARKER: Final = -1
"""Location of a page request that asks for nothing."""


class PageRequest(NamedTuple):
    """One request of a group; ``prgi`` names the group within device and slot.

    ``last`` closes the group, which then gets its one response. A *stop marker* asks for nothing
    (location `STOP_MARKER`), gets no response, and says that no request of the PASID follows.
    """

    device: int
    pasid: int
    location: int
    write: bool
    prgi: int
    last: bool = True
