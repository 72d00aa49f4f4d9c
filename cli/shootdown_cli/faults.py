"""``shootdown fault``, ``heal`` and ``steps``: faults of a live testbed, and what they may name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_INCONCLUSIVE, EXIT_OK
from shootdown_cli.testbed import TestbedFailed
from shootdown_protocol import fault_messages, messages
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import PAUSE_MS, Fault, FaultStatus
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_protocol.process_status import ProcessRole

if TYPE_CHECKING:
    from shootdown_cli.places import TestbedRecord
    from shootdown_protocol.program import Program
    from shootdown_verify.fault_plan import Agents, Names
    from shootdown_verify.litmus import Scenario

Request = Callable[[int], messages.ControlToDaemon]
"""Makes a request of its number."""

ACTIONS = {
    "pause": "cpu.preempt",
    "die": "cpu.die",
    "crash_before": "daemon.crash_before",
    "crash_after": "daemon.crash_after",
}
"""What may happen at a step, by the word of ``fault at``, and the kind that it is."""


def add(fault: Fault, span: str, on: str | None, *, as_json: bool) -> int:
    """Add a fault to a live testbed."""
    if span:
        fault = msgspec.structs.replace(fault, for_ms=_span(span))
    _check(fault)
    if fault.agent:
        _check_agent(fault, on)
    told = _ask(on, lambda request: fault_messages.AddFault(request, PROTOCOL_VERSION, fault))
    return _show("fault add", told, as_json=as_json)


def at(spec: str, action: str, on: str | None, *, as_json: bool) -> int:
    """Let something happen once at a step of a thread, ``CPU0:wp_page_copy.set_pte_at``."""
    from shootdown_verify.source import nearest

    if action not in ACTIONS:
        hint = nearest(action, ACTIONS)
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"'{action}'",
            expected=f"one of {', '.join(ACTIONS)}" + (f" (did you mean {hint}?)" * bool(hint)),
            where="what happens there",
        )
    thread, _, step = spec.rpartition(":")
    if not (thread and step):
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"'{spec}'",
            expected="THREAD:STEP, such as CPU0:wp_page_copy.set_pte_at",
            where="fault at",
        )
    ms = PAUSE_MS if action == "pause" else 0
    fault = Fault(ACTIONS[action], thread=thread, at=step, ms=ms, count=1)
    return add(fault, "", on, as_json=as_json)


def show(on: str | None, *, as_json: bool) -> int:
    """Show every fault with how often it was applied; say which has ended without ever being."""
    told = _ask(on, lambda request: fault_messages.ListFaults(request, PROTOCOL_VERSION))
    say_idle([each for each in told if each.healed])
    return _show("fault list", told, as_json=as_json)


def clear(number: int | None, on: str | None, *, heal: bool, as_json: bool) -> int:
    """Apply faults no more; one that was never applied is an error, said aloud."""
    told = _ask(
        on,
        lambda request: fault_messages.ClearFaults(request, PROTOCOL_VERSION, number or 0, heal),
    )
    why = "" if told else _nothing_to_do(number, on, heal=heal)
    if told or as_json:
        _show("heal" if heal else "fault clear", told, as_json=as_json)
    else:
        print(f"nothing to {'heal' if heal else 'clear'}: {why}")
    return EXIT_INCONCLUSIVE if say_idle(told) else EXIT_OK


def _nothing_to_do(number: int | None, on: str | None, *, heal: bool) -> str:
    """Why a fault, or none of them, could be cleared; `UsageError` if there is none of a number."""
    listed = _ask(on, lambda request: fault_messages.ListFaults(request, PROTOCOL_VERSION))
    numbers = [each.number for each in listed]
    if number is not None and number not in numbers:
        there = (
            f"a fault's number ({_ranges(numbers)})" if numbers else "a fault, and none is there"
        )
        raise UsageError(ErrorCode.USAGE, seen=str(number), expected=there, where="--number")
    if not listed:
        return "no fault has been added"
    ended = [each for each in listed if number in {None, each.number}]
    held = sum(not each.healed for each in ended)
    who = "1 fault has ended" if number is None else f"fault {number} has ended"
    which = "it"
    if len(ended) > 1:
        who, which = f"{len(ended)} faults have ended", f"{held} of them"
    if heal or not held:
        return f"{who} and nothing is held"
    holds = "holds" if held == 1 else "hold"
    return f"{who}, and {which} still {holds} something: `shootdown heal` lets it go"


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers, those that follow each other as a range: ``1, 4 to 9``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in ranges)


def steps(scenarios: Sequence[str], *, as_json: bool) -> int:
    """List the names of steps, those of all shipped scenarios if none is named."""
    names = sorted(step_names(scenarios))
    print(json.dumps({"command": "steps", "steps": names}) if as_json else "\n".join(names))
    return EXIT_OK


def step_names(scenarios: Sequence[str] = ()) -> frozenset[str]:
    """Full names of the steps of some scenarios, or of all shipped ones."""
    from shootdown_cli.scenarios import load_scenario
    from shootdown_verify.step_names import steps_of

    named = scenarios or [str(path) for path in shipped_scenarios()]
    return steps_of(load_scenario(name).program for name in named)


def shipped_scenarios() -> list[Path]:
    """Every scenario that is shipped."""
    return sorted((places.configs() / "scenarios").rglob("*.litmus"))


def shipped_programs() -> list[Program]:
    """Every scenario that is shipped, compiled."""
    from shootdown_cli.scenarios import load_scenario

    return [load_scenario(str(path)).program for path in shipped_scenarios()]


def allowed_by(scenario: Scenario) -> tuple[Fault, ...]:
    """The faults that a scenario says: each of them happens in a run, so often at most."""
    return tuple(Fault(kind, count=scenario.faults) for kind in scenario.fault_kinds)


def load_faults(
    plan: str | None, programs: Sequence[Program], agents: Agents | None
) -> tuple[Fault, ...]:
    """The faults of a plan by path or shipped name, checked against what will run, and where."""
    if plan is None:
        return ()
    from shootdown_verify.fault_plan import load_plan

    path = places.find_config("faults", plan, ".toml")
    return load_plan(path, _names(programs, agents)).faults


def agents_of(record: TestbedRecord) -> Agents:
    """The agents of a live testbed; one of its own that is being started anew is no member now."""
    from shootdown_verify.fault_plan import Agents

    with ControlClient(record.endpoint("control")) as client:
        processes = client.status().processes
    members = {each.name for each in processes if each.role is ProcessRole.AGENT}
    return Agents(record.agents, members | (record.pids.keys() - {"daemon"}))


def say_idle(faults: Sequence[FaultStatus]) -> list[str]:
    """Say which faults were never applied; gives the sentences."""
    said = [
        f"fault {each.number} was never applied: {each.fault}"
        for each in faults
        if not each.applied
    ]
    for sentence in said:
        print(f"shootdown: {sentence}", file=sys.stderr)
    return said


def _span(text: str) -> int:
    from shootdown_verify.fault_plan import parse_span

    span = parse_span(text)
    if span is None:
        raise UsageError(
            ErrorCode.USAGE, seen=f"'{text}'", expected="a time, such as 500ms or 5s", where="--for"
        )
    return span


def _check(fault: Fault) -> None:
    from shootdown_verify.fault_plan import Names, check_fault

    named = fault.at or fault.thread
    check_fault(fault, any_names() if named else Names((), ()))


def _check_agent(fault: Fault, on: str | None) -> None:
    from shootdown_verify.fault_plan import Names, check_fault

    check_fault(fault, Names((), (), agents_of(places.find_testbed(on))))


def any_names() -> Names:
    """Steps and columns of all shipped scenarios, for who does not say which one it is."""
    return _names(shipped_programs())


def _names(programs: Sequence[Program], agents: Agents | None = None) -> Names:
    from shootdown_verify.fault_plan import Names
    from shootdown_verify.step_names import steps_of

    threads = {c.name for program in programs for c in program.columns if c.device < 0}
    scenario = programs[0].name if len(programs) == 1 else ""
    return Names(steps_of(programs), threads, agents, scenario)


def _ask(on: str | None, make: Request) -> tuple[FaultStatus, ...]:
    record = places.find_testbed(on)
    with ControlClient(record.endpoint("control")) as client:
        answer = client.ask(make(client.number()))
    if isinstance(answer, messages.ErrorReply):
        raise UsageError(
            ErrorCode.USAGE, seen="a refusal", expected=answer.why, where=f"testbed {record.name}"
        )
    if not isinstance(answer, fault_messages.FaultList):
        message = f"saw {type(answer).__name__}; expected FaultList"
        raise TestbedFailed(message)
    return answer.faults


def _show(command: str, faults: Sequence[FaultStatus], *, as_json: bool) -> int:
    if as_json:
        told = [fault_object(each) for each in faults]
        print(json.dumps({"command": command, "faults": told}))
        return EXIT_OK
    for each in faults:
        times = "time" if each.applied == 1 else "times"
        over = ", healed" if each.healed else ""
        print(f"{each.number:>4}  {each.fault}  applied {each.applied:,} {times}{over}")
    if not faults:
        print("no faults")
    return EXIT_OK


def fault_object(each: FaultStatus) -> dict[str, object]:
    """A fault as ``--json`` tells of it."""
    return {
        "number": each.number,
        **msgspec.to_builtins(each.fault),
        "applied": each.applied,
        "healed": each.healed,
    }
