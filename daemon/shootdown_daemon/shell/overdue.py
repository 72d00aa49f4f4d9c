"""Which invalidations are under way, and what is done about those whose completions are overdue."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from shootdown_daemon.machine import iommu, resending
from shootdown_daemon.shell.live_run import LiveRun
from shootdown_engine.channels import InvalidateRequest
from shootdown_protocol.limits import ITAGS

ITAG_RESTS = 4
"""Completion time-outs for which an ITag rests whose own completion was missed."""


class Invalidations:
    """Requests by device and ITag; ``resent`` counts those that were sent twice."""

    def __init__(self, live: LiveRun, timeout_ms: int) -> None:
        """Begin with none."""
        self.resent = 0
        self._live = live
        self._timeout_ns = timeout_ms * 1_000_000
        self.sent_ns: dict[tuple[int, int], int] = {}
        """When each that is under way was sent."""
        self._resets = live.program.has_functions
        self.newest_ns: dict[int, int] = {}
        """By device that may be reset, when the newest was sent that has been completed lately."""
        self._resting: list[tuple[int, int, int]] = []
        self._held: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self.sent_ns)

    def completed(self, device: int, itag: int) -> None:
        """Its last completion has come, if it was still waited for, and the ITag rests no more."""
        sent_ns = self.sent_ns.pop((device, itag), None)
        if self._resting:
            self._resting = [rest for rest in self._resting if rest[1:] != (device, itag)]
        if self._resets and sent_ns is not None:
            self.newest_ns[device] = max(sent_ns, self.newest_ns.get(device, 0))

    def hold(self, device: int, itag: int) -> None:
        """The host keeps a request to itself: its IOTLB comes first, and may take a while."""
        self._held.add((device, itag))

    def pass_on(self, device: int, itag: int, now_ns: int) -> None:
        """A request that was held goes to its device now, and has its place in the order."""
        self._held.discard((device, itag))
        if (device, itag) in self.sent_ns:
            self.sent_ns[device, itag] = now_ns

    def over(self, device: int, itag: int) -> None:
        """A request was the host's own, and says nothing of what the device has come to."""
        self._held.discard((device, itag))
        self.sent_ns.pop((device, itag), None)

    def use_lost(self, out_of_order: Collection[tuple[int, int]] = ()) -> None:
        """Use ITags again that resets have lost: what was sent later has been completed since.

        An agent completes in the order of the requests, and what is in one message all at once;
        faults of its link may make some come ``out_of_order``.
        """
        for device, before_ns in self.newest_ns.items():
            for key, ns in list(self.sent_ns.items()):
                may_come = key in self._held or key in out_of_order
                lost = key[0] == device and ns < before_ns and not may_come
                if lost and resending.reclaim(self._live.store, *key):
                    del self.sent_ns[key]
        self.newest_ns.clear()

    def forget_completed(self) -> None:
        """Some were counted as completed without a completion."""
        for device, itag in list(self.sent_ns):
            if not self._live.awaits(device, itag):
                del self.sent_ns[device, itag]

    def forgive(self, lost_ns: int) -> None:
        """Count a time in which this process did not live against nobody."""
        for key in self.sent_ns:
            self.sent_ns[key] += lost_ns

    def lost(self, devices: Iterable[int], now_ns: int) -> list[tuple[int, InvalidateRequest]]:
        """What devices have not completed and never will, to be sent once more as it is.

        Their process is dead, so no completion can come that is another's: the ITags stay.
        """
        again = []
        for device in devices:
            for itag in range(ITAGS):
                held = iommu.outstanding(self._live.store, device, itag)
                if held is not None and held.state in iommu.AWAITED:
                    again.append((device, held.request))
                    self.sent_ns[device, itag] = now_ns
        self.resent += len(again)
        return again

    def look(self, now_ns: int) -> tuple[int, int] | None:
        """Ask again for what is overdue; gives a device and an ITag for which that is no use."""
        late = [(key, ns) for key, ns in self.sent_ns.items() if now_ns - ns > self._timeout_ns]
        for (device, itag), sent_ns in late:
            may_wait = now_ns - sent_ns < 2 * self._timeout_ns
            if not self._resend(device, itag, now_ns, may_wait=may_wait):
                return device, itag
        self._reclaim(now_ns - ITAG_RESTS * self._timeout_ns)
        return None

    def _resend(self, device: int, itag: int, now_ns: int, *, may_wait: bool) -> bool:
        """Ask once more, under a new ITag; ``may_wait``: for one to become free, if none is."""
        store = self._live.store
        if resending.is_moot(store, device, itag):
            del self.sent_ns[device, itag]
            self._resting.append((now_ns, device, itag))
            return True
        if not resending.expire(store, device, itag):
            return may_wait and resending.is_first(store, device, itag)
        del self.sent_ns[device, itag]
        self._resting.append((now_ns, device, itag))
        self._report()
        self.resent += 1
        return True

    def _reclaim(self, before_ns: int) -> None:
        """Use ITags again whose own completions will not come any more."""
        while self._resting and self._resting[0][0] < before_ns:
            _, device, itag = self._resting.pop(0)
            resending.reclaim(self._live.store, device, itag)
            self._report()

    def _report(self) -> None:
        self._live.tell_completed()
