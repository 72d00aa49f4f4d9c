"""The one vocabulary of faults: every kind, what it is aimed at, which parameters it takes.

A running testbed, a plan file and the explorer all name a fault by what stands here, and each
application of one is an `history.Injected` record. Nothing that applies a fault may live here.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from shootdown_protocol import limits


class Target(Enum):
    """What a kind of fault is aimed at, and so which of ``agent`` and ``thread`` it takes."""

    AGENT = "agent"
    THREAD = "thread"
    DAEMON = "daemon"


class FaultKind(NamedTuple):
    """One kind of fault.

    ``live`` and ``explored`` say how it is applied there, or begin with ``no:`` and say why not.
    ``caught_by`` is what notices it and what is done then, ``promise`` the number of the promise
    of ``docs/guarantees.md`` that it puts to the test. ``parameters`` are those it takes beyond
    its target, ``count`` and ``for``, which every kind takes.
    """

    name: str
    target: Target
    doc: str
    live: str
    explored: str
    caught_by: str
    promise: int
    parameters: tuple[str, ...] = ("prob",)

    @property
    def is_live(self) -> bool:
        """Whether a running testbed can apply it."""
        return not self.live.startswith("no:")

    @property
    def is_explored(self) -> bool:
        """Whether the explorer has a step for it."""
        return not self.explored.startswith("no:")


_WIRE: Final = ("prob",)
_HELD: Final = ("ms", "jitter", "prob")
_NO_STEP: Final = "no: needs no step, since every order in which it comes late is explored"
_NO_BYTES: Final = "no: the machine's messages are values, not bytes; as a loss, `inv.drop` is it"
_NO_CLOCK: Final = "no: the machine has no clock"
_CHANNEL: Final = "a step on the message that has waited longest in its channel"
_RESENT: Final = "completion time-out: sent once more under a new ITag, then quarantine"
_IN_USE: Final = "; if that ITag is in use, another request counts as completed too early (S1, S2)"
_ASKED_ANEW: Final = (
    "its pidfd; what it had not completed is sent again to the new process, under the same ITag"
)
_GAP: Final = "gap in the link's sequence numbers: caches dropped, what is missing is sent again"

KINDS: Final[dict[str, FaultKind]] = {
    kind.name: kind
    for kind in (
        FaultKind(
            "inv.delay",
            Target.AGENT,
            "an invalidation is held on its way for `ms`, give or take `jitter`",
            "the daemon's end of the link holds it",
            _NO_STEP,
            "nothing has to: the wait for completion lasts longer",
            1,
            _HELD,
        ),
        FaultKind(
            "inv.drop",
            Target.AGENT,
            "an invalidation is lost without trace",
            "the daemon's end of the link forgets it",
            _CHANNEL,
            _RESENT,
            2,
        ),
        FaultKind(
            "inv.duplicate",
            Target.AGENT,
            "an invalidation arrives twice",
            "the daemon's end of the link sends it twice",
            _CHANNEL,
            "the second completion finds its ITag free: refused, and a violation of `protocol`"
            + _IN_USE,
            3,
        ),
        FaultKind(
            "inv.reorder",
            Target.AGENT,
            "an invalidation is overtaken by the next one, or goes after `ms`",
            "the daemon's end of the link holds it back",
            "a step that puts the oldest message of a channel last",
            "nothing has to: invalidations are independent, each has its ITag",
            1,
            ("ms", "prob"),
        ),
        FaultKind(
            "inv.corrupt",
            Target.AGENT,
            "the bytes of a message with invalidations are damaged",
            "the daemon's end of the link changes a byte so that no decoder takes the message",
            _NO_BYTES,
            "the agent's decoder; then " + _GAP,
            3,
        ),
        FaultKind(
            "inv.truncate",
            Target.AGENT,
            "a message with invalidations is cut short",
            "the daemon's end of the link sends its first half",
            _NO_BYTES,
            "the agent's decoder; then " + _GAP,
            3,
        ),
        FaultKind(
            "inv.wrong_itag",
            Target.AGENT,
            "an invalidation arrives under an ITag that is not its own",
            "the daemon's end of the link changes the ITag",
            _CHANNEL,
            "the completion finds its ITag free: a violation of `protocol`; " + _RESENT + _IN_USE,
            2,
        ),
        FaultKind(
            "completion.delay",
            Target.AGENT,
            "a completion is held on its way for `ms`, give or take `jitter`",
            "the daemon's end of the link holds it",
            _NO_STEP,
            "nothing has to: the wait for completion lasts longer",
            1,
            _HELD,
        ),
        FaultKind(
            "completion.drop",
            Target.AGENT,
            "a completion is lost without trace",
            "the daemon's end of the link forgets it",
            _CHANNEL,
            _RESENT,
            2,
        ),
        FaultKind(
            "completion.duplicate",
            Target.AGENT,
            "a completion arrives twice",
            "the daemon's end of the link takes it twice",
            _CHANNEL,
            "the second finds its ITag free: refused, and a violation of `protocol`" + _IN_USE,
            3,
        ),
        FaultKind(
            "completion.reorder",
            Target.AGENT,
            "a completion is overtaken by the next one, or comes after `ms`",
            "the daemon's end of the link holds it back",
            "a step that puts the oldest message of a channel last",
            "nothing has to: each completion names its ITag",
            1,
            ("ms", "prob"),
        ),
        FaultKind(
            "completion.corrupt",
            Target.AGENT,
            "the bytes of a message from an agent are damaged",
            "the daemon's end of the link changes a byte so that no decoder takes the message",
            _NO_BYTES,
            "the daemon's decoder; then " + _GAP,
            3,
        ),
        FaultKind(
            "completion.truncate",
            Target.AGENT,
            "a message from an agent is cut short",
            "the daemon's end of the link keeps its first half",
            _NO_BYTES,
            "the daemon's decoder; then " + _GAP,
            3,
        ),
        FaultKind(
            "completion.wrong_itag",
            Target.AGENT,
            "a completion names an ITag that is not its own",
            "the daemon's end of the link changes the ITag",
            _CHANNEL,
            "it finds its ITag free: a violation of `protocol`; " + _RESENT + _IN_USE,
            2,
        ),
        FaultKind(
            "completion.wrong_count",
            Target.AGENT,
            "a completion says that it is one of two, and the other never comes",
            "the daemon's end of the link changes the count",
            "no: the machine's completion is whole; to it, this is `completion.drop`",
            _RESENT,
            2,
        ),
        FaultKind(
            "completion.early",
            Target.AGENT,
            "a device completes before what must drain has drained",
            "the agent's device skips its wait",
            "a step of the device's, in place of its drain",
            "use of a freed frame (S1), a value too old (S2)",
            6,
        ),
        FaultKind(
            "completion.late",
            Target.AGENT,
            "a completion comes when its time-out is over and the request has been sent again",
            "the daemon's end of the link holds it beyond the time-out",
            "a step by which the time-out strikes although nothing is lost",
            "an ITag is not used again before its own completion has come, however late",
            2,
        ),
        FaultKind(
            "completion.never",
            Target.AGENT,
            "a device completes nothing any more",
            "the daemon's end of the link forgets all completions",
            "a step from which on any completion may be lost; nothing is judged after the second "
            "loss of one request",
            "second time-out: the device is quarantined",
            4,
            (),
        ),
        FaultKind(
            "agent.pause",
            Target.AGENT,
            "an agent's process stops for `ms`",
            "SIGSTOP, then SIGCONT",
            _NO_STEP,
            "nothing has to within the heartbeat limit; beyond it the agent is quarantined",
            1,
            _HELD,
        ),
        FaultKind(
            "agent.kill",
            Target.AGENT,
            "an agent's process is killed, wherever it is; another takes its place",
            "SIGKILL while a batch is under way",
            "no: of a process that is gone nothing is ordered any more, and what it was in is not "
            "judged; what a device loses is `agent.restart`",
            "its pidfd: quarantine, what it was in is cut off, and the run goes on",
            4,
        ),
        FaultKind(
            "agent.restart",
            Target.AGENT,
            "an agent's process is killed and a new one takes its place: what waits in its devices "
            "is lost, their caches are empty",
            "SIGKILL between two steps; a new process, welcomed under the old number",
            "a step of the device's",
            _ASKED_ANEW,
            2,
        ),
        FaultKind(
            "agent.restart_warm",
            Target.AGENT,
            "the same, but the new process is given what the old one's caches held, as a device "
            "keeps its TLB when its driver starts anew",
            "SIGKILL between two steps; a new process, welcomed under the old number",
            "a step of the device's",
            _ASKED_ANEW,
            2,
        ),
        FaultKind(
            "agent.slow_walk",
            Target.AGENT,
            "a device's table walk takes `ms`, give or take `jitter`",
            "the agent holds the thread between walk and insertion",
            _NO_STEP,
            "nothing has to: an invalidation meanwhile cancels the walk",
            1,
            _HELD,
        ),
        FaultKind(
            "agent.stale",
            Target.AGENT,
            "a device completes an invalidation and keeps what it should have dropped",
            "the agent's device skips the drop",
            "a step of the device's, in place of its drop",
            "use of a freed frame (S1), a value too old (S2), what a return promised (S4)",
            6,
        ),
        FaultKind(
            "agent.hoard",
            Target.AGENT,
            "a device keeps whatever it has once walked, even if cancelled meanwhile",
            "the agent's device inserts a cancelled translation",
            "a step of the device's, in place of its insertion",
            "use of a freed frame (S1), a value too old (S2)",
            6,
        ),
        FaultKind(
            "agent.late_join",
            Target.AGENT,
            "an agent is let in `ms` after it knocked",
            "the daemon holds its hello",
            "no: a run begins when every agent has joined",
            "a run waits until every agent is a member",
            5,
            ("ms", "jitter"),
        ),
        FaultKind(
            "link.partition",
            Target.AGENT,
            "a link loses every message, both ways, for `ms`",
            "the daemon's end of the link forgets them",
            "no: a lost message is `inv.drop` or `completion.drop`; numbers are the shell's",
            _GAP + "; beyond the heartbeat limit the agent is quarantined",
            3,
            ("ms",),
        ),
        FaultKind(
            "link.partition_out",
            Target.AGENT,
            "a link loses what the daemon sends for `ms`",
            "the daemon's end of the link forgets it",
            "no: as `link.partition`",
            _GAP + "; beyond the heartbeat limit the agent is quarantined",
            3,
            ("ms",),
        ),
        FaultKind(
            "link.partition_in",
            Target.AGENT,
            "a link loses what the agent sends for `ms`",
            "the daemon's end of the link forgets it",
            "no: as `link.partition`",
            _GAP + "; beyond the heartbeat limit the agent is quarantined",
            3,
            ("ms",),
        ),
        FaultKind(
            "link.clog",
            Target.AGENT,
            "a link holds every message, both ways, for `ms`, and then delivers them in order",
            "the daemon's end of the link queues them",
            _NO_STEP,
            "nothing has to within the heartbeat limit; beyond it the agent is quarantined",
            1,
            ("ms",),
        ),
        FaultKind(
            "link.full",
            Target.AGENT,
            "a link's pipe takes nothing for `ms`, as at its high-water mark",
            "the daemon's own bounded queue holds what it sends",
            _NO_STEP,
            "the bounded queue; one that overflows loses the agent, never the daemon",
            5,
            ("ms",),
        ),
        FaultKind(
            "link.slow_subscriber",
            Target.DAEMON,
            "an observer is too slow, so that events are dropped",
            "the event is counted and not sent",
            "no: observers are no part of the machine",
            "gap in the events' sequence numbers",
            3,
        ),
        FaultKind(
            "cpu.preempt",
            Target.THREAD,
            "a CPU thread is held for `ms` before the step `at`",
            "the scheduler of steps holds the task; other tasks go on",
            _NO_STEP,
            "S1 to S4, if the discipline leaves a window open there",
            1,
            ("at", "ms", "jitter", "prob"),
        ),
        FaultKind(
            "cpu.preempt_locked",
            Target.THREAD,
            "a CPU thread is held for `ms` while it holds a lock",
            "the scheduler of steps holds the task before its next step",
            _NO_STEP,
            "nothing has to: others wait for the lock",
            5,
            ("at", "ms", "jitter", "prob"),
        ),
        FaultKind(
            "cpu.die",
            Target.THREAD,
            "a CPU thread dies before the step `at`, or anywhere, while it holds a lock",
            "the task ends; its locks are broken and its instance is cut off",
            "no: to die is never to be chosen again, and every order up to there is the beginning "
            "of one that is explored; whoever waits for its lock waits for ever",
            "the instance is cut off and not judged; the verdict says where, and with which lock",
            5,
            ("at", "prob"),
        ),
        FaultKind(
            "mem.pressure",
            Target.THREAD,
            "a CPU's list of free pages is drained, so that it allocates what was freed last",
            "the list is given back when an instance starts",
            "a step that gives the list back",
            "poison and generation of the frame (S1), if it was freed too early",
            1,
        ),
        FaultKind(
            "daemon.crash_before",
            Target.DAEMON,
            "the daemon is killed before the step `at`",
            "SIGKILL of itself",
            "no: nothing is ordered after it; what it must leave are files",
            "agents by its pidfd, the command by its lock; histories are read up to the tear",
            7,
            ("at", "thread"),
        ),
        FaultKind(
            "daemon.crash_after",
            Target.DAEMON,
            "the daemon is killed after the step `at`",
            "SIGKILL of itself",
            "no: nothing is ordered after it; what it must leave are files",
            "agents by its pidfd, the command by its lock; histories are read up to the tear",
            7,
            ("at", "thread"),
        ),
        FaultKind(
            "clock.jump",
            Target.DAEMON,
            "the clock by which limits are judged jumps ahead by `ms`",
            "the daemon adds to what it reads",
            _NO_CLOCK,
            "limits count from what was last heard, so a jump alone ends nobody",
            5,
            ("ms",),
        ),
    )
}
"""Every kind by its name."""

AT_START: Final = frozenset({"agent.late_join"})
"""Kinds that can only happen when a testbed starts."""
COUNTER: Final = "fault."
"""What the names of agents' counters of faults begin with; the fault's number follows."""
ALL_AGENTS: Final = "all"
RANDOM_AGENT: Final = "random"
"""One agent, drawn anew for each fault."""

Word = Annotated[str, Meta(max_length=limits.NAME_CHARACTERS_MAX, title="name or empty")]
Span = Annotated[int, Meta(ge=0, le=limits.HEARTBEAT_MS_MAX, title="ms")]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault, as a person asks for it; `validate` says whether it makes sense.

    ``agent`` is a number, a name, ``all`` or ``random``; ``thread`` a column; ``at`` the full name
    of a step. ``ms`` is how long one application lasts, ``jitter_ms`` by how much at most it
    differs. It is applied with probability ``prob`` wherever it could be, ``count`` times at most
    (0: no limit), for ``for_ms`` after it was added (0: until it is cleared).
    """

    kind: Word
    agent: Word = ""
    thread: Word = ""
    at: Annotated[str, Meta(max_length=2 * limits.NAME_CHARACTERS_MAX, title="step or empty")] = ""
    ms: Span = 0
    jitter_ms: Span = 0
    for_ms: Span = 0
    prob: Annotated[float, Meta(ge=0.0, le=1.0, title="probability")] = 1.0
    count: Annotated[int, Meta(ge=0, le=limits.FAULT_COUNT_MAX, title="times, 0 for any")] = 0

    def __str__(self) -> str:
        """Say it as the command line takes it."""
        words = [self.kind]
        told = (
            ("agent", self.agent),
            ("thread", self.thread),
            ("at", self.at),
            ("ms", self.ms),
            ("jitter", self.jitter_ms),
            ("for", f"{self.for_ms}ms" if self.for_ms else ""),
            ("prob", "" if self.prob == 1.0 else self.prob),
            ("count", self.count),
        )
        words += [f"--{name} {value}" for name, value in told if value]
        return " ".join(words)


class FaultStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault of a testbed: its number, what it is, how often it was applied.

    ``healed``: it is applied no more, and nothing is held by it any more.
    """

    number: Annotated[int, Meta(ge=0)]
    fault: Fault
    applied: Annotated[int, Meta(ge=0)]
    healed: bool


MS_DEFAULT: Final = 50
"""How long an application lasts when nobody says so, milliseconds."""
PAUSE_MS: Final = 10_000
"""How long ``fault at STEP pause`` holds a thread that nobody heals, milliseconds."""


class Misfit(NamedTuple):
    """Why a fault makes no sense: the parameter, what was said, what is right, and words for it."""

    where: str
    seen: str
    expected: str
    word: str = ""
    right: tuple[str, ...] = ()


def misfits(fault: Fault) -> Iterator[Misfit]:
    """What is wrong with a fault, as far as it can be told without a scenario or a testbed."""
    kind = KINDS.get(fault.kind)
    if kind is None:
        expected = "a kind of fault"
        yield Misfit("kind", f"'{fault.kind}'", expected, fault.kind, tuple(KINDS))
        return
    takes = {"count", "for", *kind.parameters, *_TARGET_PARAMETERS[kind.target]}
    given = {
        "agent": bool(fault.agent),
        "thread": bool(fault.thread),
        "at": bool(fault.at),
        "ms": bool(fault.ms),
        "jitter": bool(fault.jitter_ms),
        "prob": fault.prob != 1.0,
    }
    for name, said in given.items():
        if said and name not in takes:
            yield Misfit(
                name, f"--{name} with {kind.name}", f"only what it takes: {_listed(takes)}"
            )
    yield from _out_of_range(fault)
    if not kind.is_live:
        yield Misfit("kind", kind.name, f"a kind that can be applied live ({kind.live})")
    if kind.name in STEP_NEEDED and not fault.at:
        yield Misfit("at", f"{kind.name} without --at", "a step's name: `shootdown steps` has them")
    if fault.jitter_ms and fault.jitter_ms > (fault.ms or MS_DEFAULT):
        yield Misfit("jitter", f"{fault.jitter_ms} ms", f"at most ms, {fault.ms or MS_DEFAULT}")


def _out_of_range(fault: Fault) -> Iterator[Misfit]:
    """Numbers that no message can carry, or that mean nothing."""
    if not 0.0 < fault.prob <= 1.0:
        yield Misfit("prob", str(fault.prob), "a probability above 0, at most 1")
    spans = {"ms": fault.ms, "jitter": fault.jitter_ms, "for": fault.for_ms}
    for name, span in spans.items():
        if not 0 <= span <= limits.HEARTBEAT_MS_MAX:
            yield Misfit(name, f"{span} ms", f"at most {limits.HEARTBEAT_MS_MAX} ms")
    if not 0 <= fault.count <= limits.FAULT_COUNT_MAX:
        yield Misfit("count", str(fault.count), f"at most {limits.FAULT_COUNT_MAX}")
    for name, said in {"agent": fault.agent, "thread": fault.thread}.items():
        if len(said) > limits.NAME_CHARACTERS_MAX:
            expected = f"at most {limits.NAME_CHARACTERS_MAX} characters"
            yield Misfit(name, f"{len(said)} characters", expected)


STEP_NEEDED: Final = ("daemon.crash_before", "daemon.crash_after")
_TARGET_PARAMETERS: Final = {
    Target.AGENT: ("agent",),
    Target.THREAD: ("thread",),
    Target.DAEMON: (),
}


def _listed(names: set[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))


def lasting(fault: Fault) -> Fault:
    """The fault with its ``ms`` said, where it takes one and nobody has said it."""
    kind = KINDS[fault.kind]
    if fault.ms or "ms" not in kind.parameters:
        return fault
    return msgspec.structs.replace(fault, ms=MS_DEFAULT)
