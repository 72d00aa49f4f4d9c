"""What a testbed makes of a program that it is to run: its options, who serves its devices."""

from __future__ import annotations

import msgspec

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.links import DeviceRouter
from shootdown_protocol.device_options import OFF, ON
from shootdown_protocol.program import Program


def attached_devices(router: DeviceRouter, program: Program) -> dict[int, int]:
    """Which of a program's devices an attached agent serves: device to the agent's number."""
    return {
        device: link.number
        for link in router.links.values()
        for name in link.serves
        if not link.leaving and (device := program.device_called(name)) >= 0
    }


def with_options(config: DaemonConfig, program: Program) -> Program:
    """A program whose options say what the testbed says, where they are silent."""
    options = {**config.device, **program.options}
    return msgspec.structs.replace(program, options=options)


def as_hosted(config: DaemonConfig, program: Program) -> Program:
    """A program as the host knows it: whether there is an IOTLB to be told, agents know better."""
    options = {"iotlb": ON if config.iotlb else OFF, **program.options}
    return msgspec.structs.replace(program, options=options)
