"""What is learned on the way: how long things take, who is idle, who just had a turn."""

from __future__ import annotations

from math import log

from quarterdeck.core.nouns import Device, Session, Task, holds
from quarterdeck.core.policy.slicing import clamp
from quarterdeck.core.reads import Reads, chain_s


class Habits(Reads):
    """Bookkeeping that is nobody's event of its own."""

    def _idle_clocks(self, device: str) -> None:
        """The device came or went: what is idle on it goes on, or stands still."""
        for session in self._idlers.values():
            if device in session.eligible:
                self._idle_clock(session)

    def _idle_clock(self, session: Session) -> None:
        """Let the session's idle clock run, stand still or start anew."""
        before = (session.active_s, session.idled_s, session.used)
        if session.id in self._session_tasks:
            session.active_s, session.idled_s, session.used = None, 0.0, True
        elif self._usable(session) and (session.used or session.mode != "batch"):
            if session.active_s is None:
                session.active_s, session.idled_s = self.now_s - session.idled_s, 0.0
                self._idle_alarm(session)
        elif session.active_s is not None:
            session.idled_s, session.active_s = self.now_s - session.active_s, None
        if before != (session.active_s, session.idled_s, session.used):
            self._step.sessions[session.id] = session

    def _usable(self, session: Session) -> bool:
        """Whether the session's tasks could run, on any of its devices."""
        return any(self._open_to(session, self.devices.get(id)) for id in session.eligible)

    def _open_to(self, session: Session, device: Device | None) -> bool:
        if device is None or device.status != "online" or self.timetable.closed_by(device.id) is not None:
            return False
        holder = self.holder(device)
        return holder is None or holds(holder, session.user, session.project)

    def _idle_alarm(self, session: Session) -> None:
        # One at a time: it is set again when it rings, not at each task's end.
        if session.active_s is not None and session.id not in self._idle_alarms:
            self._idle_alarms.add(session.id)
            self._alarm(session.active_s + session.idle_s, "idle", session.id)

    def _leave_loose(self, session: Session, at_s: float) -> None:
        """What a session had and waited counts for the one that its user opens next."""
        account = self.ledger.account(session.project, session.user)
        had_s, waited_s = account.loose(at_s, chain_s(self.devices[session.device]))
        account.loose_s = had_s + session.attained_s
        account.loose_waited_s = waited_s + max(0.0, at_s - session.began_s - session.attained_s)
        account.loose_at_s = at_s
        self._step.accounts[account.id] = account

    def _learn_size(self, task: Task) -> None:
        """What tasks take here, and how far the session's estimates are off."""
        work_s = task.qpu_s - task.setup_s
        if work_s <= 0.0:
            return
        device = self.devices[task.device]
        typical_s = device.typical_s
        device.typical_s = work_s if not typical_s else typical_s * (work_s / typical_s) ** 0.05
        self._step.devices[device.id] = device
        if task.estimate_s:
            off = log(work_s / task.estimate_s)
            account = self.ledger.account(task.project, task.user)
            account.errors = min(50, account.errors + 1)
            account.error += (off - account.error) / account.errors
            self._step.accounts[account.id] = account
            if (session := self.sessions.get(task.session)) is not None:
                session.errors += 1
                session.error_sum += off

    def _learn_overhead(self, device: Device, seconds: float) -> None:
        """A moving average over about 20 slices; what took minutes was no overhead, but a daemon that was away."""
        device.overheads += 1
        weight = 1.0 / device.overheads if device.overheads < 20 else 0.05
        device.overhead_s += weight * (clamp(0.0, seconds, 60.0) - device.overhead_s)
