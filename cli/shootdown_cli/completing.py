"""What a shell offers for a word that is half written: whatever the word may name.

Files are the shell's own business: it offers them where nothing here fits.
"""

from __future__ import annotations

from collections.abc import Iterable

from shootdown_cli import places


def complete_scenario(incomplete: str) -> list[str]:
    """Names of shipped scenarios, those of bugs included."""
    return _shipped("scenarios", ".litmus", incomplete)


def complete_testbed(incomplete: str) -> list[str]:
    """Names of shipped testbeds."""
    return _shipped("testbeds", ".toml", incomplete)


def complete_plan(incomplete: str) -> list[str]:
    """Names of shipped fault plans."""
    return _shipped("faults", ".toml", incomplete)


def complete_bug(incomplete: str) -> list[str]:
    """Identifiers of shipped bugs."""
    return _shipped("scenarios/bugs", ".litmus", incomplete)


def complete_live(incomplete: str) -> list[str]:
    """Names of live testbeds."""
    return _beginning(incomplete, (record.name for record in places.live_testbeds()))


def complete_discipline(incomplete: str) -> list[str]:
    """Names of shipped disciplines and kernel profiles."""
    from shootdown_daemon.machine.disciplines import DISCIPLINES

    return _beginning(incomplete, DISCIPLINES)


def complete_disciplines(incomplete: str) -> list[str]:
    """The last of several disciplines."""
    return _last(incomplete, complete_discipline(incomplete.rpartition(",")[2]))


def complete_mutant(incomplete: str) -> list[str]:
    """Names of kernels in which one thing is wrong."""
    from shootdown_daemon.machine.mutants import MUTANTS

    return _beginning(incomplete, MUTANTS)


def complete_device(incomplete: str) -> list[str]:
    """Names of faulty devices, behind ``DEVICE=`` too."""
    from shootdown_device_agent.machine.zoo import ZOO

    whose, equals, name = incomplete.rpartition("=")
    return [f"{whose}{equals}{each}" for each in _beginning(name, ZOO)]


def complete_setting(incomplete: str) -> list[str]:
    """``NAME=``, and behind it the values that are words."""
    from shootdown_protocol.device_options import DEVICE_OPTIONS

    name, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{option}=" for option in _beginning(name, DEVICE_OPTIONS)]
    values = DEVICE_OPTIONS.get(name, ())
    words = () if isinstance(values, range) else values
    return [f"{name}={word}" for word in _beginning(value, words)]


def complete_strategy(incomplete: str) -> list[str]:
    """How orders are chosen."""
    from shootdown_verify.explore import Strategy

    return _beginning(incomplete, Strategy)


def complete_operations(incomplete: str) -> list[str]:
    """The last of several rows of the matrix."""
    from shootdown_verify.matrix.rows import ROWS

    names = dict.fromkeys(row.operation for row in ROWS)
    return _last(incomplete, _beginning(incomplete.rpartition(",")[2], names))


def complete_kind(incomplete: str) -> list[str]:
    """Kinds of faults."""
    from shootdown_protocol.faults import KINDS

    return _beginning(incomplete, KINDS)


def complete_kinds(incomplete: str) -> list[str]:
    """The last of several kinds of faults."""
    return _last(incomplete, complete_kind(incomplete.rpartition(",")[2]))


def complete_step(incomplete: str) -> list[str]:
    """Full names of steps."""
    from shootdown_cli.faults import step_names

    return sorted(_beginning(incomplete, step_names()))


def complete_thread_step(incomplete: str) -> list[str]:
    """``THREAD:STEP``, completed after its colon."""
    from shootdown_cli.faults import any_names

    thread, colon, step = incomplete.rpartition(":")
    if not colon:
        return [f"{name}:" for name in _beginning(incomplete, any_names().threads)]
    return [f"{thread}:{name}" for name in complete_step(step)]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _last(incomplete: str, fitting: Iterable[str]) -> list[str]:
    """What was written before the last comma, and what may stand behind it."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in fitting]


def _shipped(folder: str, suffix: str, incomplete: str) -> list[str]:
    found = (places.configs() / folder).rglob(f"*{suffix}")
    return _beginning(incomplete, sorted(path.stem for path in found))
