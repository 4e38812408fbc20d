"""Budgets, checked from the log alone: nothing starts on a spent one, and one slice at most goes beyond it."""

from __future__ import annotations

from typing import Any

import msgspec

from quarterdeck.core import events as ev
from quarterdeck.core import month as months

_SLACK = 1e-6
"""Of sums of floating-point numbers, in seconds."""


class _Budget(msgspec.Struct):
    limits: tuple[float | None, int | None]
    monthly: bool
    excused: set[str]  # in flight when it was set
    spent: list[float]
    allowed: list[float]
    month: int


class BudgetAudit:
    """Keeps its own books of what is spent. Each method returns what is wrong, or an empty text."""

    def __init__(self) -> None:
        self._budgets: dict[str, _Budget] = {}
        self._spent: dict[str, list[float]] = {}  # since the last reset
        self._months: dict[str, tuple[int, list[float]]] = {}
        self._payers: dict[str, tuple[str, str]] = {}
        self._flying: dict[str, tuple[str, float, int]] = {}

    def submitted(self, event: ev.Submitted) -> None:
        self._payers[event.task] = (event.project, f"{event.project}/{event.user}")

    def removed(self, project: str) -> None:
        books: tuple[dict[str, Any], ...] = (self._budgets, self._spent, self._months)
        for book in books:
            for id in [id for id in book if id == project or id.startswith(f"{project}/")]:
                del book[id]

    def set(self, event: ev.BudgetSet) -> None:
        id = f"{event.project}/{event.user}" if event.user else event.project
        if event.reset:
            self._spent.pop(id, None)
            self._months.pop(id, None)
        if event.qpu_s is None and event.shots is None:
            self._budgets.pop(id, None)
            return
        month = months.month_of(event.at_s)
        monthly = event.period == "month"
        spent = self._spent_of(id, month, monthly)
        flying = {key for key, (task, *_) in self._flying.items() if id in self._payers[task]}
        limits = (event.qpu_s, event.shots)
        allowed = [max(limit or 0.0, done) for limit, done in zip(limits, spent, strict=True)]
        self._budgets[id] = _Budget(limits, monthly, flying, spent, allowed, month)

    def _spent_of(self, id: str, month: int, monthly: bool) -> list[float]:
        if monthly:
            last, sums = self._months.get(id, (month, [0.0, 0.0]))
            return list(sums) if last == month else [0.0, 0.0]
        return list(self._spent.get(id, [0.0, 0.0]))

    def started(self, event: ev.SliceStarted) -> str:
        for id in self._payers[event.task]:
            if (budget := self._budgets.get(id)) is not None:
                self._turn(budget, event.at_s)
                for limit, spent in zip(budget.limits, budget.spent, strict=True):
                    if limit is not None and spent >= limit:
                        return f"slice {event.task}/{event.index} started though {id or 'default'} has nothing left"
        self._flying[f"{event.task}/{event.index}"] = (event.task, event.bound_s, event.shots)
        return ""

    def ended(self, key: str, at_s: float, qpu_s: float, shots: int) -> str:
        task, bound_s, _ = self._flying.pop(key)
        charge = (min(qpu_s, bound_s) if bound_s else qpu_s, float(shots))
        month = months.month_of(at_s)
        for id in self._payers[task]:
            self._enter(id, month, charge)
            if (budget := self._budgets.get(id)) is None:
                continue
            self._turn(budget, at_s)
            excused = key in budget.excused
            for kind, limit in enumerate(budget.limits):
                if limit is not None and not excused and charge[kind] > 0:
                    if budget.spent[kind] > budget.allowed[kind] + _SLACK:
                        return f"slice {key} is the second that goes beyond the budget of {id or 'default'}"
                budget.spent[kind] += charge[kind]
            if excused:
                budget.excused.discard(key)
                for kind in (0, 1):
                    flying = sum(own[kind + 1] for other, own in self._flying.items()  # type: ignore[misc]
                                 if id in self._payers[own[0]] and other not in budget.excused)  # fmt: skip
                    budget.allowed[kind] = max(budget.allowed[kind], budget.spent[kind] + flying)
        return ""

    def _enter(self, id: str, month: int, charge: tuple[float, float]) -> None:
        spent = self._spent.setdefault(id, [0.0, 0.0])
        spent[0] += charge[0]
        spent[1] += charge[1]
        last, sums = self._months.get(id, (month, [0.0, 0.0]))
        sums = sums if last == month else [0.0, 0.0]
        self._months[id] = (month, [sums[0] + charge[0], sums[1] + charge[1]])

    def _turn(self, budget: _Budget, at_s: float) -> None:
        if budget.monthly and months.month_of(at_s) != budget.month:
            budget.month = months.month_of(at_s)
            budget.spent = [0.0, 0.0]
            budget.allowed = [limit or 0.0 for limit in budget.limits]
