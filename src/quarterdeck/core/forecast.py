"""When waiting tasks will start: the core itself, run forward.

A twin of the deck gets copies of everything live and the same policy, and meets devices that take exactly as long as
expected. What nobody can know is left out: what will be submitted, faults, tasks that are called off.
"""

from __future__ import annotations

from heapq import heappop, heappush

from quarterdeck.core import events as ev
from quarterdeck.core.commands import StartSlice
from quarterdeck.core.deck import Deck
from quarterdeck.core.nouns import Slice, Task
from quarterdeck.core.policy import Fifo, make_policy
from quarterdeck.core.policy.slicing import shot_s
from quarterdeck.core.state import Step
from quarterdeck.errors import QuarterdeckError

LIVE = 2000
"""With more live tasks no forecast is made: the copies alone would take tens of milliseconds."""
SLICES = 500
"""So many slices ahead is looked, about 50 ms; who starts later is told the time that the queue ahead needs."""


def forecast(deck: Deck, task: Task | None = None) -> dict[str, float]:
    """Seconds from now to the next start of each waiting task, as far as it is seen; of one task only, if given.

    "Now" is when the deck last heard something: send a `Tick` first. Empty if there is too much to look at.
    """
    if len(deck.tasks) > LIVE:
        return {}
    return _Run(deck, task).starts


class _Run:
    def __init__(self, deck: Deck, wanted: Task | None) -> None:
        self.starts: dict[str, float] = {}
        self._wanted = wanted.id if wanted is not None else ""
        self._began_s = deck.now_s
        self._ends: list[tuple[float, str, int, int, float, float]] = []
        self._left = SLICES
        try:
            self._twin = deck.twin(make_policy(deck.policy.name, deck.policy.settings))
        except QuarterdeckError:  # a policy that is not made by name
            return
        for slice in self._twin.slices.values():
            self._fly(slice)
        self._go()
        self._twin.policy = Fifo()  # else deck and policy keep each other until a collector comes by

    def _go(self) -> None:
        twin = self._twin
        self._obey(twin.handle(ev.Tick(at_s=twin.now_s)))
        while self._left > 0 and (not self._wanted or self._wanted not in self.starts):
            alarm_s = twin.next_alarm_s()
            if self._ends and (alarm_s is None or self._ends[0][0] <= alarm_s):
                at_s, task, index, shots, qpu_s, set_s = heappop(self._ends)
                ended = ev.SliceFinished(
                    at_s=at_s, task=task, index=index, shots=shots, qpu_s=qpu_s, setup_s=set_s
                )  # fmt: skip
                self._obey(twin.handle(ended))
                twin.forget_ended()
            elif alarm_s is not None:
                if not self._ends and not self._waits():
                    return
                self._left -= 1
                self._obey(twin.handle(ev.Tick(at_s=alarm_s)))
                twin.forget_ended()
            else:
                return

    def _waits(self) -> bool:
        return any(task.state == "queued" for task in self._twin.tasks.values())

    def _obey(self, step: Step) -> None:
        twin = self._twin
        for command in step.commands:
            if isinstance(command, StartSlice):
                self._left -= 1
                self.starts.setdefault(command.task, twin.now_s - self._began_s)
                self._fly(twin.slices[command.key])

    def _fly(self, slice: Slice) -> None:
        device, task = self._twin.devices[slice.device], self._twin.tasks[slice.task]
        each_s = shot_s(task, device, self._twin.off(task))
        qpu_s = slice.setup_s + slice.shots * each_s
        ends_s = max(self._twin.now_s, slice.started_s + qpu_s + device.overhead_s)
        heappush(self._ends, (ends_s, task.id, slice.index, slice.shots, qpu_s, slice.setup_s))
