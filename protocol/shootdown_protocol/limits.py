"""Every bound on what travels or is stored, named with its unit.

Bounds that follow from the bits of a word live beside that word (`words`, `layout`, `board`,
`memory`); `docs/protocol.md` lists both. Nothing but numbers may live here.
"""

from __future__ import annotations

from typing import Final

DEVICE_MESSAGE_BYTES_MAX: Final = 1 << 20
"""One message of the device plane."""
CONTROL_MESSAGE_BYTES_MAX: Final = 4 << 20
"""One message of the control plane."""
EVENT_BYTES_MAX: Final = 64 << 10
"""One event of the observer plane."""
MESSAGES_A_ROUND_MAX: Final = 1024
"""Messages that a daemon takes from one socket before it does something else."""
QUEUE_MESSAGES_MAX: Final = 4096
"""Messages that wait for a peer whose pipe is full; past that the peer is lost."""
LOG_BYTES_MAX: Final = 64 << 20
"""Bytes of one process's log; what comes after is counted and not written."""

ITAGS: Final = 32
"""ITags of a device, 0 to 31 (PCIe ATS: five bits)."""
ITAG_MAX: Final = ITAGS - 1
"""Largest ITag."""
ITAG_VECTOR_MAX: Final = (1 << ITAGS) - 1
"""A completion's vector, one bit an ITag."""
COMPLETION_COUNT_MAX: Final = 7
"""A completion's count field, three bits: 0 means 8."""
PASID_MAX: Final = (1 << 20) - 1
"""Largest PASID (PCIe: twenty bits)."""
PRGI_MAX: Final = (1 << 9) - 1
"""Largest page request group index (PCIe PRI: nine bits)."""
PAGE_ADDRESS_MAX: Final = (1 << 63) - (1 << 12)
"""Largest page address, bytes: user half, bit 63 clear."""
PAGE_NUMBER_MAX: Final = (1 << 34) - 1
"""Largest page number that an entry has bits for."""
VALUE_MAX: Final = (1 << 10) - 1
"""Largest value of a scenario's word."""
RANGE_WORD_MAX: Final = (1 << 63) - (1 << 11)
"""Largest encoded range: bit 63 clear, so every one of them has a size; see `ats_range`."""

INVALIDATIONS_PER_MESSAGE_MAX: Final = 1024
"""Requests in one `messages.Invalidate`, and completions in one answer."""
PAGE_REQUESTS_PER_MESSAGE_MAX: Final = 512
"""Requests in one `messages.PageRequests`, and responses in one answer."""
REMOTE_PER_MESSAGE_MAX: Final = 1024
"""Requests in one message of an agent without shared memory, and answers in one message."""
REMOTE_TAG_MAX: Final = (1 << 32) - 1
"""Largest tag of a request that an agent without shared memory makes."""
DEVICES_MAX: Final = 64
"""Devices of a testbed."""
SLOTS_MAX: Final = 1 << 15
"""Slots of a program, both banks together."""
MMS_MAX: Final = 16
"""Address spaces of one instance."""
INSTANCE_MAX: Final = (1 << 62) - 1
"""Largest instance number."""
CLOCK_TICKS_MAX: Final = 1 << 32
"""Ticks of the batch clock, in any field that counts them."""
ATC_ENTRIES_MAX: Final = 1 << 20
"""Entries of a device's translation cache."""

SCHEDULE_STEPS_MAX: Final = 1 << 14
"""Steps of a replayed schedule."""
COLUMNS_MAX: Final = 64
"""Columns of a program."""
INSTRUCTIONS_PER_COLUMN_MAX: Final = 1024
"""Instructions of a column."""
WARM_MAX: Final = 1024
"""Translations that devices hold when an instance begins."""
SPECULATIONS_MAX: Final = 1024
"""Locations that devices may translate unasked."""
OPTIONS_MAX: Final = 32
"""Options of a program."""

NAME_CHARACTERS_MAX: Final = 64
"""A name of a process, device, column, register, counter or testbed."""
TEXT_CHARACTERS_MAX: Final = 2048
"""A sentence for people."""
PATH_CHARACTERS_MAX: Final = 4096
"""A path, or a discipline named by its file."""
TOKEN_CHARACTERS_MAX: Final = 128
"""A run token."""
CAPABILITIES_MAX: Final = 32
"""Capabilities of an agent."""
COUNTERS_MAX: Final = 128
"""Counters of a process."""
PROCESSES_MAX: Final = 256
"""Processes in a status."""
EVENT_FIELDS_MAX: Final = 64
"""Fields of an event."""
PID_MAX: Final = 1 << 22
"""Largest process number (Linux)."""
HEARTBEAT_MS_MAX: Final = 3_600_000
"""Longest heartbeat interval or limit, milliseconds."""
AGENT_PATIENCE: Final = 2
"""How many times as long as the daemon waits for an agent the agent waits for the daemon."""

FAULTS_MAX: Final = 64
"""Faults of a testbed or a plan at a time."""
FAULT_COUNT_MAX: Final = 1 << 32
"""Most applications that a fault may be limited to."""

KEPT_MESSAGES: Final = 256
"""Messages that a side keeps after it has sent them, to send again what was lost."""
RESENDS_MAX: Final = 4096
"""How often a link may miss messages before its agent is lost."""
RESUMED_MAX: Final = 1 << 14
"""Tasks that an agent's next process takes up."""
KEPT_CELLS_MAX: Final = 1 << 13
"""Cells of a device's caches that outlive its agent's process; more are lost, as a cache may."""
CELL_NUMBERS_MAX: Final = 64
"""Numbers that name such a cell, and numbers that it holds."""
OPEN_REQUESTS_MAX: Final = 1 << 15
"""Page request groups of all devices of an agent: 512 each."""
SEGMENT_NAME_CHARACTERS_MAX: Final = 128
"""A segment's name, without the leading slash."""

HISTORY_WINDOW_BYTES: Final = 1 << 20
"""How much of a history file is mapped at once, and how far it is grown at a time."""
HISTORY_FRAME_RECORDS_MAX: Final = 1024
"""Records that a writer buffers at most: one frame of the file."""
HISTORY_FRAME_BYTES_MAX: Final = 64 << 20
"""One frame of a history file."""
HISTORY_REORDER_RECORDS: Final = 1 << 15
"""How far a record may lie behind one that began later, for a merge to mend it."""
