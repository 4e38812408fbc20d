"""Who comes in: MUNGE over TCP, peer credentials on the Unix socket, another daemon's word for its own guests.

A MUNGE credential of QRMI's is bound to nothing: whoever gets hold of one may send it here first. So the uid alone
opens no door that matters: sessions are for jobs that the workload manager knows, and a device is closed only from
where administrators are.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections import OrderedDict
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_address, ip_network
from time import monotonic

import msgspec
from starlette.requests import Request

from quarterdeck.daemon.dialects.warden.settings import WardenSettings
from quarterdeck.daemon.http.identity import Identity, user_name
from quarterdeck.errors import Forbidden, Unauthenticated, Unavailable
from quarterdeck.munge import Munge

log = logging.getLogger(__name__)
LONGEST = 16 * 1024
"""Longest credential, in bytes; QRMI's have about 150."""
REMEMBERED_S = 600.0
"""How long a credential is remembered: MUNGE's default life of 300 s, and as much for clocks that differ."""
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,63}\Z")


class Caller(msgspec.Struct, frozen=True):
    """Who asks, and what is known of the way here.

    Attributes:
        trusted: A workload manager: may open and close sessions for users.
        near: Comes from where administrators are: the Unix socket, or one of `admin_networks`.
        digest: Of the credential, when a standby has to tell the leader; empty otherwise.
    """

    uid: int
    user: str
    trusted: bool
    near: bool
    digest: str = ""


class Door:
    """Checks callers. `shared` says that other daemons may serve the same clients, each with a munged of its own."""

    def __init__(self, settings: WardenSettings, shared: bool) -> None:
        self._settings = settings
        self._networks = [ip_network(network) for network in settings.admin_networks]
        self._command = settings.command()
        self._asking = asyncio.Semaphore(8)
        self._shared = shared
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._munge: Munge | None = None
        self._warned: set[str] = set()

    async def caller(self, request: Request, identity: Identity) -> Caller:
        """Who asks. Raises `Unauthenticated`, or `Unavailable` if nobody can tell."""
        headers = request.headers
        passed = headers.get("x-qdeck-standby")
        if identity.standby and passed is not None:
            if not hmac.compare_digest(passed.encode(), identity.standby.encode()):
                raise Unauthenticated("this daemon does not know the standby that passes the request on")
            if not headers.get("x-qdeck-uid", "").isdigit():
                raise Unauthenticated("Missing MUNGE credential")
            self._first_use(headers.get("x-qdeck-credential", ""))
            uid = int(headers["x-qdeck-uid"])
            return self._caller(uid, headers.get("x-qdeck-near") == "yes")
        credential = headers.get("x-munge-cred", "").strip()
        if not credential:
            peer = request.scope["state"].get("peer_uid")
            if peer is None:
                raise Unauthenticated("Missing MUNGE credential")
            return self._caller(peer, True)
        if self._munge is None:
            self._munge = Munge(self._settings.munge_socket)
        known = await self._munge.whose(credential)
        host = request.client.host if request.client else ""
        self._compare(known.origin, host, known.uid)
        digest = sha256(credential.encode()).hexdigest() if self._shared else ""
        self._first_use(digest)
        return self._caller(known.uid, self._near(host), digest)

    def _caller(self, uid: int, near: bool, digest: str = "") -> Caller:
        return Caller(uid, user_name(uid), uid in self._settings.trusted_uids, near, digest)

    def _near(self, host: str) -> bool:
        with suppress(ValueError):
            address = ip_address(host)
            return any(address in network for network in self._networks)
        return False

    def _compare(self, origin: str, host: str, uid: int) -> None:
        """A credential should come from the host that made it."""
        if self._settings.origin == "off" or origin == host:
            return
        said = f"a MUNGE credential of uid {uid} was made at {origin} and comes from {host or 'a local socket'}"
        if self._settings.origin == "enforce":
            log.warning("refused: %s", said)
            raise Unauthenticated("MUNGE credential comes from another host than it was made at")
        if host not in self._warned and len(self._warned) < 1000:
            self._warned.add(host)
            log.warning("%s (warden.origin is `log`; this is said once for each host)", said)

    def _first_use(self, digest: str) -> None:
        """munged forgets nothing, but knows only its own host: credentials used at another daemon are known here."""
        if not digest:
            return
        now_s = monotonic()
        while self._seen and next(iter(self._seen.values())) < now_s:
            self._seen.popitem(last=False)
        if digest in self._seen:
            raise Unauthenticated("MUNGE credential replayed")
        self._seen[digest] = now_s + REMEMBERED_S

    async def job(self, job: str, uid: int) -> None:
        """Return if the workload manager says that the job is under way and the user's. Raises `Forbidden` if not."""
        if not self._command:
            return
        if not _JOB.match(job):
            raise Forbidden(f"{job[:80]!r} is no job.")
        words = [word.replace("{job}", job) for word in self._command]
        async with self._asking:
            try:
                process = await asyncio.create_subprocess_exec(
                    *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
            except OSError as error:
                raise Unavailable("the workload manager", f"{words[0]}: {error.strerror}", 5.0) from None
            try:
                async with asyncio.timeout(4.0):
                    told, said = await process.communicate()
            except TimeoutError:
                process.kill()
                await process.wait()
                raise Unavailable("the workload manager", f"{words[0]} did not answer within 4 s", 5.0) from None
        owners = set(told.decode(errors="replace").split())
        if process.returncode or not owners:
            log.warning("refused: job %s of uid %d: %s", job, uid, said.decode(errors="replace").strip()[:200])
            raise Forbidden(f"Job {job} is not running.")
        if owners != {str(uid)}:
            log.warning("refused: job %s is of uid %s, not %d", job, ", ".join(sorted(owners)), uid)
            raise Forbidden(f"Job {job} belongs to another user.")

    def close(self) -> None:
        """Let go of munged."""
        if self._munge is not None:
            self._munge.close()
