"""The commands as typer knows them: help, completion, and every error in a command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, get_args, get_origin

import typer

from shootdown_cli.commands import COMMANDS, GROUPS
from shootdown_cli.declared import Argument, Option
from shootdown_cli.exits import status_of


def make_app(commands: Iterable[Callable[..., int]] = COMMANDS) -> typer.Typer:
    """A typer application of the commands; calling it ends the process with a status."""
    app = typer.Typer(
        name="shootdown",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Find the orderings in which a device sees memory that it must not see.",
    )
    for command in commands:
        app.command(command.__name__)(_for_typer(command))
    for name, (help_text, members) in GROUPS.items():
        group = typer.Typer(name=name, no_args_is_help=True, help=help_text)
        for command in members:
            group.command(command.__name__.removeprefix(f"{name}_"))(_for_typer(command))
        app.add_typer(group)
    return app


def _for_typer(command: Callable[..., int]) -> Callable[..., None]:
    """A function that typer can read and call in a command's place."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [
        parameter.replace(annotation=_annotation(parameter.annotation))
        for parameter in signature.parameters.values()
    ]

    def call(**values: object) -> None:
        raise typer.Exit(status_of(lambda: command(**values)))

    call.__doc__ = command.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return call


def _annotation(declared: object) -> object:
    """``Annotated[type, Option(...)]`` with typer's own option in place of ours."""
    assert get_origin(declared) is Annotated, f"{declared} declares neither argument nor option"
    kind, item = get_args(declared)
    if isinstance(item, Argument):
        return Annotated[
            kind, typer.Argument(help=item.help, autocompletion=_completion(item.complete))
        ]
    assert isinstance(item, Option)
    flags = (item.flag,) if item.flag else ()
    return Annotated[
        kind,
        typer.Option(
            *flags, min=item.least, help=item.help, autocompletion=_completion(item.complete)
        ),
    ]


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """What completes a value, found in `shootdown_cli.completing` when a shell asks."""
    if not name:
        return None

    def complete(incomplete: str) -> list[str]:
        from shootdown_cli import completing

        found: list[str] = getattr(completing, name)(incomplete)
        return found

    return complete
