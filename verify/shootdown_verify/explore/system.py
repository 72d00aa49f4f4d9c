"""A system to explore: tasks as automata over one store, and what each step does, remembered.

A step's function is deterministic in the values that it reads, so what it did for certain values
it will do again: the function is called only for values never met before, whatever the search.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import getitem
from struct import Struct
from typing import Final

from shootdown_engine.store import Cell, Store
from shootdown_engine.trap import BLOCKED, attempt
from shootdown_protocol.history import Access, AnyRecord, Denied, Kind
from shootdown_protocol.program import MIRROR_OPERATION
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.automaton import ENDED, ROOT, Automaton, Node, TaskSpec
from shootdown_verify.explore.cells import Cells
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.transition import Hazards, Memo, Pending, Remembered, Transition
from shootdown_verify.judge.outcome import DENIED
from shootdown_verify.judge.scan import DEVICE_OPERATION

NODE_BITS: Final = 16
NODE_BYTES: Final = NODE_BITS // 8
NODE_MASK: Final = (1 << NODE_BITS) - 1
REGISTER: Final = "register"
CHANNEL: Final = "channel"

Judge = Callable[[AnyRecord, str], Finding | None]
"""Asked about every record and the task that made it."""


class UnsoundStep(Exception):  # noqa: N818 - says what the step is, not that something broke here
    """A step or a body learns about shared state otherwise than through the store and results."""


OBSERVERS: Final = frozenset({DEVICE_OPERATION, MIRROR_OPERATION})
"""What the steps of devices and mirrors give as their operation."""


class System:
    """Tasks, their store, and all that was learnt about them; ``start`` is the first state.

    ``judge`` is asked about every record. With ``registers``, what a load with a register saw is
    kept in the state, in the cell ``("register", task, name)``. ``judging``: somebody has judged
    what is still to come of nodes.
    """

    def __init__(
        self,
        specs: Sequence[TaskSpec],
        store: ExploringStore,
        *,
        judge: Judge | None = None,
        registers: bool = False,
    ) -> None:
        """Take what the store holds for the state at the start."""
        store.freeze()
        self.specs = tuple(sorted(specs, key=lambda spec: spec.prowler))
        self.prowlers_from = sum(not spec.prowler for spec in specs)
        self.store = store
        self.judge = judge
        self.registers = registers
        self.hazards = Hazards()
        self.executed = 0
        self.footprints = 0
        self.automata = tuple(Automaton(number, spec) for number, spec in enumerate(self.specs))
        self.nodes_mask = (1 << NODE_BITS * len(specs)) - 1
        self.cells = Cells(store.initial, NODE_BITS * len(specs), self._on_change)
        self.start = sum(a.root.number << NODE_BITS * a.number for a in self.automata)
        self.quiet_mask, self.quiet_bits = self._quiet()
        self.knowledge = 0
        self.judging = False
        self.reached: dict[tuple[Memo, int, int, bool], bool] = {}
        self.numbers = Struct(f"<{len(specs)}H").unpack
        self.nodes_bytes = NODE_BYTES * len(specs)
        self.tables: list[list[Memo | None]] = [[None] for _ in specs]
        for automaton in self.automata:
            self.memo(automaton.root)
        self._readers: defaultdict[int, list[Memo]] = defaultdict(list)
        self._writers: defaultdict[int, list[Memo]] = defaultdict(list)
        self._fillers: defaultdict[int, list[Memo]] = defaultdict(list)

    # Reading states

    def node(self, state: int, task: int) -> Node:
        """Node of a task in a state."""
        return self.automata[task].nodes[state >> NODE_BITS * task & NODE_MASK]

    def read(self, state: int) -> Callable[[Cell], Hashable]:
        """A reader of a state's cells."""
        cells = self.cells

        def read(cell: Cell) -> Hashable:
            return cells.value(cells.number(cell), state)

        return read

    def memos(self, state: int) -> list[Memo | None]:
        """What is remembered of every task's pending step; None where the task has ended."""
        numbers = self.numbers((state & self.nodes_mask).to_bytes(self.nodes_bytes, "little"))
        return list(map(getitem, self.tables, numbers))

    def pending(self, state: int, task: int) -> Transition | None:
        """What a task's next step does in a state; None if it is blocked or the task has ended."""
        node = self.node(state, task)
        if node.request is None:
            return None
        memo = self.memo(node)
        assert memo is not None
        outcome = memo.get(state & memo.mask)
        if outcome is None:
            outcome = self.perform(memo, state)
        return outcome[3] if outcome else None

    def enabled(self, state: int) -> list[Transition]:
        """What can happen next in a state, in the order of the tasks."""
        found = []
        for memo in self.memos(state):
            if memo is not None:
                outcome = memo.get(state & memo.mask)
                if outcome is None:
                    outcome = self.perform(memo, state)
                if outcome:
                    found.append(outcome[3])
        return found

    def unfinished(self, state: int) -> list[str]:
        """Names of the tasks, servers and prowlers apart, that have not ended."""
        return [
            spec.name
            for task, spec in enumerate(self.specs)
            if not (spec.server or spec.prowler) and self.node(state, task).number != ENDED
        ]

    def is_quiet(self, state: int) -> bool:
        """All tasks have ended, servers wait for their next round, and channels are empty."""
        return state & self.quiet_mask == self.quiet_bits

    # Learning

    def memo(self, node: Node) -> Memo | None:
        """What is remembered of a node's step; None where the task has ended."""
        memos = self.tables[node.task]
        if len(memos) == node.number:
            memos.append(Memo(node))
        return memos[node.number]

    def perform(self, memo: Memo, state: int) -> Remembered:
        """Make a node's step for values that it has not met yet, and remember what it did."""
        node = memo.node
        request = node.request
        assert request is not None
        result = self.measure(lambda store: attempt(store, request), state, node)
        reads = self._note_reads(memo)
        if result is BLOCKED:
            if self.store.writes or self.store.records:
                message = f"{self.owner(node)} changed the store and then was blocked"
                raise UnsoundStep(message)
            memo.table[state & memo.mask] = False
            memo.blocked[state & memo.mask] = Pending(memo.task, reads, 0)
            if len(self.store.reads) == 1:
                number = reads.bit_length() - 1
                memo.shut.add((number, state & self.cells.masks[number]))
                self._learn(memo, more=False)
            return False
        try:
            transition = self._transition(memo, reads, result)
        except (Exception, SystemExit) as error:
            error.add_note(f"in {self.owner(node)}")
            raise
        look = transition.findings or self._may_overlap(transition, state)
        outcome = transition.keep, transition.put, transition if look else None, transition
        memo.table[state & memo.mask] = outcome
        return outcome

    def observe(self, memo: Memo, function: Callable[[Store], object], state: int) -> object:
        """Apply a function that changes nothing; what it read is noted as the memo's."""
        result = self.measure(function, state)
        self._note_reads(memo)
        return result

    def measure(
        self, function: Callable[[Store], object], state: int, node: Node | None = None
    ) -> object:
        """Apply a function to a state; what it read, wrote and reported is then in the store."""
        self.executed += 1
        self.store.begin(self.read(state))
        try:
            result = function(self.store)
        except (Exception, SystemExit) as error:
            if node is not None:
                error.add_note(f"in {self.owner(node)}")
            raise
        self._learn_words()
        return result

    def owner(self, node: Node) -> str:
        """Who asks for a node's step: task, step, and the class or function that makes it."""
        request = node.request
        name = self.specs[node.task].name
        if request is None:
            return name
        instance = getattr(request.apply, "__self__", None)
        maker = getattr(request.apply, "__qualname__", repr(request.apply))
        if instance is not None:
            maker = f"{type(instance).__module__}.{type(instance).__qualname__}"
        return f"{name}, step {request.full_name or request.apply.__name__!r} of {maker}"

    def close(self) -> None:
        """Drop all coroutines."""
        for automaton in self.automata:
            automaton.close()

    def _transition(self, memo: Memo, reads: int, result: object) -> Transition:
        node = memo.node
        store = self.store
        automaton = self.automata[node.task]
        after = automaton.advance(node, result)
        records = tuple(store.records)
        shift = NODE_BITS * node.task
        keep = NODE_MASK << shift
        put = after.number << shift
        writes = 0
        for cell, value in store.writes.items():
            number = self._writes(memo, cell)
            writes |= 1 << number
            put |= self.cells.encode(number, value)
            keep |= self.cells.masks[number]
        for cell, value in self._register_cells(node, records):
            number = self._writes(memo, cell)
            put |= self.cells.encode(number, value)
            keep |= self.cells.masks[number]
        self._touch(memo, reads, writes)
        following = self.memo(after)
        if following is not None and memo not in following.before:
            following.before.append(memo)
            memo.after.append(following)
            self._foresee(memo, following.future_touches, following.future_writes)
            self._learn(memo)
        findings = self._judged(automaton.spec.name, records)
        return Transition(node, after, (~keep, put), (reads, writes), records, findings)

    def _judged(self, task: str, records: tuple[AnyRecord, ...]) -> tuple[Finding, ...]:
        if self.judge is None or not records:
            return ()
        found = (self.judge(record, task) for record in records)
        return tuple(finding for finding in found if finding is not None)

    def _register_cells(
        self, node: Node, records: tuple[AnyRecord, ...]
    ) -> Iterator[tuple[Cell, Hashable]]:
        if not self.registers:
            return
        task = self.specs[node.task].name
        for record in records:
            if not isinstance(record, Access | Denied) or record.kind != Kind.LOAD:
                continue
            if record.register:
                seen = record.value if isinstance(record, Access) else DENIED
                yield (REGISTER, task, record.register), seen

    def _may_overlap(self, transition: Transition, state: int) -> bool:
        """Count the accesses of a new transition; says whether to look out for an overlap."""
        if not self.hazards.count(transition.records):
            return False
        request = transition.node.request
        assert request is not None
        return request.operation in OBSERVERS and not self.overlaps(state)

    def overlaps(self, state: int) -> bool:
        """Whether an operation of the kernel is under way in a state; counts it if so."""
        for task in range(len(self.specs)):
            request = self.node(state, task).request
            if request is not None and request.operation not in {"", *OBSERVERS}:
                self.hazards.overlapping += 1
                return True
        return False

    def _note_reads(self, memo: Memo) -> int:
        reads = 0
        for cell in self.store.reads:
            reads |= 1 << self.cells.number(cell)
        self._add_reads(memo, reads)
        for frame in self.store.frames_touched:
            if memo not in self._fillers[frame]:
                self._fillers[frame].append(memo)
        return reads

    def _add_reads(self, memo: Memo, reads: int) -> None:
        new = reads & ~memo.reads
        self._touch(memo, reads, 0)
        while new:
            number = (new & -new).bit_length() - 1
            new &= new - 1
            self._readers[number].append(memo)
            memo.mask |= self.cells.masks[number]

    def _touch(self, memo: Memo, reads: int, writes: int) -> None:
        """Add to the footprint of a step, and so to the future of all that lead to it."""
        if reads & ~memo.reads or writes & ~memo.writes:
            memo.reads |= reads
            memo.writes |= writes
            self.footprints += 1
            self._foresee(memo, reads | writes, writes)
            self._learn(memo)

    def _foresee(self, memo: Memo, touches: int, writes: int) -> None:
        """Add to the future of a node and of all that lead to it."""
        waiting = [memo]
        while waiting:
            memo = waiting.pop()
            more_touches = memo.future_touches | touches
            more_writes = memo.future_writes | writes
            if more_touches != memo.future_touches or more_writes != memo.future_writes:
                memo.future_touches, memo.future_writes = more_touches, more_writes
                waiting.extend(memo.before)

    def _learn(self, memo: Memo, *, more: bool = True) -> None:
        """Note that something is known of a node: what was judged of those before it is void.

        ``more``: it can do more than was known, so that what was taken on trust is in doubt.
        """
        self.reached.clear()
        self.knowledge += more
        if not self.judging:
            return
        seen = {memo}
        waiting = [memo]
        while waiting:
            memo = waiting.pop()
            for step in memo.judges:
                step.foes.discard(memo)
                step.friends.discard(memo)
            memo.judges.clear()
            for before in memo.before:
                if before not in seen:
                    seen.add(before)
                    waiting.append(before)

    def _writes(self, memo: Memo, cell: Cell) -> int:
        number = self.cells.number(cell)
        if memo not in self._writers[number]:
            self._writers[number].append(memo)
        return number

    def _on_change(self, number: int) -> None:
        """A cell has a new field: readers must look at it, and what was put must be put anew."""
        for memo in self._readers[number]:
            memo.mask |= self.cells.masks[number]
        for memo in self._writers[number]:
            memo.table.clear()
        if isinstance(cell := self.cells.names[number], tuple) and cell[0] == CHANNEL:
            assert self.store.initial(cell) is None
            self.quiet_mask |= self.cells.masks[number]

    def _learn_words(self) -> None:
        """Words of frames have become cells: steps on the whole frame touch them too."""
        for frame, word in self.store.take_new_words():
            bit = 1 << self.cells.number(word)
            for memo in self._fillers[frame]:
                self._add_reads(memo, bit)
                self._touch(memo, 0, bit)
                for learnt in (memo.table, memo.blocked, memo.shut):
                    learnt.clear()

    def _quiet(self) -> tuple[int, int]:
        mask = bits = 0
        for automaton in self.automata:
            if not automaton.spec.prowler:
                mask |= NODE_MASK << NODE_BITS * automaton.number
                number = ROOT if automaton.spec.server else ENDED
                bits |= number << NODE_BITS * automaton.number
        return mask, bits
