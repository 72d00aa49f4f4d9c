"""What every message of the control plane has: the number by which an answer finds its asker.

Only the two bases may live here; `messages` and `fault_messages` hold the messages themselves.
"""

from __future__ import annotations

import msgspec

from shootdown_protocol.fields import Number, Version


class ControlMessage(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Base: ``request`` is chosen by the asker and repeated in every answer."""

    request: Number


class ControlRequest(ControlMessage, frozen=True):
    """Base of what asks: each says its version, for a control link has no greeting."""

    protocol_version: Version
