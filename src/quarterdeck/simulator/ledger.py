"""A device's books in a simulation: which cause each of its seconds had."""

from __future__ import annotations

from quarterdeck.simulator.record import CAUSES, Cause, Span


class Ledger:
    """Of one device. Idle lanes are counted as time passes, lanes at work when their slice is over.

    The two are counted apart, so that their sum, which must be the time of all lanes, is a check.
    """

    __slots__ = ("_cause", "_idle", "_since_s", "device", "seconds", "spans")

    def __init__(self, device: str, start_s: float, spans: list[Span] | None) -> None:
        self.device = device
        self.seconds: dict[Cause, float] = dict.fromkeys(CAUSES, 0.0)
        self.spans = spans
        self._cause: Cause = "empty"
        self._idle, self._since_s = 0, start_s

    def idle(self, lanes: int, cause: Cause, now_s: float) -> None:
        """From now on so many lanes are idle, for this reason."""
        if lanes == self._idle and cause == self._cause:
            return
        if self._idle and now_s > self._since_s:
            self.seconds[self._cause] += self._idle * (now_s - self._since_s)
            self._span(self._since_s, now_s, self._cause)
        self._idle, self._cause, self._since_s = lanes, cause, now_s

    def worked(
        self, start_s: float, now_s: float, setup_s: float, overhead_s: float, lost: bool
    ) -> tuple[float, float]:
        """A slice was on a lane. Returns set-up and overhead as far as it came with them."""
        took_s = now_s - start_s
        setup_s = min(setup_s, took_s)
        overhead_s = min(overhead_s, took_s - setup_s)
        seconds = self.seconds
        if lost:
            seconds["lost"] += took_s
            self._span(start_s, now_s, "lost")
        else:
            seconds["setup"] += setup_s
            seconds["overhead"] += overhead_s
            seconds["working"] += took_s - setup_s - overhead_s
            if self.spans is not None:
                ready_s = start_s + setup_s
                self._span(start_s, ready_s, "setup")
                self._span(ready_s, ready_s + overhead_s, "overhead")
                self._span(ready_s + overhead_s, now_s, "working")
        return setup_s, overhead_s

    def _span(self, start_s: float, end_s: float, cause: Cause) -> None:
        if self.spans is not None and end_s > start_s:
            self.spans.append(Span(self.device, start_s, end_s, cause))
