"""Runs the benchmarks and prints their ratios: ``python -m benchmarks [--quick] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    against_spin,
    checker,
    growth,
    instances,
    one_shootdown,
    start,
    strategies,
    translations,
)
from benchmarks.measure import FULL, QUICK, Effort, Row

BENCHMARKS: dict[str, Callable[[Effort], Iterator[Row]]] = {
    "one-shootdown": one_shootdown.rows,
    "instances": instances.rows,
    "translations": translations.rows,
    "start": start.rows,
    "spin": against_spin.rows,
    "strategies": strategies.rows,
    "growth": growth.rows,
    "checker": checker.rows,
}


def main() -> None:
    """Run what was asked for; every row is printed as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("only", nargs="*", choices=[*BENCHMARKS, []], help="default: all")
    parser.add_argument(
        "--quick", action="store_true", help="one short round of each: a smoke test"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there too")
    asked = parser.parse_args()
    effort = QUICK if asked.quick else FULL
    rows = []
    for name, benchmark in BENCHMARKS.items():
        if asked.only and name not in asked.only:
            continue
        print(f"{name}: ratio min / median of {effort.rounds} rounds, target, ours : floor")
        for row in benchmark(effort):
            print(row.as_line(), flush=True)
            rows.append(row.as_dict())
    if asked.json is not None:
        asked.json.write_text(json.dumps({"rounds": effort.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
