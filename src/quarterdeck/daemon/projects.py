"""Projects over the engine: who may see and set them, and reports of what was used."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from quarterdeck import wire
from quarterdeck.core import events as ev
from quarterdeck.core import month as months
from quarterdeck.core.accounts import Account, Usage
from quarterdeck.daemon.actor import Actor
from quarterdeck.daemon.engine import Engine
from quarterdeck.errors import Forbidden, Invalid, NotFound

DEFAULT = "default"
"""What the project of all who name none is called; in the core its name is empty."""
KEYS = ("project", "user", "class", "device", "month")
FIGURES = ("qpu_s", "setup_s", "failed_s", "shots", "slices", "failed", "tasks")
_BAD = re.compile(r"[/\x00-\x1f\x7f]")


def core_name(name: str, where: str = "$.project") -> str:
    """A project's name as the core knows it. Raises `Invalid` for one that cannot be."""
    if _BAD.search(name):
        raise Invalid(where, "a project's name holds no slash and no control characters")
    return "" if name == DEFAULT else name


class Projects:
    """Serves requests about projects, budgets and usage."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def set(self, actor: Actor, name: str, request: wire.ProjectSet) -> wire.Project:
        """Set up or change a project; durable on return."""
        self._only_administrators(actor, "set up projects")
        members = tuple(sorted(set(request.members)))
        event = ev.ProjectSet(
            at_s=self._engine.now(), project=core_name(name), share=request.share, members=members,
            classes=tuple(sorted(set(request.classes))),
        )  # fmt: skip
        await self._engine.commit(event)
        return self.get(actor, name)

    async def remove(self, actor: Actor, name: str) -> wire.Project:
        """Remove a project without live tasks; durable on return. The answer is how it was."""
        self._only_administrators(actor, "remove projects")
        was = self.get(actor, name)
        await self._engine.commit(ev.ProjectRemoved(at_s=self._engine.now(), project=core_name(name)))
        return was

    async def set_budget(self, actor: Actor, name: str, request: wire.BudgetSet) -> wire.Project:
        """Set a project's budget, or that of a user in it; durable on return."""
        self._only_administrators(actor, "set budgets")
        event = ev.BudgetSet(
            at_s=self._engine.now(), project=core_name(name), user=request.user, qpu_s=request.qpu_s,
            shots=request.shots, period=request.period, reset=request.reset,
        )  # fmt: skip
        await self._engine.commit(event)
        return self.get(actor, name)

    def get(self, actor: Actor, name: str) -> wire.Project:
        """A project. Raises `NotFound`, also for whoever may not use it."""
        account = self._engine.deck.ledger.accounts.get(core_name(name))
        if account is None and name == DEFAULT:
            account = Account(id="", project="")
        if account is None or not self._sees(actor, account):
            raise NotFound("project", name)
        users = [a for a in self._engine.deck.ledger.accounts.values() if a.user and a.project == account.project]
        return self._view(actor, account, users)

    def list(self, actor: Actor) -> wire.ProjectPage:
        """The projects that one may use; all of them for administrators."""
        users: dict[str, list[Account]] = {}
        projects = []
        for account in self._engine.deck.ledger.accounts.values():
            if account.user:
                users.setdefault(account.project, []).append(account)
            elif self._sees(actor, account):
                projects.append(account)
        projects.sort(key=lambda account: account.project)
        return wire.ProjectPage(items=[self._view(actor, a, users.get(a.project, [])) for a in projects])

    def payer(self, actor: Actor, label: str) -> str:
        """The project that another system's label for one stands for: itself if it was set up, else none.

        In a session, that of the session.
        """
        account = self._engine.deck.ledger.accounts.get(label)
        return label if account is not None and account.declared and not actor.session else ""

    async def usage(
        self, actor: Actor, since: str, until: str, by: Sequence[str], project: str | None
    ) -> wire.UsagePage:
        """What was used, summed up by some of `KEYS`; months from `since` to `until`, both included, empty for any.

        Others than administrators see their own use; naming a project that lists them as members, all of its use.
        """
        by = tuple(dict.fromkeys(by))
        if wrong := [key for key in by if key not in KEYS]:
            raise Invalid("?by", f"{wrong[0]!r} is none of {', '.join(KEYS)}")
        only = None if project is None else core_name(project, "?project")
        account = self._engine.deck.ledger.accounts.get(only) if only is not None else None
        all_users = actor.administrator or (account is not None and actor.user in account.members)
        await self._engine.settled()
        sums: dict[tuple[str, ...], list[float]] = {}
        for body in await self._engine.store.nouns("usage", since, _next(until)):
            entry = msgspec.json.decode(body, type=Usage)
            if (only is None or entry.project == only) and (all_users or entry.user == actor.user):
                told = (entry.project or DEFAULT, entry.user, entry.class_, entry.device, entry.month)
                row = sums.setdefault(tuple(told[KEYS.index(key)] for key in by), [0] * len(FIGURES))
                for n, figure in enumerate(FIGURES):
                    row[n] += getattr(entry, figure)
        rows = [
            {**dict(zip(by, key, strict=True)), **dict(zip(FIGURES, sums[key], strict=True))} for key in sorted(sums)
        ]
        return wire.UsagePage(items=msgspec.convert(rows, list[wire.UsageRow]), by=list(by))

    def _only_administrators(self, actor: Actor, what: str) -> None:
        if not actor.administrator:
            raise Forbidden(f"only administrators may {what}")

    def _sees(self, actor: Actor, account: Account) -> bool:
        if actor.administrator or not account.project:
            return True
        if account.declared:
            return not account.members or actor.user in account.members
        return f"{account.project}/{actor.user}" in self._engine.deck.ledger.accounts  # a label of the user's own

    def _view(self, actor: Actor, account: Account, users: Sequence[Account]) -> wire.Project:
        if not actor.administrator:
            users = [a for a in users if a.user == actor.user]
        return wire.Project(
            name=account.project or DEFAULT, declared=account.declared, share=account.share,
            members=list(account.members), classes=list(account.classes),
            recent_qpu_s=self._engine.deck.usage(account.project),
            budget=self._budget(account), users=[self._budget(user) for user in sorted(users, key=lambda a: a.user)],
        )  # fmt: skip

    def _budget(self, account: Account) -> wire.Budget:
        now_s = self._engine.now()
        spent_s, spent_shots = account.spent(now_s)
        left_s, left_shots = account.left(now_s)
        anew_s = months.start_s(months.month_of(now_s) + 1) if account.period == "month" else 0.0
        note = ""
        if account.exhausted(now_s):
            note = "nothing is left: no new work starts, and tasks that were admitted wait with reason `budget`"
            note += " until the month turns or the budget is raised" if anew_s else " until the budget is raised"
        return wire.Budget(
            user=account.user, qpu_s=account.budget_qpu_s, shots=account.budget_shots, period=account.period,
            spent_qpu_s=spent_s, spent_shots=spent_shots, held_qpu_s=account.held_qpu_s,
            held_shots=account.held_shots, left_qpu_s=left_s, left_shots=left_shots, anew_s=anew_s,
            total_qpu_s=account.total_qpu_s, total_shots=account.total_shots, note=note,
        )  # fmt: skip


def _next(month: str) -> str:
    """The month after `2026-11`; empty for empty."""
    return months.label(int(month[:4]) * 12 + int(month[5:])) if month else ""
