"""The ``shootdown`` command: starts and stops processes, asks them, and shows what came of it."""
