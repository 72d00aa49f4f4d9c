"""The ``shootdown`` command's entry: what must be true before anything is imported.

A plain command line is obeyed at once; any other one is typer's, with `commands` for both.
"""

from __future__ import annotations

import sys

from shootdown_cli.exits import EXIT_USAGE


def main() -> None:
    """Run the command line; the process's exit status is the command's."""
    if not __debug__:
        sys.stderr.write(
            "shootdown: Python was started with -O, which removes assertions, and they are how\n"
            "this program checks itself: start it without -O and without PYTHONOPTIMIZE\n"
        )
        sys.exit(EXIT_USAGE)
    from shootdown_cli import plain

    found = plain.parse(sys.argv[1:])
    if found is None:
        from shootdown_cli.app import make_app

        make_app()()
    else:
        from shootdown_cli.exits import status_of

        sys.exit(status_of(lambda: found.command(**found.values)))


if __name__ == "__main__":
    main()
