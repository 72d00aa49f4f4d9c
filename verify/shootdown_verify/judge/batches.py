"""Instances out of the record streams of several processes, batch by batch.

A process works on one batch at a time and in their order, and instance numbers grow through a
batch, so a batch is whole as soon as every stream has gone past it: memory holds one batch, and
what a stream was read ahead by, one record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from shootdown_protocol.history import Stamped


class Batch(NamedTuple):
    """A batch's records by instance; those of one process are in its own order.

    ``late`` are records of earlier batches, which have been given out already, and records of no
    instance (numbered below 0).
    """

    number: int
    instances: dict[int, list[Stamped]]
    late: list[Stamped]


class _Stream:
    """One process's records, read up to the first of a batch to come."""

    def __init__(self, records: Iterable[Stamped], instances_per_batch: int) -> None:
        self._records = iter(records)
        self._size = instances_per_batch
        self.ahead: Stamped | None = next(self._records, None)

    @property
    def batch(self) -> int | None:
        """Batch of the next record, 0 at least; None at the end."""
        return None if self.ahead is None else max(0, self.ahead.instance // self._size)

    def read(self, number: int, into: Batch) -> None:
        """Move all records up to the next batch into this one."""
        first, beyond = number * self._size, (number + 1) * self._size
        instances, late = into.instances, into.late
        stamped = self.ahead
        while stamped is not None and stamped.instance < beyond:
            instance = stamped.instance
            if instance < first:
                late.append(stamped)
            elif instance in instances:
                instances[instance].append(stamped)
            else:
                instances[instance] = [stamped]
            stamped = next(self._records, None)
        self.ahead = stamped


def read_batches(
    histories: Sequence[Iterable[Stamped]], instances_per_batch: int
) -> Iterator[Batch]:
    """Give batch after batch until every history has ended."""
    assert instances_per_batch > 0
    streams = [_Stream(history, instances_per_batch) for history in histories]
    while True:
        numbers = [stream.batch for stream in streams if stream.batch is not None]
        if not numbers:
            return
        batch = Batch(min(numbers), {}, [])
        for stream in streams:
            stream.read(batch.number, batch)
        yield batch
