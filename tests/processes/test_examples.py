"""The example agents: graded, and four kinds of agent attached to one daemon at once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes.ground import Command, Ground, until

from shootdown_cli.conformance import process

AGENTS = Path(__file__).parents[2] / "examples" / "agents"
WIRE = f"{sys.executable} {AGENTS / 'wire.py'} {{endpoint}}"
ENDS_S = 20.0
FAILED = 4
LIBRARIES = ("-lzmq", "-lmsgpackc")
FOUR_DEVICES = """\
SHOOTDOWN four-devices
"Four devices read a page whose copy-on-write is broken."

{
  A = 0 cow;
  atc DEV0 A; atc DEV1 A; atc DEV2 A; atc DEV3 A;
}

 CPU0           | CPU1                    | DEV0@d0   | DEV1@d1   | DEV2@d2   | DEV3@d3   ;
 wp_page_copy A | store A 1 when writable | load A r0 | load A r1 | load A r2 | load A r3 ;
                |                         | load A r4 | load A r5 | load A r6 | load A r7 ;

forbidden DEV0:r0=1 /\\ DEV0:r4=0
weakest coherence
caught none : S2
safe clear_flush
"""


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The agent in C, built; skipped aloud where it cannot be."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): Debian package gcc")
    program = tmp_path_factory.mktemp("agent") / "minimal"
    words = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    built = subprocess.run(
        [*words, str(AGENTS / "minimal.c"), *LIBRARIES], capture_output=True, text=True, check=False
    )
    absent = [h for h in ("zmq.h", "msgpack.h") if f"{h}: No such file" in built.stderr]
    if absent:
        pytest.skip(f"no {', '.join(absent)}: Debian packages libzmq3-dev, libmsgpack-dev")
    assert built.returncode == 0, built.stderr
    return f"{program} {{endpoint}}"


def failures(ground: Ground, *words: str) -> dict[str, str]:
    """Tests that an agent fails, with the reasons."""
    told = ground.do("conformance", *words, "--json").told
    return {each["name"]: each["why"] for each in told["tests"] if each["verdict"] != "pass"}


def test_the_agent_on_the_sdk_passes(ground: Ground) -> None:
    """The class in its file is all there is to it, here over tcp with a key."""
    assert failures(ground, str(AGENTS / "minimal.py"), "--tcp") == {}


def test_the_agent_on_the_wire_passes(ground: Ground) -> None:
    """It knows nothing but pyzmq, msgpack and the protocol's document, keys included."""
    assert failures(ground, "--exec", WIRE, "--tcp") == {}


def test_the_agent_in_c_passes(ground: Ground, minimal: str) -> None:
    """The same in another language."""
    assert failures(ground, "--exec", minimal) == {}


def test_of_four_kinds_of_agent_the_faulty_one_alone_is_named(ground: Ground, minimal: str) -> None:
    """Python with shared memory, C, Python by messages, and a faulty one, on one daemon."""
    scenario = ground.root / "four-devices.litmus"
    scenario.write_text(FOUR_DEVICES)
    ground.up("lab", "--load", str(scenario))
    agents = [
        attach(ground, "DEV0", str(AGENTS / "minimal.py")),
        attach(ground, "DEV1", "--exec", minimal),
        attach(ground, "DEV2", str(AGENTS / "minimal.py"), "--messages"),
        attach(ground, "DEV3", "ignores_invalidation"),
    ]

    ended = ground.run(str(scenario), "--on", "lab", instances=300)

    assert ended.status == 1, str(ended)
    (named,) = ended.told["named_devices"]
    assert (named["device"], named["violations"]) == ("d3", ended.told["violations"])
    assert named["agent"].startswith("DEV3-")
    for agent in agents:
        agent.signal(signal.SIGTERM)
    assert [agent.end().status for agent in agents] == [0, 0, 0, 0]
    assert ground.do("down", "--on", "lab").status == 0


def test_programs_of_another_host_get_the_key(ground: Ground, minimal: str) -> None:
    """In C and in Python, over tcp with CURVE; a faulty class beside them is named alone."""
    scenario = ground.root / "four-devices.litmus"
    scenario.write_text(FOUR_DEVICES)
    key = ground.up("lab", "--load", str(scenario), "--listen", "tcp://127.0.0.1:*")["key"]
    agents = [
        attach(ground, "DEV0", "--exec", WIRE, on=("--key", key)),
        attach(ground, "DEV1", "--exec", minimal, on=("--key", key)),
        attach(ground, "DEV2", "ignores_invalidation", on=("--key", key)),
    ]
    until(lambda: len(ground.status("lab").processes) == 2 + len(agents), "all have joined")

    ended = ground.run(str(scenario), "--on", "lab", instances=300)

    assert ended.status == 1, str(ended)
    assert [named["device"] for named in ended.told["named_devices"]] == ["d2"]
    for agent in agents:
        agent.signal(signal.SIGTERM)
    assert [agent.end().status for agent in agents] == [0, 0, 0]
    assert ground.do("down", "--on", "lab").status == 0


def test_programs_end_when_the_daemon_is_silent(
    minimal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as the welcome has said, with a status that says that it went wrong."""
    monkeypatch.setattr(process, "LIMIT_MS", 300)

    for program in (WIRE, minimal):
        with process.Connection(process.program_command(program)) as connection:
            connection.greet()

            assert connection.process.wait(ENDS_S) == FAILED


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        (" ", "' '"),
        ("it's {endpoint}", "No closing quotation"),
        ("./nothing {endpoint}", "No such file"),
    ],
)
def test_a_program_that_cannot_be_started_is_a_wrong_usage(
    ground: Ground, program: str, wrong: str
) -> None:
    """The words that were meant for a shell, or are no program, are shown with what is expected."""
    ended = ground.do("conformance", "--exec", program)

    assert (ended.status, wrong in ended.errors) == (2, True), str(ended)


def attach(
    ground: Ground, device: str, *words: str, on: tuple[str, ...] = ("--on", "lab")
) -> Command:
    """Serve a device; returns when the daemon has welcomed the agent, if that can be seen."""
    command = ground.start("attach", *words, "--as", device, *on, "--json")
    assert command.process.stdout is not None
    assert json.loads(command.process.stdout.readline())["device"] == device
    return command
