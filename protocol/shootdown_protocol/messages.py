"""Every message of every plane, each a frozen structure; `registry` lists them.

Nothing but vocabulary may live here: `codec` turns messages into bytes and back.
``docs/protocol.md`` explains who says what when; its tables are generated from this file.

* Device plane: one DEALER an agent to the daemon's ROUTER. A message is a msgpack array, its tag
  first, the link's sequence number second.
* Control plane: DEALERs of the command line and of agents to the daemon's second ROUTER. A message
  is a msgpack map with a ``type``; ``request`` is the asker's number and comes back in the answer.
* Observer plane: PUB. `Event` only, a msgpack map.

A message has one payload frame, and a tag is never given a second meaning.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shootdown_protocol import limits
from shootdown_protocol.control_message import ControlMessage, ControlRequest
from shootdown_protocol.device_message import DeviceElement, DeviceMessage
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fault_messages import (
    AddFault,
    ClearFaults,
    FaultList,
    Faults,
    FaultStatuses,
    ListFaults,
    Resend,
    SetFaults,
)
from shootdown_protocol.fields import (
    AgentNumber,
    AtcEntries,
    BoardWord,
    Capabilities,
    CompletionCount,
    Counters,
    DeviceClasses,
    DeviceNames,
    DeviceNumber,
    Devices,
    EventFields,
    FilePath,
    Instance,
    InstanceCount,
    InvalidateFlags,
    Itag,
    ItagVector,
    Milliseconds,
    Name,
    Number,
    PageAddress,
    PasidNumber,
    Pasids,
    Prgi,
    ProcessNumber,
    RangeWord,
    SegmentName,
    SequenceNumber,
    SlotCount,
    SlotNumber,
    Text,
    Ticks,
    Token,
    Version,
)
from shootdown_protocol.process_status import ProcessStatus
from shootdown_protocol.program import Program
from shootdown_protocol.remote_messages import (
    AccessAnswers,
    AccessGivenUp,
    AccessRequests,
    BatchDone,
    BatchWarm,
    ColumnsEnded,
    ColumnWaits,
    Proceed,
    RegisterStatuses,
    RegisterWrites,
    SlotsStarted,
    ThreadAccessGivenUp,
    ThreadAccessRequests,
    TranslationCompletions,
    TranslationRequests,
    Unsupported,
)
from shootdown_protocol.restart_messages import HandOver, Legacy

PROTOCOL_VERSION: Final = 1

SHARED_MEMORY: Final = "shared_memory"
"""Capability of an agent that maps the segment. One that a peer does not know means nothing."""
OWN_PROCESS: Final = "own_process"
"""Capability of an agent whose process is nothing else: it may be killed once the agent is lost."""
DEVICE_CLASSES: Final = "device_classes"
"""Capability of an agent that loads the device classes which a program names."""
REGISTERS: Final = "registers"
"""Capability of an agent without shared memory whose devices obey control registers."""
GATES: Final = "gates"
"""Capability of an agent that makes a step only when it is granted one, if it is told to."""


class InvalidateFlag(IntFlag):
    """Bits of an invalidate request's flags."""

    GLOBAL = 1
    """Every PASID, and entries marked global too."""
    IOTLB_FIRST = 2
    """Drop the range from the IOTLB that the agent hosts before telling the device TLB."""
    LEAF_ONLY = 4
    """No table was freed: paging-structure caches may keep what they hold."""
    IOTLB_ONLY = 8
    """Drop the range from the IOTLB that the agent hosts, and leave the device TLB alone."""


class PageResponseCode(IntEnum):
    """Response code of a page request group (PCIe PRI)."""

    SUCCESS = 0
    """Ask for the translation again; it may still be refused."""
    INVALID = 1
    """There is no such mapping, or it does not allow this."""
    FAILURE = 15
    """Page requests are off for this device until it is enabled again."""


# --- Device plane ------------------------------------------------------------------------------


class Hello(DeviceMessage, frozen=True, tag=1):
    """An agent's first message. ``token`` is the testbed's, which the agent was started with.

    An agent that ``serves`` devices attaches: it takes over those, named as the scenario names them
    or one of their columns, from the next batch boundary on. One that names none is one of the
    testbed's own, among which the other devices are shared out.
    """

    protocol_version: Version
    token: Token
    name: Name
    pid: ProcessNumber
    capabilities: Capabilities
    serves: DeviceNames = ()


class Welcome(DeviceMessage, frozen=True, tag=2):
    """The daemon's answer: what the agent is, which memory it maps, what its caches are like.

    ``agent`` numbers its board words. ``segment`` is empty for an agent without shared memory:
    one that did not announce ``shared_memory``.
    ``heartbeat_ms`` is how often the daemon asks, ``heartbeat_limit_ms`` after how long without
    a word the agent takes the daemon for dead: `AGENT_PATIENCE` times as long as the daemon waits
    for the agent, so that of two that live and do not hear each other the daemon notices first.
    ``iotlb``: the agent hosts an IOTLB; ``walk_by_level``: a table walk is one step a level.
    """

    protocol_version: Version
    agent: AgentNumber
    segment: SegmentName
    segment_generation: Number
    heartbeat_ms: Milliseconds
    heartbeat_limit_ms: Milliseconds
    seed: Number
    iotlb: bool
    atc_entries: AtcEntries
    walk_by_level: bool


class Refused(DeviceMessage, frozen=True, tag=3):
    """The daemon's answer to a `Hello` that it does not accept; the link is then closed."""

    code: ErrorCode
    why: Text


class LoadProgram(DeviceMessage, frozen=True, tag=4):
    """Take a compiled scenario. ``program_number`` names it from now on.

    Slots lie on the board from ``slot_base``, ``slots`` of them: two banks, so that a batch is
    made ready while another runs. The agent plays ``devices``, in each slot those that `BatchBegin`
    says, and writes its records to a new file at ``history`` (none when empty). A ``gated`` agent
    makes a step only when it is granted one.
    ``device_classes`` has one class for each of ``devices``, or none when all are right devices;
    it is sent only to agents with that capability.
    """

    program_number: Number
    program: Program
    slot_base: BoardWord
    slots: SlotCount
    devices: Devices
    history: FilePath
    gated: bool = False
    device_classes: DeviceClasses = ()


class UnloadProgram(DeviceMessage, frozen=True, tag=5):
    """The run is over: flush and close the history, then answer `ProgramUnloaded`."""

    program_number: Number


class ProgramUnloaded(DeviceMessage, frozen=True, tag=6):
    """The agent's history is complete, with this many records."""

    program_number: Number
    records: Number
    counters: Counters


class BatchSlot(DeviceElement, frozen=True):
    """An instance in which the agent plays ``devices``; it is granted these PASIDs, one an mm."""

    slot: SlotNumber
    instance: InstanceCount
    devices: Devices
    pasids: Pasids


class BatchBegin(DeviceMessage, frozen=True, tag=7):
    """Make a batch ready: warm its caches, then set the board word ``A_WARM`` to ``batch``.

    ``slots`` are those in which the agent plays a device: it hears of no other PASID. A device
    column begins within ``window`` ticks of its instance's start, drawn from ``seed``.
    """

    program_number: Number
    batch: Number
    seed: Number
    window: Ticks
    slots: Annotated[tuple[BatchSlot, ...], Meta(max_length=limits.SLOTS_MAX)]


class BatchGo(DeviceMessage, frozen=True, tag=8):
    """Run a batch that is ready; wakes an agent that sleeps, as the board's ``GO`` word does not.

    The agent sets ``A_DONE`` to ``batch`` when its columns of the batch have ended and drained.
    """

    batch: Number


class Grant(DeviceMessage, frozen=True, tag=12):
    """Make one step of a task, which should be ``step``; only to a gated agent."""

    slot: SlotNumber
    task: Name
    step: Text


class Granted(DeviceMessage, frozen=True, tag=13):
    """The answer to `Grant`: the task's pending step, and whether it was the one and was made."""

    slot: SlotNumber
    task: Name
    step: Text
    made: bool


class GrantRest(DeviceMessage, frozen=True, tag=14):
    """The schedule is over: make all further steps freely."""


class InvalidateRequest(DeviceElement, frozen=True):
    """Drop translations of a range from one device (PCIe ATS invalidate request).

    ``address`` is an `ats_range` word, ``flags`` are `InvalidateFlag`. ``instance`` is for the
    log only.
    """

    device: DeviceNumber
    itag: Itag
    pasid: PasidNumber
    address: RangeWord
    flags: InvalidateFlags
    instance: Instance


class Invalidate(DeviceMessage, frozen=True, tag=16):
    """Invalidate requests for devices of one agent, to be obeyed in this order."""

    requests: Annotated[
        tuple[InvalidateRequest, ...],
        Meta(min_length=1, max_length=limits.INVALIDATIONS_PER_MESSAGE_MAX),
    ]


class ItagCompletion(DeviceElement, frozen=True):
    """One device's completion of every ITag whose bit is set (PCIe ATS invalidate completion).

    Due only when nothing that used a dropped translation is under way. ``count`` is how many
    completions each of these ITags gets in all, 0 meaning 8.
    """

    device: DeviceNumber
    itags: ItagVector
    count: CompletionCount


class InvalidateCompletion(DeviceMessage, frozen=True, tag=17):
    """Completions of devices of one agent."""

    completions: Annotated[
        tuple[ItagCompletion, ...],
        Meta(min_length=1, max_length=limits.INVALIDATIONS_PER_MESSAGE_MAX),
    ]


class PageRequest(DeviceElement, frozen=True):
    """One page that a device needs (PCIe PRI page request); ``last`` closes its group.

    ``last`` with neither ``read`` nor ``write`` is a stop marker, which gets no response.
    """

    device: DeviceNumber
    pasid: PasidNumber
    address: PageAddress
    prgi: Prgi
    last: bool
    read: bool
    write: bool


class PageRequests(DeviceMessage, frozen=True, tag=18):
    """Page requests of devices of one agent."""

    requests: Annotated[
        tuple[PageRequest, ...],
        Meta(min_length=1, max_length=limits.PAGE_REQUESTS_PER_MESSAGE_MAX),
    ]


class PageResponse(DeviceElement, frozen=True):
    """The one response to a page request group. Success carries no translation."""

    device: DeviceNumber
    pasid: PasidNumber
    prgi: Prgi
    code: PageResponseCode


class PageResponses(DeviceMessage, frozen=True, tag=19):
    """Page request group responses for devices of one agent."""

    responses: Annotated[
        tuple[PageResponse, ...],
        Meta(min_length=1, max_length=limits.PAGE_REQUESTS_PER_MESSAGE_MAX),
    ]


class Heartbeat(DeviceMessage, frozen=True, tag=24):
    """Asks the loop that does the agent's work whether it goes round."""

    beat: Number


class HeartbeatReply(DeviceMessage, frozen=True, tag=25):
    """Sent by the working loop itself, never by a thread beside it."""

    beat: Number
    counters: Counters


class Detach(DeviceMessage, frozen=True, tag=26):
    """These devices leave; none named means all of the agent's.

    From an agent: it goes on as before, for it is a member still, until `DetachDone` says that it
    may leave. From the daemon: begin no walk, drain, drop everything, then answer `DetachDone`.
    """

    devices: Devices
    reason: Text


class DetachDone(DeviceMessage, frozen=True, tag=27):
    """The devices hold nothing (from an agent) or are members of nothing (from the daemon)."""

    devices: Devices


class ErrorReport(DeviceMessage, frozen=True, tag=28):
    """What was wrong with a message that came, or missing before it; the link goes on."""

    code: ErrorCode
    why: Text


class Goodbye(DeviceMessage, frozen=True, tag=29):
    """The last message of a side that ends in order."""

    reason: Text


# --- Control plane -----------------------------------------------------------------------------


class RunEnd(Enum):
    """Why a run ended."""

    DONE = "done"
    ABORTED = "aborted"
    AGENT_LOST = "agent_lost"
    QUARANTINED = "quarantined"
    """A device that may hold translations has not answered: it is shut out, its frames are kept."""
    STOPPED = "stopped"
    STANDSTILL = "standstill"
    """What is left can never move again."""
    FAILED = "failed"
    """The daemon met an error of its own; the text says which."""


class Status(ControlRequest, frozen=True, tag="status"):
    """Asks for every process of the testbed."""


class StatusReply(ControlMessage, frozen=True, tag="status_reply"):
    """The answer to `Status`. ``run`` and ``scenario`` are 0 and empty when nothing runs.

    ``load_ended`` says why a load does not go on; empty when it does, or there was none.
    """

    testbed: Name
    run: Number
    scenario: Text
    instances: InstanceCount
    processes: Annotated[tuple[ProcessStatus, ...], Meta(max_length=limits.PROCESSES_MAX)]
    load_ended: Text = ""


class ScheduledStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a schedule: the task that goes next, and what its step should be."""

    task: Name
    step: Text


class RunScenario(ControlRequest, frozen=True, tag="run"):
    """Asks for a run; answered by `RunStarted`, then `RunProgress`, then `RunEnded`.

    ``instances`` 0 means until `Abort`. ``discipline`` is a name or ``FILE.py:Class``, ``mutant``
    a name, ``FILE.py:NAME``, or empty for the right kernel. Histories go to the folder
    ``history``. With a ``schedule`` one instance is replayed step by step.
    ``instances_per_batch`` 0 leaves it to the daemon. ``device_classes`` has one class for each of
    the program's devices, or none: agents load them. ``faults`` are added as it begins and cleared
    as it ends.
    """

    program: Program
    discipline: FilePath
    instances: InstanceCount
    seed: Number
    history: FilePath
    instances_per_batch: InstanceCount = 0
    schedule: Annotated[
        tuple[ScheduledStep, ...], Meta(max_length=limits.SCHEDULE_STEPS_MAX, title="steps")
    ] = ()
    device_classes: DeviceClasses = ()
    mutant: FilePath = ""
    faults: Faults = ()


class RunStarted(ControlMessage, frozen=True, tag="run_started"):
    """Every agent has been sent the program."""

    run: Number


class RunProgress(ControlMessage, frozen=True, tag="run_progress"):
    """``done`` of ``of`` instances have drained; whether they were right is not known yet."""

    run: Number
    done: InstanceCount
    of: InstanceCount


class RunEnded(ControlMessage, frozen=True, tag="run_ended"):
    """The histories are complete, or as complete as they will be.

    ``instances`` have drained; later records belong to instances that are not to be judged.
    ``faults`` are those of the run, and of the testbed meanwhile.
    """

    run: Number
    end: RunEnd
    why: Text
    instances: InstanceCount
    counters: Counters
    histories: Annotated[tuple[FilePath, ...], Meta(max_length=limits.PROCESSES_MAX)]
    faults: FaultStatuses = ()


class Abort(ControlRequest, frozen=True, tag="abort"):
    """End a run after the batch under way; the run's asker gets `RunEnded`."""

    run: Number


class Stop(ControlRequest, frozen=True, tag="stop"):
    """End the testbed after the batch under way; agents are told by `Goodbye`."""

    reason: Text


class Stopping(ControlMessage, frozen=True, tag="stopping"):
    """The answer to `Stop`: it will be done."""


class ErrorReply(ControlMessage, frozen=True, tag="error"):
    """The answer to a request that was refused or could not be read (``request`` is then 0)."""

    code: ErrorCode
    why: Text


# --- Observer plane ----------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, tag="event", tag_field="type", forbid_unknown_fields=True):
    """Something that happened, for whoever looks on. ``sequence`` shows what PUB has dropped."""

    sequence: SequenceNumber
    process: Name
    name: Name
    fields: EventFields


# --- Who may send what ---------------------------------------------------------------------------


DeviceToDaemon = (
    Hello
    | ProgramUnloaded
    | BatchWarm
    | BatchDone
    | TranslationRequests
    | AccessRequests
    | ColumnWaits
    | ColumnsEnded
    | AccessGivenUp
    | ThreadAccessRequests
    | ThreadAccessGivenUp
    | RegisterStatuses
    | Granted
    | InvalidateCompletion
    | PageRequests
    | HeartbeatReply
    | Resend
    | Legacy
    | Detach
    | DetachDone
    | ErrorReport
    | Goodbye
)
"""What an agent may send on the device plane."""
DeviceFromDaemon = (
    Welcome
    | Refused
    | LoadProgram
    | UnloadProgram
    | BatchBegin
    | BatchGo
    | SlotsStarted
    | TranslationCompletions
    | AccessAnswers
    | Proceed
    | Unsupported
    | RegisterWrites
    | Grant
    | GrantRest
    | Invalidate
    | PageResponses
    | SetFaults
    | HandOver
    | Legacy
    | Resend
    | Heartbeat
    | Detach
    | DetachDone
    | ErrorReport
    | Goodbye
)
"""What the daemon may send on the device plane."""
ControlToDaemon = Status | RunScenario | Abort | AddFault | ListFaults | ClearFaults | Stop
"""What may be asked of the daemon on the control plane."""
ControlFromDaemon = (
    StatusReply | RunStarted | RunProgress | RunEnded | FaultList | Stopping | ErrorReply
)
"""What the daemon may send on the control plane."""
