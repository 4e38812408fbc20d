"""The ledger: all accounts, what is held, in flight and spent of their budgets, and the usage of the present month.

A budget is looked at twice. At submission the estimates of all admitted tasks must fit (`Ledger.admit`); that is a
courtesy, since estimates are guesses. At dispatch a slice starts only if the budget also bears everything in flight at
its bound, or if nothing else of the account is in flight (`Ledger.denier`). A bound holds because a slice is never
charged more: so a budget is overspent by one slice at most, whatever the estimates were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from quarterdeck.core import month as months
from quarterdeck.core.accounts import US, Account, Usage
from quarterdeck.core.nouns import Device, Slice, Task
from quarterdeck.errors import Forbidden, NotFound, OverBudget

LONGEST = 3.0
"""A slice may last this many times its planned time, plus a grace, before the daemon ends it as hung."""


class Rules(msgspec.Struct, frozen=True):
    """How accounts are kept.

    half_life_s: after this time, use of the devices counts half for fair shares
    grace_s: beyond `LONGEST` times its planned time, how long a slice may last
    """

    half_life_s: float = 86400.0
    grace_s: float = 120.0


class Ledger:
    """All accounts, and the usage of the present month."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.accounts: dict[str, Account] = {}
        self.usage: dict[tuple[str, str, str, str], Usage] = {}
        self.limited: dict[str, Account] = {}  # those with a budget; while there is none, much is left out
        self._declared = 0
        self._month, self._month_ends_s = 0, 0.0

    # -- settings -------------------------------------------------------------------------------------------------

    def account(self, project: str, user: str = "") -> Account:
        """An account, made if it is not there yet."""
        id = f"{project}/{user}" if user else project
        account = self.accounts.get(id)
        if account is None:
            account = self.accounts[id] = Account(id=id, project=project, user=user)
        return account

    def remove(self, project: str) -> list[Account]:
        """Forget a project and its users; its usage of past months is kept."""
        gone = [account for account in self.accounts.values() if account.project == project]
        for account in gone:
            account.state = "removed"
            del self.accounts[account.id]
        self.index()
        return gone

    def restore(self, nouns: Iterable[Account | Usage]) -> None:
        """Take up what a store kept."""
        for noun in nouns:
            if isinstance(noun, Account):
                self.accounts[noun.id] = noun
            else:
                self.usage[noun.project, noun.user, noun.class_, noun.device] = noun
                self._month = max(self._month, months.number(noun.month))
        if self._month:
            self._month_ends_s = months.start_s(self._month + 1)

    def recount(
        self, tasks: Mapping[str, Task], slices: Mapping[str, Slice], devices: Mapping[str, Device],
        only: Account | None = None,
    ) -> None:  # fmt: skip
        """Work out anew what is held and in flight (in one account), after a change of budgets or devices. O(tasks)."""
        self.index()
        for account in self.accounts.values() if only is None else [only]:
            account.held_us = account.held_shots = 0
            account.flights = account.flight_us = account.flight_shots = 0
        if (only is not None and not only.limited) or not self.limited:
            return
        for task in tasks.values():
            if not task.ended and (only is None or only.covers(task)):
                self.hold(task, devices[task.device], task.remaining, only=only)
        for slice in slices.values():
            self.fly(tasks[slice.task], slice, 1, only=only)

    def index(self) -> None:
        """Take notice of which projects and budgets there are."""
        self.limited = {id: account for id, account in self.accounts.items() if account.limited}
        self._declared = sum(account.declared and bool(account.project) for account in self.accounts.values())

    # -- asking ---------------------------------------------------------------------------------------------------

    def payers(self, project: str, user: str) -> list[Account]:
        """The accounts with budgets that pay for a user's work in a project."""
        if not self.limited:
            return []
        found = (self.limited.get(project), self.limited.get(f"{project}/{user}"))
        return [account for account in found if account is not None]

    def welcome(self, project: str, user: str, class_: str) -> None:
        """Raise `NotFound` or `Forbidden` unless the user may do work of this class in the project.

        As long as no project was set up, names of projects are labels that anybody makes up.
        """
        account = self.accounts.get(project)
        if project and self._declared and (account is None or not account.declared):
            raise NotFound("project", project)
        if account is not None and account.members and user not in account.members:
            raise Forbidden(f"{user} is no member of project {project or 'default'}; its administrator can add them")
        if account is not None and account.classes and class_ not in account.classes:
            takes = " or ".join(account.classes)
            raise Forbidden(f"project {project or 'default'} is for {takes} work, not {class_}; choose that class")

    def admit(self, project: str, user: str, estimate_us: int, shots: int, now_s: float) -> None:
        """Raise `OverBudget` unless the budgets bear a task of this size beside all that were admitted before."""
        for account in self.payers(project, user):
            left_s, left_shots = account.left(now_s)
            name = account.project or "default"
            if left_s is not None:
                free_s, needed_s = left_s - account.held_us / US, estimate_us / US
                if left_s <= 0 or needed_s > free_s:
                    raise OverBudget(name, account.user, "device seconds", max(0.0, round(free_s, 6)), needed_s)
            if left_shots is not None and (left_shots <= 0 or shots > left_shots - account.held_shots):
                raise OverBudget(name, account.user, "shots", max(0, left_shots - account.held_shots), shots)

    def denier(self, device: Device, task: Task, shots: int, now_s: float) -> Account | None:
        """The account that does not let a slice of the task start now, or None."""
        payers = self.payers(task.project, task.user)
        if not payers:
            return None
        bound_us = math.ceil(self.bound_s(device, task, shots) * US)
        return next((account for account in payers if not account.fits(now_s, bound_us, shots)), None)

    def bound_s(self, device: Device, task: Task, shots: int) -> float:
        """The most that a slice is charged; 0 if nobody with a budget pays."""
        if not self.payers(task.project, task.user):
            return 0.0
        rate_s = shots / device.shot_rate_hz if device.shot_rate_hz else 0.0
        told_s = task.estimate_s * shots / task.shots  # too low an estimate must not make a slice cheap
        return LONGEST * (device.setup_s + device.overhead_s + max(rate_s, told_s)) + self.rules.grace_s

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def hold(
        self, task: Task, device: Device, remaining: int, sign: int = 1, only: Account | None = None
    ) -> None:  # fmt: skip
        """Hold (or with -1 let go) the estimate for the shots that the task still has to run."""
        if not self.limited:
            return
        for account in self.payers(task.project, task.user) if only is None else [only]:
            account.held_us += sign * estimate_us(device, task.estimate_s, task.shots, remaining)
            account.held_shots += sign * remaining

    def fly(self, task: Task, slice: Slice, sign: int, only: Account | None = None) -> None:
        """A slice started (1) or ended (-1)."""
        if not self.limited:
            return
        for account in self.payers(task.project, task.user):
            if only is not None and account is not only:
                continue
            account.flights += sign
            account.flight_us += sign * math.ceil(slice.bound_s * US)
            account.flight_shots += sign * slice.shots

    def settle(
        self, task: Task, slice: Slice, qpu_s: float, setup_s: float, shots: int
    ) -> tuple[tuple[Account, Account], list[Usage]]:  # fmt: skip
        """Charge a slice that ended: what it took, and what it gave. Returns the records that changed."""
        at_s, half_life_s = slice.ended_s, self.rules.half_life_s
        changed = self._turn(at_s) if at_s >= self._month_ends_s else []
        charged_s = min(qpu_s, slice.bound_s) if slice.bound_s else qpu_s
        accounts = (self.account(task.project), self.account(task.project, task.user))
        for account in accounts:
            account.charge(at_s, self._month, charged_s, qpu_s, shots, half_life_s)
        key = (task.project, task.user, task.class_, slice.device)
        usage = self.usage.get(key)
        if usage is None:
            usage = self.usage[key] = Usage(
                month=months.label(self._month), project=task.project, user=task.user, class_=task.class_,
                device=slice.device,
            )  # fmt: skip
        usage.qpu_s += qpu_s
        usage.setup_s += setup_s
        usage.shots += shots
        usage.slices += 1
        usage.tasks += slice.index == 0
        if slice.state == "failed":
            usage.failed += 1
            usage.failed_s += qpu_s
        changed.append(usage)
        return accounts, changed

    def _turn(self, at_s: float) -> list[Usage]:
        """A new month: the records of the last one are closed and leave the memory."""
        self._month = months.month_of(at_s)
        self._month_ends_s = months.start_s(self._month + 1)
        closed = list(self.usage.values())
        for usage in closed:
            usage.open = False
        self.usage = {}
        return closed


def estimate_us(device: Device, estimate_s: float, shots: int, remaining: int) -> int:
    """Microseconds that the remaining shots are expected to take, with one set-up.

    A pure function of what the device declared, not of what is learned about it: what is held is let go again.
    """
    if not remaining:
        return 0
    rate_s = remaining / device.shot_rate_hz if device.shot_rate_hz else 0.0
    told_s = estimate_s * remaining / shots if estimate_s else rate_s
    return round((device.setup_s + told_s) * US)
