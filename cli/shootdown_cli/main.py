"""The ``shootdown`` command's entry: what must be true before anything is imported.

Commands are declared in ``app``; errors that a person can mend end here, in one line.
"""

from __future__ import annotations

import sys

from shootdown_cli.exits import EXIT_FAILED, EXIT_USAGE


def main() -> None:
    """Run the command line; the process's exit status is the command's."""
    if not __debug__:
        sys.stderr.write(
            "shootdown: Python was started with -O, which removes assertions, and they are how\n"
            "this program checks itself: start it without -O and without PYTHONOPTIMIZE\n"
        )
        sys.exit(EXIT_USAGE)
    sys.exit(_run())


def _run() -> int:
    from shootdown_cli.app import app
    from shootdown_protocol.errors import ShootdownError, UsageError

    try:
        app()
    except UsageError as error:
        sys.stderr.write(f"shootdown: {error}\n")
        return EXIT_USAGE
    except ShootdownError as error:
        sys.stderr.write(f"shootdown: {error}\n")
        return EXIT_FAILED
    except BrokenPipeError:
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    main()
