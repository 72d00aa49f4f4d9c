"""What every message of the device plane has: a place in its link's count.

Only the two bases may live here; `messages` and `remote_messages` hold the messages themselves.
"""

from __future__ import annotations

import msgspec

from shootdown_protocol.fields import SequenceNumber


class DeviceMessage(
    msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True
):
    """Base: ``sequence`` counts the messages of one direction of one link, from 0."""

    sequence: SequenceNumber


class DeviceElement(
    msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True
):
    """Base of what a device message holds several of."""
