"""The testbed of ``docker-compose.yml`` under a project name of its own, and what asks of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
IMAGE = "shootdown-under-test"
BASES = ("shootdown-base:bookworm", "python:3.11-slim-bookworm")
DOCKER = shutil.which("docker") or "docker"


def why_not() -> str:
    """Why no container can be started here; empty when one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if not COMPOSE:
        return "neither docker-compose nor the compose plugin of docker is installed"
    answers = docker("info")[0] == 0
    return "" if answers else "no container engine answers (.ci/engine starts one)"


def docker(*words: str) -> tuple[int, str]:
    """Ask the engine; gives the exit status and what it wrote."""
    done = subprocess.run([DOCKER, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def _compose() -> list[str]:
    """The words that begin a command of Compose, of either make; none when there is neither."""
    alone = shutil.which("docker-compose")
    return [alone] if alone else [DOCKER, "compose"] if docker("compose", "version")[0] == 0 else []


@cache
def build() -> str:
    """Build the image under test; gives why that was not possible, or nothing."""
    base = os.environ.get("SHOOTDOWN_BASE_IMAGE") or next(filter(_is_here, BASES), BASES[-1])
    if not _is_here(base) and docker("pull", "--quiet", base)[0]:
        return f"{base} cannot be pulled (.ci/engine makes another base image)"
    words = ["make", "image", f"IMAGE={IMAGE}", f"BASE={base}"]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return ""


def _is_here(image: str) -> bool:
    return docker("image", "inspect", image)[0] == 0


COMPOSE = _compose() if shutil.which("docker") else []


class Compose:
    """One project: its containers and volumes."""

    def __init__(self, project: str, *files: str) -> None:
        """Nothing is started yet."""
        self.project = project
        self.files = files or ("docker-compose.yml",)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a ``docker-compose`` command."""
        files = [word for file in self.files for word in ("--file", file)]
        return subprocess.Popen(
            [*COMPOSE, "--ansi", "never", "--project-name", self.project, *files, *words],
            cwd=ROOT,
            env={**os.environ, "SHOOTDOWN_IMAGE": IMAGE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def do(self, *words: str) -> tuple[int, str, str]:
        """Do a command; gives its status and what it wrote."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=PATIENCE_S * 2)
        return process.returncode, output, errors

    def up(self, *services: str) -> None:
        """Start services and wait until each says that it is well."""
        status, output, errors = self.do("up", "--detach", *services)
        assert status == 0, output + errors
        for service in services:
            self.wait_for(partial(self.is_healthy, service), f"{service} is healthy")

    def down(self) -> None:
        """End everything and remove it."""
        self.do("down", "--volumes", "--timeout", "5")

    def cli(self, *words: str) -> tuple[int, dict[str, Any]]:
        """A command of the command line in a container; gives its status and its JSON."""
        status, output, errors = self.do("run", "--rm", "-T", "cli", *words, "--json")
        assert output, errors
        return status, json.loads(output.strip().splitlines()[-1])

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.do("ps", "--quiet", service)[1].strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """All that the engine knows of a service's container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service))[1])[0]
        return found

    def is_healthy(self, service: str) -> bool:
        """Whether a service's container runs and says that it is well."""
        state = self.inspect(service)["State"]
        return bool(state["Running"]) and state["Health"]["Status"] == "healthy"

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}, waited {PATIENCE_S:.0f} s"
            time.sleep(0.2)
