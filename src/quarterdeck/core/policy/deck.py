"""`deck`, the default: short and fresh work first, weighted by class, with guards.

The score of a task is

    ln w[class] + a ln R - b ln(e + S + o) - d ln(A + e + tau) + g f + deadline

with e the device seconds that it still needs, S the set-up (0 if the device has it), o the overhead of a slice, A the
seconds that its session has had so far (classical and quantum), R = 1 + waited / max(A + e, tau) the slowdown that the
session suffers, and f how far its user is below the share that the project is entitled to. a, b, d, g, w are settings.
The model study behind it chose most defaults; docs/benchmarks.md has figures measured on this code. R is
here without the study's floor at 1 for sessions shorter than tau: exp(score / a) is then linear in time.

Guards around that order: tasks on the device's present set-up may go first within a bound; every class surely gets a
share of the time if it waits; and so do the oldest tasks, which makes every waiting time finite.
"""

from __future__ import annotations

from collections.abc import Hashable
from math import exp, log
from typing import Any, ClassVar

import msgspec
import numpy as np

from quarterdeck.core.nouns import Device, Task
from quarterdeck.core.policy.policy import Cause, Moment
from quarterdeck.core.policy.ranked import BINS, NEVER, Ranked, alike, size
from quarterdeck.core.policy.settings import PolicySettings
from quarterdeck.core.policy.slicing import setup_s, slice_s
from quarterdeck.core.policy.streams import CLASSES, Floats, Ints, Queue

FAIR_BOUND = 4.0
"""By what factor usage alone can move a task, before `fair` is applied."""
# Arrays, since numpy turns a float into one at every call, which takes as long as the rest of the call.
_LEAST, _MOST, _BEFORE = np.array(1.0 / FAIR_BOUND), np.array(FAIR_BOUND), np.array(0.05)
BURST_SLICES = 10
"""Time owed to a class, or had beforehand, is forgotten beyond so many slices."""
AGED = 3


class DeckPolicy(Ranked):
    """See the module."""

    name: ClassVar[str] = "deck"

    def __init__(self, settings: PolicySettings | None = None) -> None:
        super().__init__(settings)
        given = self.settings
        a = given.slowdown
        self._power_work = -given.short_first / a
        self._power_had = -given.fresh_first / a
        self._power_fair = np.array(-given.fair / a)
        self._weight = {name: weight ** (1 / a) for name, weight in given.weights.items()}
        self._edge = exp(-given.setup_edge / a)
        self._sticky = exp(given.sticky / a)
        self._urgent = exp(given.deadline * 2.0 / a)
        self._shares = [*given.shares.values(), given.share_aged]
        self._users: dict[tuple[str, str], int] = {}
        self._usage: Floats = np.zeros(16)  # scaled by a common factor that undoes their decay
        self._entitled: Floats = np.ones(16)
        self._entitled_sum, self._weighted = 0.0, False
        self._epoch_s = 0.0
        self._owed: dict[str, list[float]] = {}  # seconds owed to each class and to the oldest; less than 0: had more
        self._aged: set[str] = set()
        self._last: dict[str, str] = {}

    # -- ranks ----------------------------------------------------------------------------------------------------

    def key(self, task: Task, work_s: float) -> Hashable:
        if task.deadline_s:
            return task.id
        if task.session in self._facts.sessions:
            return (task.session, task.min_quality)
        return (*alike(task), task.class_, task.register, size(work_s) // BINS)

    def fill(self, queue: Queue, row: int, task: Task, device: Device, work_s: float) -> None:
        had_s, from_s = self._facts.had(task, device)
        scale_s = self._scale_s(device)
        need_s = had_s + work_s
        over_s = work_s + max(device.overhead_s, 1e-6)
        spread_s = max(need_s, scale_s)
        base = self._weight[task.class_] / spread_s * (need_s + scale_s) ** self._power_had
        queue.near[row] = base * over_s**self._power_work
        queue.far[row] = base * (over_s + device.setup_s) ** self._power_work
        queue.zero[row] = from_s - spread_s
        queue.user[row] = self._user(task.project, task.user)

    def _scale_s(self, device: Device) -> float:
        return self.settings.scale_s or max(10.0, 0.6 * device.typical_s)

    def values(self, queue: Queue, moment: Moment) -> Floats:
        n = len(queue.rows)
        device = moment.device
        values: Floats = moment.now_s - queue.zero[:n]
        if device.setup_s:
            values *= np.where(queue.register[:n] == self._register(device), queue.near[:n], queue.far[:n])
        else:
            values *= queue.near[:n]
        if self.settings.fair:
            values *= self._fairness().take(queue.user[:n])
        if self._sticky != 1.0 and (last := self._last.get(device.id)) is not None:
            for row in range(n):
                if queue.head(row).id == last:
                    values[row] *= self._sticky
        if queue.deadlines and self.settings.deadline:
            self._hurry(queue, moment, values)
        return values

    @staticmethod
    def _register(device: Device) -> int:
        return hash(device.register) if device.register else -1  # 0 is a task's that has none

    def _fairness(self) -> Floats:
        """One factor for each user: exp(g f / a)."""
        n = len(self._users)
        usage = self._usage[:n]
        total = float(np.add.reduce(usage))
        if total <= 0.0:
            return np.ones(n)
        part = usage * (self._entitled_sum / total)
        if self._weighted:
            part /= self._entitled[:n]
        part += _BEFORE
        np.maximum(part, _LEAST, out=part)
        np.minimum(part, _MOST, out=part)
        fair: Floats = part**self._power_fair
        return fair

    def _hurry(self, queue: Queue, moment: Moment, values: Floats) -> None:
        """A deadline counts more the less time is left beyond what the task needs."""
        for seq in queue.deadlines:
            stream = queue.homes.get(seq)
            if stream is not None:
                pressing = self._pressing(queue.tasks[seq], queue.works[seq], moment.device, moment.now_s)
                values[stream.row] *= self._urgent**pressing

    def _pressing(self, task: Task, work_s: float, device: Device, now_s: float) -> float:
        """How near its deadline is: 1 when no time is left beyond what it needs, towards 0 far from it."""
        need_s = work_s + device.setup_s + device.overhead_s
        left_s = max(0.0, task.deadline_s - now_s - need_s)
        return 1.0 / (1.0 + left_s / (4.0 * need_s + self._scale_s(device)))

    # -- guards ---------------------------------------------------------------------------------------------------

    def choose(self, queue: Queue, moment: Moment, values: Floats) -> tuple[int, Cause]:
        device = moment.device
        if not moment.lane and moment.holder is None and (owed := self._owed.get(device.id)) is not None:
            row, cause = self._indebted(queue, owed, values, moment.now_s)
            if row >= 0:
                return row, cause
        best = int(values.argmax())
        if device.setup_s and values[best] != NEVER:
            register = self._register(device)
            if queue.register[best] != register and moment.now_s - device.register_s < self.settings.setup_run_s:
                same = self._first_of(queue, queue.register, register, values)
                if same >= 0 and values[same] >= values[best] * self._edge:
                    return same, "setup"
        return best, "order"

    def _indebted(self, queue: Queue, seconds: list[float], values: Floats, now_s: float) -> tuple[int, Cause]:
        if seconds[AGED] > 0.0:
            oldest = int(queue.seq[: len(queue.rows)].argmin())
            task = queue.head(oldest)
            if now_s - task.submitted_s > self.settings.aged_s and values[oldest] != NEVER:
                self._aged.add(task.id)
                return oldest, "aged"
        for at in range(3):
            if seconds[at] > 0.0 and queue.classes[at] and queue.classes[at] < len(queue.homes):
                row = self._first_of(queue, queue.class_, at, values)
                if row >= 0:
                    return row, "share"
        return -1, "order"

    @staticmethod
    def _first_of(queue: Queue, column: Ints, wanted: int, values: Floats) -> int:
        """The row of the greatest value among those with this in a column; -1 if there is none."""
        (rows,) = (column[: len(queue.rows)] == wanted).nonzero()
        if not len(rows):
            return -1
        found = values[rows]
        best = found[found.argmax()]
        if best == NEVER:
            return -1
        rows = rows[found == best]
        return int(rows[queue.seq[rows].argmin()])

    def served(self, device: Device, task: Task, seconds: float) -> None:
        self._note_usage(task.project, task.user)
        self._last[device.id] = task.id
        queue = self._queues.get((device.id, ""))
        if queue is None or not queue.rows:
            self._aged.discard(task.id)
            return  # nobody waits: nothing is owed to anybody
        owed = self._owed.get(device.id)
        if owed is None:
            owed = self._owed[device.id] = [0.0] * 4
        bound_s = BURST_SLICES * max(slice_s(device, self.settings, alone=False), seconds)
        served, classes = CLASSES[task.class_], queue.classes
        aged = task.id in self._aged
        for at, share in enumerate(self._shares):
            if at == served or (aged and at == AGED):
                owes = owed[at] + (share - 1.0) * seconds
                owed[at] = owes if owes > -bound_s else -bound_s
            elif at == AGED or classes[at]:
                owes = owed[at] + share * seconds
                owed[at] = owes if owes < bound_s else bound_s
        if aged:
            self._aged.discard(task.id)

    # -- users ----------------------------------------------------------------------------------------------------

    def _user(self, project: str, user: str) -> int:
        at = self._users.get((project, user))
        if at is None:
            at = self._users[project, user] = len(self._users)
            if at == len(self._usage):
                self._usage = np.concatenate([self._usage, np.zeros(at)])
                self._entitled = np.concatenate([self._entitled, np.ones(at)])
            self._note_usage(project, user)
            self._entitled_sum = float(np.add.reduce(self._entitled[: at + 1]))
        return at

    def _note_usage(self, project: str, user: str) -> None:
        at = self._users.get((project, user))
        if at is None:
            return
        age = (self._facts.now_s - self._epoch_s) / self.settings.usage_half_life_s
        if age > 500.0:  # before the scale overflows
            self._usage *= 2.0 ** -min(age, 1000.0)
            self._epoch_s, age = self._facts.now_s, 0.0
        self._usage[at] = self._facts.usage(project, user) * 2.0**age
        share = self._facts.share(project)
        if self._entitled[at] != share:
            self._entitled[at], self._weighted = share, True
            self._entitled_sum = float(np.add.reduce(self._entitled[: len(self._users)]))

    # -- telling --------------------------------------------------------------------------------------------------

    def lead(self, value: float, rival: float) -> float:
        return self.settings.slowdown * log(value / rival) if value > 0.0 and rival > 0.0 else 0.0

    def explain(self, task: Task, device: Device) -> dict[str, float]:
        given, facts = self.settings, self._facts
        had_s, from_s = facts.had(task, device)
        work_s, scale_s = facts.work_s(task, device), self._scale_s(device)
        slowdown = 1.0 + max(0.0, facts.now_s - from_s) / max(had_s + work_s, scale_s)
        at = self._users.get((task.project, task.user))
        fair = log(float(self._fairness()[at])) * given.slowdown if at is not None else 0.0
        terms = {
            "class": log(given.weights[task.class_]),
            "slowdown": given.slowdown * log(slowdown),
            "short": -given.short_first * log(work_s + setup_s(task, device) + max(device.overhead_s, 1e-6)),
            "fresh": -given.fresh_first * log(had_s + work_s + scale_s),
            "fair": fair,
        }
        if task.deadline_s:
            terms["deadline"] = given.deadline * 2.0 * self._pressing(task, work_s, device, facts.now_s)
        return terms

    def owed(self, device: str) -> dict[str, float]:
        return dict(zip((*CLASSES, "aged"), self._owed.get(device, [0.0] * 4), strict=True))

    def knobs(self) -> dict[str, Any]:
        knobs: dict[str, Any] = msgspec.to_builtins(self.settings)
        return {**knobs, "name": self.name}
