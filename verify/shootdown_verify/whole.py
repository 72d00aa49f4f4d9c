"""The whole testbed on one store in one process: what the explorer and machine tests run.

The kernel's tasks and the devices' tasks of one instance, their channels joined by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shootdown_daemon.machine import columns as cpu_columns
from shootdown_daemon.machine import iommu, pasid
from shootdown_daemon.machine.command_queue import command_servers
from shootdown_daemon.machine.cpu_tlb import ipi_servers
from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.flush_queue import flush_queue_servers
from shootdown_daemon.machine.kernel import (
    Kernel,
    KernelSlot,
    frames_needed,
    prepare,
    tables_needed,
)
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_daemon.machine.page_requests import page_request_server
from shootdown_daemon.machine.page_table import TableBuilder
from shootdown_device_agent.machine import columns as device_columns
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.function import function_servers
from shootdown_device_agent.machine.own_threads import own_task, own_threads
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Slot, pasids_from
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_protocol.board import BOARD_FIXED, SlotLayout
from shootdown_protocol.layout import PFN_BASE, Layout
from shootdown_protocol.memory import PASID_DIRECTORY_PAGES, Pfn
from shootdown_protocol.program import Program
from shootdown_verify.fault_tasks import NO_FAULTS, Environment, fault_tasks

DeviceMaker = Callable[[DeviceConfig, PhysicalMemory], Device]
PASID_FIRST = 0x100
KERNEL_FRAMES = PASID_DIRECTORY_PAGES + 3
"""PASID directory, one PASID table, the zero page, and one to spare."""


def layout_for(program: Program, slots: int = 1) -> Layout:
    """A layout with room for so many slots."""
    needed = KERNEL_FRAMES + slots * (tables_needed(program) + frames_needed(program))
    frames = 1 << (needed - 1).bit_length()
    slot = SlotLayout.of(program)
    return Layout(frames, BOARD_FIXED + slots * slot.words, scramble=max(1, frames * 5 // 8 | 1))


class Whole:
    """One instance of a program: `tasks` in the program's order, then servers.

    ``prowlers`` are the names of those servers that move unasked and for ever.
    ``store`` is any store over `layout`; the state is laid out at once, caches warm.
    """

    def __init__(
        self,
        program: Program,
        discipline: Discipline,
        make_store: Callable[[Layout], Store],
        make_device: DeviceMaker = Device,
        mutant: Mutant = RIGHT,
        faults: Environment = NO_FAULTS,
    ) -> None:
        """Build tables, lay out the instance, warm the caches, and start all tasks."""
        self.program = program
        self.layout = layout_for(program)
        self.store = make_store(self.layout)
        numbers = iter(range(PFN_BASE, PFN_BASE + self.layout.frames))
        self.memory = PhysicalMemory(self.layout, Pfn(next(numbers)))
        self.store.fill_frame(self.memory.first_word(self.memory.zero_pfn), 0)
        builder = TableBuilder(self.store, self.memory, numbers)
        self.directory = builder.new_directory()
        self.kernel = Kernel(self.memory, self.directory, program, discipline, mutant)
        pasids = pasids_from(program, PASID_FIRST)
        self.slot = Slot(program, 0, self.layout.board + BOARD_FIXED, pasids)
        self.kslot = KernelSlot(self.kernel, self.slot, builder, numbers)
        prepare(self.store, self.kslot, 0)
        self.devices = tuple(
            self._device(number, name, make_device) for number, name in enumerate(program.devices)
        )
        if self.kernel.binds:
            pasid.begin(self.store, self.kslot)
        self.prowlers: set[str] = set()
        self.tasks = self._tasks()
        if faults:
            self._add_faults(faults)

    def _device(self, number: int, name: str, make_device: DeviceMaker) -> Device:
        config = DeviceConfig(device=number, name=name, directory=self.directory)
        config = config.with_options(self.program.options)
        device = make_device(config, self.memory)
        columns, prefetchers = device_columns.device_threads(self.program, self.slot, number)
        device.bind(self.slot, columns + prefetchers + own_threads(device, self.slot))
        for bound in dict.fromkeys(self.slot.pasids):
            iommu.join(self.store, bound, number, name)
        device_columns.warm(self.store, device, self.program, self.slot, number)
        return device

    def _tasks(self) -> list[Task]:
        tasks = []
        for index, column in enumerate(self.program.columns):
            if column.device < 0:
                tasks.append(cpu_columns.column_task(self.kslot, index))
            else:
                device = self.devices[column.device]
                threads, _ = device_columns.device_threads(self.program, self.slot, column.device)
                thread = next(t for t in threads if t.number == index)
                tasks.append(device_columns.column_task(device, thread))
        for device in self.devices:
            tasks.extend(own_task(device, each) for each in own_threads(device, self.slot))
        tasks.append(page_request_server(self.kslot))
        tasks.extend(ipi_servers(self.kslot))
        tasks.extend(flush_queue_servers(self.kslot))
        tasks.extend(command_servers(self.kslot))
        for device in self.devices:
            tasks.append(device_columns.invalidation_server(device))
            tasks.append(cpu_columns.completion_server(device.number))
            tasks.extend(self._prefetchers(device))
            tasks.extend(function_servers(device, self.slot))
        return tasks

    def _add_faults(self, faults: Environment) -> None:
        """Let an environment move, too: unasked, and as often as its budget allows."""
        tasks, servers = fault_tasks(faults, self.store, self.kslot, self.devices)
        self.prowlers.update(task.name for task in tasks)
        self.tasks += [*servers, *tasks]

    def _prefetchers(self, device: Device) -> Iterator[Task]:
        _, threads = device_columns.device_threads(self.program, self.slot, device.number)
        for thread in threads:
            what = self.program.speculation[thread.number - len(self.program.columns)]
            self.prowlers.add(thread.name)
            yield device_columns.speculation_task(device, thread, what)
