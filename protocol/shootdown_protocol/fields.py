"""Types of message fields: each is its range, and its ``title`` is what the documents call it.

Only annotated types may live here. A decoder refuses whatever lies outside; an encoder does not
look, so a process that builds a message out of range is told so by its peer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shootdown_protocol import board, limits, words

Version = Annotated[Literal[1], Meta(title="version")]
"""`messages.PROTOCOL_VERSION`; another one is refused whatever else the message holds."""
SequenceNumber = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=0)]

DeviceNumber = Annotated[int, Meta(ge=0, le=limits.DEVICES_MAX - 1, title="device")]
AgentNumber = Annotated[int, Meta(ge=0, le=board.AGENTS_MAX - 1, title="agent")]
Itag = Annotated[int, Meta(ge=0, le=limits.ITAG_MAX, title="ITag")]
ItagVector = Annotated[int, Meta(ge=1, le=limits.ITAG_VECTOR_MAX, title="a bit an ITag")]
CompletionCount = Annotated[int, Meta(ge=0, le=limits.COMPLETION_COUNT_MAX, title="0 means 8")]
PasidNumber = Annotated[int, Meta(ge=0, le=limits.PASID_MAX, title="PASID")]
PageAddress = Annotated[
    int, Meta(ge=0, le=limits.PAGE_ADDRESS_MAX, multiple_of=1 << 12, title="address, bytes")
]
RangeWord = Annotated[
    int, Meta(ge=0, le=limits.RANGE_WORD_MAX, multiple_of=1 << 11, title="range word")
]
RemoteTag = Annotated[int, Meta(ge=0, le=limits.REMOTE_TAG_MAX, title="tag of a request")]
"""Chosen by the agent; it comes back in the answer."""
PageNumber = Annotated[int, Meta(ge=0, le=limits.PAGE_NUMBER_MAX, title="page number")]
PageShift = Annotated[int, Meta(ge=12, le=30, title="log2 of bytes")]
Value = Annotated[int, Meta(ge=0, le=limits.VALUE_MAX, title="value")]
ColumnNumber = Annotated[int, Meta(ge=0, le=limits.COLUMNS_MAX - 1, title="column")]
LineNumber = Annotated[
    int, Meta(ge=0, le=limits.INSTRUCTIONS_PER_COLUMN_MAX - 1, title="instruction of the column")
]
LocationNumber = Annotated[int, Meta(ge=0, le=words.LOCATIONS_MAX - 1, title="location")]
Prgi = Annotated[int, Meta(ge=0, le=limits.PRGI_MAX, title="PRGI")]
InvalidateFlags = Annotated[int, Meta(ge=0, le=15, title="flags")]
Instance = Annotated[int, Meta(ge=-1, le=limits.INSTANCE_MAX, title="instance, -1 for none")]
InstanceCount = Annotated[int, Meta(ge=0, le=limits.INSTANCE_MAX, title="instances")]
BoardWord = Annotated[int, Meta(ge=0, le=(1 << 22) - 1, title="board word")]
SlotNumber = Annotated[int, Meta(ge=0, le=limits.SLOTS_MAX - 1, title="slot")]
SlotCount = Annotated[int, Meta(ge=1, le=limits.SLOTS_MAX, title="slots")]
Ticks = Annotated[int, Meta(ge=0, le=limits.CLOCK_TICKS_MAX, title="batch-clock ticks")]
AtcEntries = Annotated[int, Meta(ge=0, le=limits.ATC_ENTRIES_MAX, title="entries")]
Milliseconds = Annotated[int, Meta(ge=1, le=limits.HEARTBEAT_MS_MAX, title="ms")]
ProcessNumber = Annotated[int, Meta(ge=1, le=limits.PID_MAX, title="pid")]

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z",
        max_length=limits.NAME_CHARACTERS_MAX,
        title="name",
    ),
]
"""A name becomes part of file names, so it holds nothing that a path could turn on."""
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARACTERS_MAX, title="text")]
FilePath = Annotated[str, Meta(max_length=limits.PATH_CHARACTERS_MAX, title="path or empty")]
DeviceClasses = Annotated[
    tuple[FilePath, ...], Meta(max_length=limits.DEVICES_MAX, title="device classes")
]
"""For each device its class: empty for the right one, a faulty one's name, ``FILE.py:Class``."""
Token = Annotated[str, Meta(max_length=limits.TOKEN_CHARACTERS_MAX, title="token")]
SegmentName = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?\Z",
        max_length=limits.SEGMENT_NAME_CHARACTERS_MAX,
        title="segment name or empty",
    ),
]
Capabilities = Annotated[
    tuple[Name, ...], Meta(max_length=limits.CAPABILITIES_MAX, title="capabilities")
]
DeviceNames = Annotated[tuple[Name, ...], Meta(max_length=limits.DEVICES_MAX, title="devices")]
Devices = Annotated[tuple[DeviceNumber, ...], Meta(max_length=limits.DEVICES_MAX, title="devices")]
Counters = Annotated[dict[Name, Number], Meta(max_length=limits.COUNTERS_MAX, title="counters")]
"""Counts since the process began, so that a lost message loses none."""
Pasids = Annotated[
    tuple[PasidNumber, ...], Meta(max_length=limits.MMS_MAX, title="PASIDs, one an mm")
]
EventFields = Annotated[
    dict[Name, int | float | str | bool | None],
    Meta(max_length=limits.EVENT_FIELDS_MAX, title="fields"),
]
