"""``shootdown conformance``: drive an agent through the graded tests and print how it did."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from shootdown_cli.conformance.grades import TESTS
from shootdown_cli.conformance.process import (
    Command,
    Connection,
    Failed,
    NoHello,
    class_command,
    program_command,
)
from shootdown_cli.exits import EXIT_OK, EXIT_VIOLATION
from shootdown_device_agent.shell.classes import load_device
from shootdown_protocol.errors import ErrorCode, UsageError

PASS = "pass"  # noqa: S105 - a verdict
FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Graded:
    """How an agent did in one test, and why it failed."""

    name: str
    verdict: str
    why: str


def conformance(spec: str, program: str, *, by_tcp: bool, as_json: bool) -> int:
    """Grade a class or a program, over tcp with a key if so; gives the exit status."""
    if bool(spec) == bool(program):
        raise UsageError(
            ErrorCode.USAGE,
            seen="both a class and --exec" if spec else "neither a class nor --exec",
            expected='FILE.py:Class, or --exec "PROGRAM {endpoint}"',
            where="conformance",
        )
    if spec:
        load_device(spec)
    command = class_command(spec) if spec else program_command(program)
    results = []
    for result in grade(command, by_tcp=by_tcp):
        results.append(result)
        if not as_json:
            print(_line(result), flush=True)
    failed = sum(result.verdict == FAIL for result in results)
    if as_json:
        told = {"command": "conformance", "agent": spec or program}
        print(json.dumps({**told, "tests": [asdict(result) for result in results]}))
    else:
        print(f"{len(results) - failed} of {len(results)} passed")
    sys.stdout.flush()
    return EXIT_VIOLATION if failed else EXIT_OK


def grade(command: Command, *, by_tcp: bool = False) -> Iterator[Graded]:
    """Run every test; a process of the agent serves as long as it passes.

    One that says no hello is not tried again.
    """
    connection: Connection | None = None
    speechless = ""
    try:
        for number, (name, test) in enumerate(TESTS.items(), 1):
            if speechless:
                yield Graded(name, FAIL, speechless)
                continue
            try:
                if connection is None:
                    connection = Connection(command, by_tcp=by_tcp)
                    connection.greet()
                test(connection, number)
            except Failed as failed:
                speechless = str(failed) if isinstance(failed, NoHello) else ""
                yield Graded(name, FAIL, str(failed))
                if connection is not None:
                    connection.kill()
                connection = None
            else:
                yield Graded(name, PASS, "")
    finally:
        if connection is not None:
            connection.close()


def _line(result: Graded) -> str:
    summary = (TESTS[result.name].__doc__ or "").strip().splitlines()[0]
    if result.verdict == PASS:
        return f"pass  {result.name:<31} {summary}"
    return f"FAIL  {result.name:<31} {summary}\n      why: {result.why}"
