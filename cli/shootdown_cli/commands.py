"""Declares every command: its arguments, their help and defaults, and which module does the work.

Importing this costs next to nothing: `app` makes typer commands of what stands here, `plain` reads
the plainest command lines by it, and a command imports what it needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from shootdown_cli.declared import (
    DISCIPLINE,
    Argument,
    DeviceOption,
    DevicesOption,
    DisciplineOption,
    FaultOption,
    InsecureOption,
    JsonLinesOption,
    JsonOption,
    ListenOption,
    LogsOption,
    MutantOption,
    OnOption,
    Option,
    OutOption,
    ScenarioArgument,
    SettingsOption,
    TestbedArgument,
)


def run(
    scenario: ScenarioArgument,
    discipline: DisciplineOption = DISCIPLINE,
    mutant: MutantOption = "",
    testbed: Annotated[
        str, Option("A .toml file, or the name of a shipped testbed.", complete="complete_testbed")
    ] = "one-agent",
    instances: Annotated[int, Option("How many instances to race.", least=1)] = 10_000,
    seed: Annotated[int, Option("Repeats every choice of ours.", least=0)] = 1,
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
    on: OnOption = None,
    device: DevicesOption = None,
    fault: FaultOption = None,
    settings: SettingsOption = None,
) -> int:
    """Race a scenario on real processes and judge what they did."""
    from shootdown_cli.run import RunOptions
    from shootdown_cli.run import run as work

    devices = tuple(device or ())
    return work(
        RunOptions(
            scenario,
            discipline,
            mutant,
            testbed,
            instances,
            seed,
            out,
            as_json,
            on,
            devices,
            fault=fault,
            settings=tuple(settings or ()),
        )
    )


def up(
    testbed: TestbedArgument,
    name: Annotated[str, Option("What to call it.")] = "testbed",
    load: Annotated[
        str | None,
        Option("A scenario to loop until `down`, without histories.", complete="complete_scenario"),
    ] = None,
    discipline: DisciplineOption = DISCIPLINE,
    mutant: MutantOption = "",
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
    device: DevicesOption = None,
    fault: FaultOption = None,
    listen: ListenOption = "",
    insecure: InsecureOption = False,
) -> int:
    """Start a testbed that stays until `down`."""
    from shootdown_cli.up import Load, Where
    from shootdown_cli.up import up as work

    devices = tuple(device or ())
    asked = Load(load, discipline, mutant, devices)
    where = Where(testbed, name, out, listen, insecure)
    return work(where, asked, fault, as_json=as_json)


def status(
    on: OnOption = None,
    agent: Annotated[str, Option("Fail (exit status 4) unless this agent is a member.")] = "",
    as_json: JsonOption = False,
) -> int:
    """Show every process of a live testbed: pid, state, counters."""
    from shootdown_cli.staying import status as work

    return work(on, agent, as_json=as_json)


def top(
    on: OnOption = None,
    every: Annotated[int, Option("Seconds between two looks.", least=1)] = 1,
    times: Annotated[int, Option("How often; 0: until it ends, or Ctrl-C.", least=0)] = 0,
) -> int:
    """Watch a live testbed: its processes, how fast they go, and what happens."""
    from shootdown_cli.top import top as work

    return work(on, every, times)


def down(on: OnOption = None) -> int:
    """End a live testbed and remove what it leaves."""
    from shootdown_cli.staying import down as work

    return work(on)


def daemon(
    testbed: TestbedArgument,
    name: Annotated[str, Option("What to call the testbed.")] = "testbed",
    load: Annotated[
        str | None, Option("A scenario to loop as soon as all agents have joined.")
    ] = None,
    discipline: DisciplineOption = DISCIPLINE,
    logs: LogsOption = Path("out/logs"),
    listen: ListenOption = "",
    insecure: InsecureOption = False,
) -> int:
    """Run one daemon in the foreground; agents join with `shootdown agent`."""
    from shootdown_cli.foreground import daemon as work
    from shootdown_cli.up import Load, Where

    where = Where(testbed, name, logs, listen, insecure)
    return work(where, Load(load, discipline, "", ()))


def agent(
    name: Annotated[str, Option("The agent's name, unique in its testbed.")],
    on: OnOption = None,
    logs: LogsOption = Path("out/logs"),
) -> int:
    """Run one device agent in the foreground, as a member of a live testbed."""
    from shootdown_cli.foreground import agent as work

    return work(name, on, logs)


def attach(
    spec: Annotated[
        str, Argument("FILE.py:Class, or a faulty device's name; nothing with --exec.")
    ] = "",
    *,
    device: Annotated[str, Option("The device to serve, or one of its columns.", "--as")],
    on: OnOption = None,
    program: Annotated[
        str,
        Option(
            "Any program instead of a class: {endpoint}, {name} and {device} are filled in, and "
            "stand in SHOOTDOWN_ENDPOINT, SHOOTDOWN_NAME, SHOOTDOWN_DEVICE, with SHOOTDOWN_TOKEN "
            "and SHOOTDOWN_SERVER_KEY.",
            "--exec",
        ),
    ] = "",
    name: Annotated[str, Option("The agent's name; default: the device's and a number.")] = "",
    messages: Annotated[
        bool,
        Option(
            "Without shared memory: walks and accesses are messages to the daemon.", "--messages"
        ),
    ] = False,
    key: Annotated[
        str, Option("The key file of a testbed on another host (or this), instead of --on.")
    ] = "",
    logs: LogsOption = Path("out/logs"),
    as_json: JsonOption = False,
) -> int:
    """Serve a device of a live testbed until Ctrl-C, SIGTERM or its end."""
    from shootdown_cli.attach import AttachOptions
    from shootdown_cli.attach import attach as work

    return work(AttachOptions(spec, device, on, program, name, messages, key, logs, as_json))


def conformance(
    spec: Annotated[
        str, Argument("FILE.py:Class, FILE.py, or a faulty device's name; nothing with --exec.")
    ] = "",
    program: Annotated[
        str,
        Option(
            "A program that speaks the wire protocol, told what to do as by attach.",
            "--exec",
        ),
    ] = "",
    tcp: Annotated[
        bool, Option("Over tcp with a CURVE key, as from another host.", "--tcp")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Drive a device agent through graded tests and say which it passes."""
    from shootdown_cli.conformance.command import conformance as work

    return work(spec, program, by_tcp=tcp, as_json=as_json)


def doctor(as_json: JsonOption = False) -> int:
    """Say what this machine can and cannot do."""
    from shootdown_cli.doctor import doctor as work

    return work(as_json=as_json)


def explore(
    scenarios: Annotated[
        list[str], Argument("Files, or names of shipped scenarios.", "complete_scenario")
    ],
    discipline: DisciplineOption = DISCIPLINE,
    strategy: Annotated[
        str,
        Option(
            "exhaustive, breadth-first, source-dpor, sleep-sets, preemptions, pct, pos, random.",
            complete="complete_strategy",
        ),
    ] = "exhaustive",
    preemptions: Annotated[int, Option("Bound of the strategy preemptions.", least=0)] = 3,
    budget_runs: Annotated[int, Option("Most schedules to make.", least=1)] = 10_000,
    budget_seconds: Annotated[int, Option("Longest search.", least=1)] = 60,
    faults: Annotated[
        int | None, Option("Most faults that may happen besides; as the scenario says.", least=0)
    ] = None,
    fault_kinds: Annotated[
        str,
        Option(
            "Kinds, with commas; the scenario's, or those that a right kernel survives.",
            complete="complete_kinds",
        ),
    ] = "",
    seed: Annotated[int, Option("Repeats what random strategies choose.", least=0)] = 0,
    device: DeviceOption = "",
    mutant: MutantOption = "",
    shrink: Annotated[
        bool, Option("Leave out of the scenario what the violation can do without.", "--shrink")
    ] = False,
    settings: SettingsOption = None,
    out: OutOption = Path("out"),
    as_json: JsonLinesOption = False,
) -> int:
    """Try every order of a scenario's steps: the shortest counterexample, or a proof."""
    from shootdown_cli.explore import ExploreOptions, explore_all
    from shootdown_verify.explore import Budget
    from shootdown_verify.fault_tasks import environment

    budget = Budget(seconds=budget_seconds, runs=budget_runs)
    environment(fault_kinds, 1)  # Refuses a kind that there is not, before anything is read.
    options = ExploreOptions(
        discipline,
        strategy,
        preemptions,
        budget,
        seed,
        device,
        mutant,
        out,
        as_json,
        shrink,
        most_faults=faults,
        fault_kinds=fault_kinds,
    )
    return explore_all(scenarios, options, tuple(settings or ()))


def matrix(
    operations: Annotated[
        str,
        Option("Rows, by operation, with commas; all if not said.", complete="complete_operations"),
    ] = "",
    disciplines: Annotated[
        str, Option("Columns, with commas; all if not said.", complete="complete_disciplines")
    ] = "",
    html: Annotated[str, Option("Write a page that needs no network, too.")] = "",
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
) -> int:
    """Explore every operation under every discipline, and say what rule follows."""
    from shootdown_cli.matrix import matrix as work

    return work(operations, disciplines, html, out, as_json=as_json)


def replay(
    file: Annotated[Path, Argument("A replay file.")],
    live: Annotated[bool, Option("On real processes, step by step.", "--live")] = False,
    messages: Annotated[
        bool, Option("With --live: by an agent without shared memory.", "--messages")
    ] = False,
    verify: Annotated[int, Option("How often to make it happen.", least=1)] = 10,
    as_json: JsonOption = False,
) -> int:
    """Make a counterexample happen again; exit status 0 if it does each time, 4 if not."""
    from shootdown_cli.replay import replay as work

    return work(file, verify, live=live, by_messages=messages, as_json=as_json)


def step(
    scenario: ScenarioArgument,
    discipline: DisciplineOption = DISCIPLINE,
    device: DeviceOption = "",
    mutant: MutantOption = "",
    out: OutOption = Path("out"),
) -> int:
    """Choose each next step of a scenario by hand, and see what it changes."""
    from shootdown_cli.step import StepOptions
    from shootdown_cli.step import step as work

    return work(scenario, StepOptions(discipline, device, mutant, out))


def explain(
    file: Annotated[Path, Argument("A replay file.")],
    as_json: JsonOption = False,
) -> int:
    """Show the nearest run that passes, and the one race that makes the difference."""
    from shootdown_cli.explain import explain as work

    return work(file, as_json=as_json)


def check(
    histories: Annotated[
        list[str], Argument("Run directories, history files, replay files or JSON Lines.")
    ],
    form: Annotated[str, Option("shootdown or jsonl; by content if not said.", "--format")] = "",
    skip_bad: Annotated[
        bool, Option("Count bad lines instead of refusing the file.", "--skip-bad")
    ] = False,
    scenario: Annotated[
        str, Option("What ran, where no scenario lies beside a history of ours.")
    ] = "",
    as_json: JsonOption = False,
) -> int:
    """Judge recorded histories: which memory model broke, where, and why."""
    from shootdown_cli.check import CheckOptions
    from shootdown_cli.check import check as work

    return work(histories, CheckOptions(form, skip_bad, scenario, as_json))


def bugs(
    bug: Annotated[
        str, Argument("A bug's id, to explain it; all are listed if not said.", "complete_bug")
    ] = "",
    verify: Annotated[
        bool, Option("Explore the wrong and the right side of each.", "--verify")
    ] = False,
    folder: Annotated[
        str, Option("Scenarios of your own instead of the shipped ones.", "--from")
    ] = "",
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
) -> int:
    """Real bugs of kernels: list them, explain one, or verify that all are caught."""
    from shootdown_cli.bugs import bugs as work

    return work(bug, folder, out, verify=verify, as_json=as_json)


def steps(
    scenarios: Annotated[
        list[str] | None,
        Argument(
            "Files, or names of shipped scenarios; all of these if none.", "complete_scenario"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """List the names of the steps at which faults may happen."""
    from shootdown_cli.faults import steps as work

    return work(scenarios or (), as_json=as_json)


def soak(
    minutes: Annotated[int, Option("How long to go on.", least=0)] = 10,
    seed: Annotated[int, Option("Of the first round; the next has the next.", least=0)] = 1,
    rounds: Annotated[int, Option("How many rounds, however long they take.", least=0)] = 0,
    out: OutOption = Path("out"),
    as_json: JsonOption = False,
) -> int:
    """Random scenarios, kernels, devices and faults against what is promised."""
    from shootdown_cli.soak.soaking import soak as work

    return work(minutes, seed, rounds, out, as_json=as_json)


def heal(on: OnOption = None, as_json: JsonOption = False) -> int:
    """Clear every fault of a live testbed, and let all that they hold go on at once."""
    from shootdown_cli.faults import clear as work

    return work(None, on, heal=True, as_json=as_json)


def fault_add(
    kind: Annotated[str, Argument("What happens: docs/faults.md has every kind.", "complete_kind")],
    agent: Annotated[str, Option("N or a name, all, or random; all if not said.")] = "",
    thread: Annotated[str, Option("A CPU column, such as CPU0; any if not said.")] = "",
    at: Annotated[
        str, Option("A step: `shootdown steps` lists them.", complete="complete_step")
    ] = "",
    ms: Annotated[
        int | None,
        Option("Milliseconds that each application lasts; 50 if not said.", least=1),
    ] = None,
    jitter: Annotated[int, Option("Milliseconds by which it differs at most.", least=0)] = 0,
    span: Annotated[
        str, Option("When it ends by itself: 5s, 500ms; never if not said.", "--for")
    ] = "",
    prob: Annotated[float, Option("Probability at each occasion.")] = 1.0,
    count: Annotated[
        int, Option("Most applications, by all agents together; 0: any number.", least=0)
    ] = 0,
    on: OnOption = None,
    as_json: JsonOption = False,
) -> int:
    """Add a fault to a live testbed."""
    from shootdown_cli.faults import add as work
    from shootdown_protocol.faults import Fault

    fault = Fault(kind, agent, thread, at, ms or 0, jitter, 0, prob, count)
    return work(fault, span, on, as_json=as_json)


def fault_at(
    step: Annotated[
        str, Argument("THREAD:STEP, such as CPU0:wp_page_copy.set_pte_at.", "complete_thread_step")
    ],
    what: Annotated[str, Argument("pause, die, crash_before or crash_after.")],
    on: OnOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let something happen once at a step of a thread."""
    from shootdown_cli.faults import at as work

    return work(step, what, on, as_json=as_json)


def fault_list(on: OnOption = None, as_json: JsonOption = False) -> int:
    """Show every fault of a live testbed with how often it was applied."""
    from shootdown_cli.faults import show as work

    return work(on, as_json=as_json)


def fault_clear(
    number: Annotated[
        int | None, Option("The fault to clear; all of them if not said.", least=1)
    ] = None,
    on: OnOption = None,
    as_json: JsonOption = False,
) -> int:
    """Apply faults no more; what they hold goes on when its time is over."""
    from shootdown_cli.faults import clear as work

    return work(number, on, heal=False, as_json=as_json)


COMMANDS = (
    run,
    explore,
    matrix,
    bugs,
    replay,
    step,
    explain,
    check,
    up,
    status,
    top,
    down,
    daemon,
    agent,
    attach,
    conformance,
    steps,
    heal,
    soak,
    doctor,
)
GROUPS = {
    "fault": (
        "Add, list and clear faults of a live testbed.",
        (fault_add, fault_at, fault_list, fault_clear, heal),
    ),
}
"""Commands of two words by their first one, with its help; a function is called ``GROUP_WORD``.

One that is called ``WORD`` is a command of its own, too, and found in either place.
"""
