"""``python -m tests.fuzz TARGET [SECONDS]``: throw bytes at a decoder, led by what they cover.

Prints how many inputs it tried; an input that a decoder does not refuse by its own error is shown
with its traceback and kept in ``build/fuzz/``, and the exit status is not 0.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")  # It has no types of its own.

SECONDS = 10
BYTES_MAX = 1 << 14
KEPT = Path(__file__).parents[2] / "build" / "fuzz"


def main(words: list[str]) -> None:
    """Fuzz one target for some seconds, from its seeds."""
    with atheris.instrument_imports(
        include=["shootdown_protocol", "shootdown_verify"], enable_loader_override=False
    ):
        from tests.fuzz.targets import (  # noqa: PLC0415 - what is imported here is watched
            Target,
            planted,
            targets,
        )

    known = targets() | {"planted": Target("planted", atheris.instrument_func(planted), (b"Sx",))}
    if not words or words[0] not in known:
        names = ", ".join(known)
        sys.exit(f"saw {words[:1] or 'nothing'}; expected one of {names}")
    target = known[words[0]]
    seconds = int(words[1]) if len(words) > 1 else SECONDS
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, str(number)).write_bytes(seed)
        KEPT.mkdir(parents=True, exist_ok=True)
        kept = f"-artifact_prefix={KEPT}/{target.name}-"
        flags = (
            f"-max_total_time={seconds}",
            f"-max_len={BYTES_MAX}",
            "-print_final_stats=1",
            kept,
        )
        atheris.Setup([sys.argv[0], *flags, corpus], target.run)
        atheris.Fuzz()


main(sys.argv[1:])
