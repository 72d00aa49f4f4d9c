"""Writes ``docs/operations.md`` and ``docs/bugs.md`` from the code, the scenarios and the matrix.

Orders are those that the machine really makes, under each kernel profile. Verdicts are those of
``docs/matrix.json``, which ``python -m shootdown_verify.describe FILE`` makes of what
``shootdown matrix --json`` has printed, be it of some operations only; without a FILE only the
pages are written anew.
"""

from __future__ import annotations

import json
import re
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.profiles import PROFILES
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_engine.live_store import LiveStore
from shootdown_protocol.layout import Layout
from shootdown_verify.bugs_left_out import LEFT_OUT
from shootdown_verify.catalogue import Bug, bug_of, flags, live_command
from shootdown_verify.kernel_table import NOTIFIERS, KernelRow
from shootdown_verify.kernel_table import ROWS as KERNEL_ROWS
from shootdown_verify.litmus import Configuration, Scenario, load, parse
from shootdown_verify.litmus.vocabulary import (
    BUG_CLASSES,
    STATES_NEEDED,
    SUBSCRIBER_OPERATIONS,
)
from shootdown_verify.matrix.clients import clients_of
from shootdown_verify.matrix.rows import ROWS, Row
from shootdown_verify.whole import Whole

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
MATRIX: Final = DOCS / "matrix.json"
OPERATIONS_PAGE: Final = DOCS / "operations.md"
BUGS_PAGE: Final = DOCS / "bugs.md"
BUGS: Final = ROOT / "configs" / "scenarios" / "bugs"
PLANS: Final = ROOT / "configs" / "faults" / "bugs"
NOTIFY: Final = "arch_invalidate_secondary_tlbs"
_UNSAID: Final = frozenset({"", "end", "return", "wait_invalidate_completion"})
_STEPS_MAX: Final = 1000
_LEFT_OUT: Final = re.compile(r"Left out:(.*?)(?:\n\n|\Z)", re.DOTALL)

Verdicts = Mapping[str, Any]


def condense(matrix: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs of a matrix: a word for each cell, and the rule."""
    cells: dict[str, dict[str, str]] = {}
    for cell in matrix["cells"]:
        row = cell["row"]
        word = cell["verdict"]
        if word == "broken":
            word = f"{cell['pass']} in {cell['steps']}"
        elif word == "inconclusive":
            word = f"inconclusive: {cell['reason']}"
        cells.setdefault(row, {})[cell["discipline"]] = word
    rule = {sentence.partition(": ")[0]: sentence for sentence in matrix["rule"]}
    return {"cells": cells, "rule": rule}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A matrix with some rows explored anew, and without those that are rows no more."""
    known = {row.name for row in ROWS} | set(new["cells"])
    both = {key: {**old.get(key, {}), **new[key]} for key in ("cells", "rule")}
    return {key: {n: said for n, said in both[key].items() if n in known} for key in both}


# Orders, as the machine makes them


def order_of(operation: str, discipline: str) -> list[str]:
    """Steps that a CPU makes in an operation when nobody else is at work, notification included."""
    text = _text_of(operation)
    name = text.split()[1]
    scenario = parse(text, f"{name}.litmus", operations=OPERATIONS, disciplines=DISCIPLINES)
    cold = msgspec.structs.replace(scenario.program, warm=(), speculation=())
    whole = Whole(cold, DISCIPLINES[discipline], _store)
    task = next(task for task in whole.tasks if task.name == "CPU0")
    made: list[str] = []
    for _ in range(_STEPS_MAX):
        if task.request is None:
            break
        name = task.request.name
        if task.step(whole.store):
            made += [] if name in _UNSAID else [name]
        elif not _serve(whole):
            break
    return made


def _text_of(operation: str) -> str:
    """A scenario with an operation in it: a row of the matrix, or for a subscriber a mirror."""
    if operation in SUBSCRIBER_OPERATIONS:
        return _SUBSCRIBER.format(scheme=SUBSCRIBER_OPERATIONS[operation], operation=operation)
    row = next((row for row in ROWS if row.operation == operation and not row.copier), None)
    if row is None:
        row = Row(operation, (STATES_NEEDED.get(operation, ("rw",))[0],))
    return next(iter(clients_of(row))).text


_SUBSCRIBER: Final = """SHOOTDOWN subscriber
"A subscriber that comes or goes."
{{ A = 0 rw; mirror {scheme}; }}
 CPU0          | MIR0      ;
 {operation} A | load A r0 ;
weakest none
caught none : S1
"""


def _serve(whole: Whole) -> bool:
    servers = [t for t in whole.tasks if t.server and t.name not in whole.prowlers]
    gone = [task.step(whole.store) for task in servers]
    return any(gone)


def _store(layout: Layout) -> LiveStore:
    return LiveStore(memoryview(array("Q", bytes(8 * layout.words))))


def _order_text(steps: list[str]) -> str:
    said: list[str] = []
    for step in steps:
        word = "**notify**" if step == NOTIFY else f"`{step}`"
        if step == NOTIFY or not said or said[-1] != word:
            said.append(word)
    return ", ".join(said)


# Operations


def render_operations(matrix: Verdicts) -> str:
    """The whole page."""
    parts = [_OPERATIONS_HEAD, _kernel_table(), _NOTIFIERS_HEAD, _notifiers(), _OPERATIONS_ORDERS]
    parts += [_section(name, matrix) for name in OPERATIONS]
    return "\n".join(parts)


def _kernel_table() -> str:
    lines = ["| row | what | where | modelled by | left out |", "|---|---|---|---|---|"]
    for row in KERNEL_ROWS:
        names = [f"`{name}`" for name in row.operations if name in OPERATIONS]
        modelled = ", ".join(names) if names else ""
        state = row.state if row.state != "modelled" else ""
        said = "; ".join(part for part in (modelled, state) if part)
        lines.append(f"| {row.number} | {row.what} | {row.function} | {said} | {_left_out(row)} |")
    return "\n".join(lines) + "\n"


def _notifiers() -> str:
    lines = ["| part | how secondary MMUs are told | modelled by | left out |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in NOTIFIERS]
    return "\n".join(lines) + "\n"


def _left_out(row: KernelRow) -> str:
    modules = dict.fromkeys(
        OPERATIONS[name].run.__module__ for name in row.operations if name in OPERATIONS
    )
    said = []
    for module in modules:
        found = _LEFT_OUT.search(sys.modules[module].__doc__ or "")
        said += [" ".join(found[1].replace("``", "`").split()).rstrip(".")] if found else []
    return "; ".join(said) or ("everything" if not modules else "nothing that matters here")


def _section(name: str, matrix: Verdicts) -> str:
    doc = " ".join((OPERATIONS[name].run.__doc__ or "").split("\n\n")[0].split())
    doc = doc.replace("``", "`")
    rows = [row for row in KERNEL_ROWS if name in row.operations]
    lines = [f"### `{name}`", "", doc, ""]
    lines += [f"- kernel, row {row.number}: {row.order}" for row in rows]
    orders = {version: _order_text(order_of(name, version)) for version in PROFILES}
    if len(set(orders.values())) == 1:
        lines.append(f"- {' and '.join(f'`{v}`' for v in orders)}: {next(iter(orders.values()))}")
    else:
        lines += [f"- `{version}`: {order}" for version, order in orders.items()]
    lines += list(_verdicts(name, matrix))
    return "\n".join(lines) + "\n"


def _verdicts(name: str, matrix: Verdicts) -> Iterator[str]:
    for row, cells in matrix["cells"].items():
        if row.partition(",")[0] != name:
            continue
        words: dict[str, list[str]] = {}
        for discipline, word in cells.items():
            open_, _, reason = word.partition(": ")
            kind = f"{open_} ({reason})" if reason else "safe" if word == "safe" else "broken"
            shown = f"`{discipline}`" + (f" ({word})" if kind == "broken" else "")
            words.setdefault(kind, []).append(shown)
        about = row.partition(", ")[2]
        text = "; ".join(f"{kind}: {', '.join(listed)}" for kind, listed in words.items())
        yield f"- matrix{f', {about}' if about else ''}: {text}"
    for row, sentence in matrix["rule"].items():
        said = sentence.partition(": ")[2]
        if row.partition(",")[0] == name:
            about = row.partition(", ")[2]
            yield f"- rule{f', {about}' if about else ''}: {said}"


_OPERATIONS_HEAD: Final = (
    "# Operations\n"
    "\n"
    "Made by `python -m shootdown_verify.describe`; a test holds that it is up to "
    "date.\n"
    "\n"
    "## The kernel's table\n"
    "\n"
    "Every operation of Linux 6.18 that changes page tables under devices, with what "
    "models it here.\n"
)
_NOTIFIERS_HEAD: Final = (
    "## The kernel's notifiers\n"
    "\n"
    "How secondary MMUs are told: 2.1 up to v6.5, 2.2 since v6.6, 2.3 to 2.5 those that "
    "mirror page tables in software, 2.6 what may sleep and how long a subscriber lives.\n"
)
_OPERATIONS_ORDERS: Final = (
    "## Orders and verdicts\n"
    "\n"
    "For each operation: what it is, the kernel's order in short, and the steps that "
    "the machine really makes under the profile of each kernel, by its own names, "
    "when nobody else is at work.\n"
    'In the kernel\'s order "flush" is that of the CPUs\' TLBs, and "+notify" says '
    "that secondary TLBs are told by it.\n"
    "Below stand the matrix's verdicts, with the check and the number of steps where "
    "a cell is broken, and the rule that follows from them.\n"
    "\n"
    "Notes on where the kernel differs from what `mm/mmu_notifier.rst` says:\n"
    "\n"
    "- Zap and munmap flush after range_end. That is safe because the pages wait in "
    "the gather: `range_end` and `before_free` are safe for `unmap_vmas`, and only a "
    "page freed before its flush is not (`zap_pte_range` under `range_end`).\n"
    "- fork and mprotect flush after range_end too. That is safe because until they "
    "return an old permission is legal, and `mmap_lock` held for writing keeps "
    "everybody out who would copy. With faults let in it is not, and whoever copies "
    "then has to see the pending flush and flush first, as `uffd_wp_range` shows.\n"
    "- mremap up to v6.5 told secondary TLBs at range_end, after the page table locks "
    "(`move_ptes` under `linux-6.1`): `flush_tlb_range()` under the locks was the "
    "CPUs' alone, and `mmu_notifier_invalidate_range_end()` followed when both locks "
    "were dropped, and the rmap locks too. It is broken by this criterion: the "
    "destination may be truncated or reclaimed in between, which tells devices of the "
    "destination's address only, and the page freed while a device still reaches it "
    "through the source. Since v6.6 the flush under the locks tells everybody.\n"
    "- CPUs and secondary TLBs need not be flushed in one order. The rows with "
    "`cpu_tlb` flush the CPUs where v6.18 does and move secondary TLBs alone: `on` "
    "flushes the CPUs first at the same point (x86), `after` last (arm64), with one "
    "verdict. Reclaim in batches (`try_to_unmap`) tells devices long before the CPUs, "
    "and a zap whose devices are told at `before_free` long after them. Each must be "
    "at a safe point of its own, and neither waits for the other.\n"
    "- Per-VMA locks change nothing as long as who takes permissions write-locks the "
    "mapping (`vma_lock on`): the verdicts are those of `mmap_lock` held for "
    "writing.\n"
)


# Bugs


def load_bugs(folder: Path = BUGS) -> list[Bug]:
    """The shipped catalogue."""
    scenarios = [_load(path) for path in sorted(folder.glob("*.litmus"))]
    return [bug_of(scenario) for scenario in scenarios if scenario.facts is not None]


def _load(path: Path) -> Scenario:
    return load(
        path,
        operations=OPERATIONS,
        disciplines=DISCIPLINES,
        faulty_devices=ZOO,
        mutants=MUTANTS,
    )


def render_bugs(bugs: list[Bug]) -> str:
    """The whole page."""
    lines = [_BUGS_HEAD]
    for class_ in BUG_CLASSES:
        chosen = [bug for bug in bugs if bug.facts.class_ == class_]
        lines += [f"## {class_.capitalize()} ({len(chosen)})", ""]
        lines += ["| bug | what it is | caught by |", "|---|---|---|"]
        lines += [
            f"| [{bug.id}](#{bug.id}) | {bug.scenario.summary} | {bug.wrong[0].words} |"
            for bug in chosen
        ]
        lines.append("")
        lines += [line for bug in chosen for line in _bug(bug)]
    lines += [f"## Not modelled ({len(LEFT_OUT)})", "", _LEFT_OUT_HEAD]
    lines += ["| fixed by | wrong | not modelled, because |", "|---|---|---|"]
    lines += [f"| {each.fix} | {each.wrong} | {each.because} |" for each in LEFT_OUT]
    lines.append("")
    return "\n".join(lines)


def _bug(bug: Bug) -> Iterator[str]:
    facts = bug.facts
    yield from (f"### {bug.id}", "", bug.scenario.summary, "")
    yield f"- fixed by: {facts.fix}"
    yield f"- seen: {facts.symptom}"
    yield f"- wrong: {facts.wrong}"
    yield f"- right: {facts.right}"
    for claim in bug.wrong:
        command = _command(bug, claim.configuration)
        yield f"- caught: {claim.words}, by {' or '.join(claim.by)}: `{command}`"
    yield f"- proved: {'; '.join(claim.words for claim in bug.right)}"
    if (PLANS / f"{bug.id}.toml").is_file():
        yield f"- live: `{live_command(bug.wrong[0].configuration, bug.id, bug.id)}`"
    mutant = bug.wrong[0].configuration.mutant
    if mutant:
        yield f"- the mutant: {MUTANTS[mutant].sentence}"
    yield ""


def _command(bug: Bug, configuration: Configuration) -> str:
    return f"shootdown explore {bug.id}{flags(configuration)}"


_LEFT_OUT_HEAD: Final = (
    "Bugs of these classes that no scenario can show with the machines as they are.\n"
)
_BUGS_HEAD: Final = (
    "# Real bugs\n"
    "\n"
    "Made by `python -m shootdown_verify.describe` from `configs/scenarios/bugs/`; a "
    "test holds that it is up to date.\n"
    "\n"
    "Each is a scenario in which the wrong order goes wrong in some order of its "
    "steps, and the right one, on the same scenario, in none.\n"
    "`shootdown bugs --verify` explores both sides of all; `shootdown bugs ID` shows "
    "one as a timeline and writes a replay file.\n"
    "Those with a line *live* have a fault plan that widens the window in which they "
    "show: the command races them in separate processes.\n"
    "Where memory management or hardware had it in a form that is not modelled, the "
    "scenario's comment says what stands for it.\n"
)


def main(words: list[str]) -> None:
    """Write both pages, and first the matrix if a file with one is given."""
    if words:
        told = condense(json.loads(Path(words[0]).read_text()))
        before = json.loads(MATRIX.read_text()) if MATRIX.is_file() else {}
        MATRIX.write_text(json.dumps(merged(before, told), indent=1) + "\n")
    OPERATIONS_PAGE.write_text(render_operations(json.loads(MATRIX.read_text())))
    BUGS_PAGE.write_text(render_bugs(load_bugs()))
    print(f"{OPERATIONS_PAGE.name} and {BUGS_PAGE.name} written")  # noqa: T201 - it is a command


if __name__ == "__main__":
    main(sys.argv[1:])
