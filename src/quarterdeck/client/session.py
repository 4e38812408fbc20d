"""A session: a lease on a device that renews itself while it is held."""

from __future__ import annotations

import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any

from quarterdeck import wire
from quarterdeck.client.address import Address
from quarterdeck.client.task import TaskHandle
from quarterdeck.errors import DaemonUnreachable, NotFound, QuarterdeckError

if TYPE_CHECKING:
    from quarterdeck.client.client import Client


class SessionHandle:
    """An open session. Used with `with`, it is closed at the end; a thread renews it while it is held.

    Attributes:
        info: What was last heard of it.
        token: Its bearer token, known to whoever opened it only; empty for others. Never shown.
        own: False for a job's session that this process only joined: `close` then leaves it open.
    """

    def __init__(self, client: Client, info: wire.Session, own: bool = True) -> None:
        self._client = client
        self.info = info
        self.token = info.token
        self.own = own
        self._stop = threading.Event()

    def __repr__(self) -> str:
        where = " or ".join(self.info.devices) or self.device
        return f"<session {self.id} {self.info.state} {self.info.mode} on {where}>"

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def device(self) -> str:
        return self.info.device

    @property
    def address(self) -> Address:
        """Where its daemon is."""
        return self._client.link.address

    def submit(self, program: str | wire.ProgramInfo, *, shots: int, **more: Any) -> TaskHandle:
        """`Client.submit` in this session, on its device or the best of its devices that is free."""
        return self._client.submit(program, shots=shots, session=self.id, **more)

    def renew(self) -> wire.Session:
        """Start the lease anew. Raises `NotFound` for a closed one."""
        self.info = self._client.link.ask("POST", f"/v1/sessions/{self.id}/renew", wire.Session)
        return self.info

    def close(self) -> wire.Session:
        """End the lease; its waiting tasks are cancelled. A session that was only joined stays open."""
        self._stop.set()
        if self.own and self.info.state == "open":
            self.info = self._client.link.ask("DELETE", f"/v1/sessions/{self.id}", wire.Session)
        return self.info

    def keep(self) -> None:
        """Renew from a thread, three times per lease, until closed, forgotten, or lost."""
        if self.own:
            arguments = (weakref.ref(self), self._stop, self.info.ttl_s / 3)
            threading.Thread(target=_renewals, args=arguments, name=f"renew-{self.id}", daemon=True).start()

    def __enter__(self) -> SessionHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (DaemonUnreachable, NotFound):
            if error is None:  # what went wrong inside is more worth telling
                raise


def _renewals(handle: weakref.ref[SessionHandle], stop: threading.Event, every_s: float) -> None:
    while not stop.wait(every_s):
        session = handle()
        if session is None:
            return
        try:
            session.renew()
        except NotFound:
            return  # closed by somebody else, or expired; the next submission says so
        except QuarterdeckError:
            pass  # not now: two more tries before the lease is over
        del session
