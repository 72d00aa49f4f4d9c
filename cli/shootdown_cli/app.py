"""Declares every command: its arguments, their help, and which module does the work.

A command's module is imported when it runs, so that ``--help`` and completion are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from shootdown_cli.exits import EXIT_FAILED, EXIT_USAGE

app = typer.Typer(
    name="shootdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find the orderings in which a device sees memory that it must not see.",
)

ScenarioArgument = Annotated[
    str, typer.Argument(help="A .litmus file, or the name of a shipped scenario.")
]
DisciplineOption = Annotated[
    str,
    typer.Option(
        help="When secondary TLBs are notified: none, range_start, before_clear, clear_flush, "
        "after_set, after_unlock, range_end, before_free, or FILE.py:Class."
    ),
]
TestbedOption = Annotated[str, typer.Option(help="A .toml file, or the name of a shipped testbed.")]
OnOption = Annotated[
    str | None, typer.Option("--on", help="A live testbed's name; default: the only one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OutOption = Annotated[Path, typer.Option(help="Where run directories are made.")]


def _exit(work: Callable[[], int]) -> None:
    """Do a command's work; errors that a person can mend become one line and a status."""
    from shootdown_cli.testbed import TestbedFailed
    from shootdown_protocol.errors import SegmentError, ShootdownError
    from shootdown_verify.source import SourceError

    try:
        status = work()
    except SourceError as error:
        typer.echo(str(error), err=True)
        status = EXIT_USAGE
    except (SegmentError, TestbedFailed) as error:
        typer.echo(f"shootdown: {error}", err=True)
        status = EXIT_FAILED
    except ShootdownError as error:
        typer.echo(f"shootdown: {error}", err=True)
        status = EXIT_USAGE
    except OSError as error:
        typer.echo(f"shootdown: {error}", err=True)
        status = EXIT_FAILED
    sys.stdout.flush()
    raise typer.Exit(status)


@app.command()
def run(
    scenario: ScenarioArgument,
    discipline: DisciplineOption = "clear_flush",
    testbed: TestbedOption = "one-agent",
    instances: Annotated[int, typer.Option(min=1, help="How many instances to race.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Repeats every choice of ours.")] = 1,
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
    on: OnOption = None,
) -> None:
    """Race a scenario on real processes and judge what they did."""
    from shootdown_cli.run import RunOptions
    from shootdown_cli.run import run as work

    options = RunOptions(scenario, discipline, testbed, instances, seed, out, as_json, on)
    _exit(lambda: work(options))


@app.command()
def up(
    testbed: Annotated[str, typer.Argument(help="A .toml file, or a shipped testbed's name.")],
    name: Annotated[str, typer.Option(help="What to call it.")] = "testbed",
    load: Annotated[
        str | None, typer.Option(help="A scenario to loop until `down`, without histories.")
    ] = None,
    discipline: DisciplineOption = "clear_flush",
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
) -> None:
    """Start a testbed that stays until `down`."""
    from shootdown_cli.staying import up as work

    _exit(lambda: work(testbed, name, load, discipline, out, as_json=as_json))


@app.command()
def status(on: OnOption = None, as_json: JsonOption = False) -> None:
    """Show every process of a live testbed: pid, state, counters."""
    from shootdown_cli.staying import status as work

    _exit(lambda: work(on, as_json=as_json))


@app.command()
def down(on: OnOption = None) -> None:
    """End a live testbed and remove what it leaves."""
    from shootdown_cli.staying import down as work

    _exit(lambda: work(on))


@app.command()
def daemon(
    testbed: Annotated[str, typer.Argument(help="A .toml file, or a shipped testbed's name.")],
    name: Annotated[str, typer.Option(help="What to call the testbed.")] = "testbed",
    logs: Annotated[Path, typer.Option(help="Where its log goes.")] = Path("out/logs"),
) -> None:
    """Run one daemon in the foreground; agents join with `shootdown agent`."""
    from shootdown_cli.foreground import daemon as work

    _exit(lambda: work(testbed, name, logs))


@app.command()
def agent(
    name: Annotated[str, typer.Option(help="The agent's name, unique in its testbed.")],
    on: OnOption = None,
    logs: Annotated[Path, typer.Option(help="Where its log goes.")] = Path("out/logs"),
) -> None:
    """Run one device agent in the foreground, as a member of a live testbed."""
    from shootdown_cli.foreground import agent as work

    _exit(lambda: work(name, on, logs))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can and cannot do."""
    from shootdown_cli.doctor import doctor as work

    _exit(lambda: work(as_json=as_json))
