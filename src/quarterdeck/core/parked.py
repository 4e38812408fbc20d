"""Tasks that are kept out of the policy's sight while their account cannot pay for them."""

from __future__ import annotations

from heapq import heappop, heappush

from quarterdeck.core.nouns import Task

Key = tuple[str, str, str]
"""Account, device, exclusive session."""


class _Line:
    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self._order: list[int] = []

    def add(self, task: Task) -> None:
        self.tasks[task.seq] = task
        heappush(self._order, task.seq)

    def head(self) -> Task:
        while self._order[0] not in self.tasks:
            heappop(self._order)
        return self.tasks[self._order[0]]


class Parked:
    """One line per account, device and exclusive session, in order of submission. All in O(log n) per task."""

    def __init__(self) -> None:
        self._lines: dict[Key, _Line] = {}
        self._where: dict[str, list[Key]] = {}
        self._accounts: dict[str, dict[Key, None]] = {}
        self._devices: dict[tuple[str, str], dict[Key, None]] = {}
        self._count: dict[str, int] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._where

    def add(self, task: Task, account: str, session: str) -> None:
        """Set a task aside. `session`: the exclusive one that it belongs to, or empty."""
        keys = self._where[task.id] = [(account, device, session) for device in task.eligible]
        for key in keys:
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = _Line()
                self._accounts.setdefault(account, {})[key] = None
                self._devices.setdefault(key[1:], {})[key] = None
            line.add(task)
            self._count[key[1]] = self._count.get(key[1], 0) + 1

    def remove(self, task: Task) -> None:
        """Take a task out again."""
        for key in self._where.pop(task.id):
            line = self._lines[key]
            del line.tasks[task.seq]
            self._count[key[1]] -= 1
            if not line.tasks:
                del self._lines[key], self._accounts[key[0]][key], self._devices[key[1:]][key]
                if not self._accounts[key[0]]:
                    del self._accounts[key[0]]
                if not self._devices[key[1:]]:
                    del self._devices[key[1:]]

    def lines(self, account: str) -> list[Key]:
        """The lines of an account."""
        return list(self._accounts.get(account, ()))

    def at(self, device: str, session: str) -> list[Key]:
        """The lines at a device; with a `session` those of that exclusive session."""
        return list(self._devices.get((device, session), ()))

    def head(self, key: Key) -> Task | None:
        """The first task of a line."""
        line = self._lines.get(key)
        return line.head() if line is not None else None

    def all_of(self, account: str) -> list[Task]:
        """Every task that waits for an account, in order of submission."""
        tasks = {task.seq: task for key in self._accounts.get(account, ()) for task in self._lines[key].tasks.values()}
        return [tasks[seq] for seq in sorted(tasks)]

    def account(self, task: Task) -> str:
        """The account that a parked task waits for."""
        return self._where[task.id][0][0]

    def ahead(self, task: Task) -> int:
        """How many stand before it in its line. O(n)."""
        return sum(seq < task.seq for seq in self._lines[self._where[task.id][0]].tasks)

    def count(self, device: str) -> int:
        """How many parked tasks may run on a device."""
        return self._count.get(device, 0)
