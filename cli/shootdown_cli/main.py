"""The ``shootdown`` command's entry: what must be true before anything is imported.

A plain command line is obeyed at once; any other one is typer's, with `commands` for both.
"""

from __future__ import annotations

import os
import sys

from shootdown_cli import streams
from shootdown_cli.exits import EXIT_OK, EXIT_USAGE, status_of


def main() -> None:
    """Run the command line; the process's exit status is the command's."""
    streams.make_sound()
    if not __debug__:
        sys.stderr.write(
            "shootdown: Python was started with -O, which removes assertions, and they are how\n"
            "this program checks itself: start it without -O and without PYTHONOPTIMIZE\n"
        )
        sys.exit(EXIT_USAGE)
    from shootdown_cli import plain
    from shootdown_cli.commands import up

    found = plain.parse(sys.argv[1:])
    if found is None:
        sys.exit(status_of(_leave_to_typer))
    else:
        _import_msgspec()
        status = status_of(lambda: found.command(**found.values))
        if found.command is up and status == EXIT_OK:
            # The testbed is another process's now; to tear this one's modules down, one by one,
            # would take a tenth of the time that the testbed took to be there.
            os._exit(status)
        sys.exit(status)


def _leave_to_typer() -> int:
    """Let typer obey; its help may not be writable either."""
    from shootdown_cli.app import make_app

    try:
        make_app()()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_OK
    return EXIT_OK


def _import_msgspec() -> None:
    """Import msgspec so that it takes what it needs from ``typing``.

    Where ``typing_extensions`` is installed, as it is with typer, msgspec takes the same two names
    from there, and importing that costs half as much as importing ZeroMQ.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # its import then fails
    try:
        import msgspec  # noqa: F401 - for all that follows
    finally:
        del sys.modules["typing_extensions"]


if __name__ == "__main__":
    main()
