"""The HTTP interface of a Pasqal QPU (`/api/v1`), with every answer either understood or a typed error.

Facts from what Warden sends and accepts; no real device was asked. JSON in an envelope `{status, code, message, data}`,
no authentication: the network must keep others away. `code` is a number, or text such as ABCD3003.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import httpx
import msgspec

from quarterdeck.errors import BadProgram, DeviceUnavailable

CONNECT_S, GET_S, POST_S = 5.0, 10.0, 50.0
TOO_LATE = "3003"
"""In the code of a 400: the program can be cancelled no more."""


class Job(msgspec.Struct, frozen=True):
    """A job as the QPU shows it. `uid` counts from 0; `result` is JSON text."""

    uid: int
    status: str
    result: Any = None
    batch_id: Any = None
    nb_run: int | None = None
    created_datetime: str | None = None
    start_datetime: str | None = None
    end_datetime: str | None = None
    context: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """What it was called when it was posted; empty if the QPU does not show that."""
        return str((self.context or {}).get("pasqman_job_id") or "")

    @property
    def qpu_s(self) -> float | None:
        """From its start to its end, in seconds; None if the QPU does not say."""
        try:
            begin, end = (datetime.fromisoformat(str(at)) for at in (self.start_datetime, self.end_datetime))
            return max(0.0, (end - begin).total_seconds())
        except (ValueError, TypeError):
            return None


class Unanswered(Exception):
    """A job was posted and nobody knows whether it was accepted. `answered`: it will not be accepted later than now."""

    def __init__(self, why: str, answered: bool) -> None:
        super().__init__(why)
        self.answered = answered


class _Envelope(msgspec.Struct):
    data: Any = None
    code: int | str | None = None
    message: str | None = None
    detail: Any = None


class Api:
    """The QPU at `uri`. `DeviceUnavailable` is raised for whatever is not an answer."""

    def __init__(self, name: str, uri: str) -> None:
        self._name = name
        self._base = uri.rstrip("/") + "/api/v1"
        # Each request has a connection of its own: on a kept one nobody could tell a lost request from a lost answer.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(GET_S, connect=CONNECT_S), trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    async def close(self) -> None:
        await self._http.aclose()

    async def operational(self) -> str:
        """UP or DOWN."""
        data = await self._get("/system/operational")
        return str(data.get("operational_status", "")) if isinstance(data, dict) else ""

    async def specs(self) -> str:
        """The Pulser device, as JSON text."""
        data = await self._get("/system")
        specs = data.get("specs") if isinstance(data, dict) else None
        if isinstance(specs, dict):
            return msgspec.json.encode(specs).decode()
        if isinstance(specs, str):
            return specs
        raise self._away("/system has no specs")

    async def post(self, shots: int, sequence: str, job: str, batch: str) -> Job:
        """Post a job, once. Raises `BadProgram` or `DeviceUnavailable` if it was refused, else `Unanswered`."""
        context = {"batch_id": batch, "pasqman_job_id": job}
        body = {"nb_run": shots, "pulser_sequence": sequence, "context": context}
        try:
            answer = await self._http.post(
                self._base + "/jobs", json=body, timeout=httpx.Timeout(POST_S, connect=CONNECT_S)
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise self._away(f"cannot be reached: {error or type(error).__name__}") from None
        except httpx.HTTPError as error:
            raise Unanswered(f"no answer to a job: {error or type(error).__name__}", False) from None
        if answer.status_code in (429, 503):
            raise self._away(f"takes no job now ({answer.status_code} {_said(answer)})")
        if 400 <= answer.status_code < 500 and answer.status_code != 408 and _is_ours(answer):
            raise BadProgram("$", f"{self._name} refuses the job: {_said(answer)}")
        if answer.status_code >= 300:
            # Behind a gateway that gave up waiting the job may still be on its way.
            waiting = answer.status_code in (408, 502, 504)
            raise Unanswered(f"{answer.status_code} to a job: {_said(answer)}", not waiting)
        try:
            return msgspec.convert(_open(answer).data, Job, strict=False)
        except msgspec.MsgspecError as error:
            raise Unanswered(f"nonsense to a job: {error}", True) from None

    async def job(self, uid: int) -> Job | None:
        """A job; None if the QPU knows none with this uid."""
        answer = await self._ask("GET", f"/jobs/{uid}")
        if answer.status_code in (400, 404) and _is_ours(answer):
            return None
        return self._job(answer)

    async def cancel(self, uid: int) -> bool:
        """Ask for a job to be stopped. False if it is too late, or there is no such job."""
        answer = await self._ask("PUT", f"/jobs/{uid}/cancel")
        if answer.status_code in (400, 404) and _is_ours(answer):
            if answer.status_code == 404 or TOO_LATE in str(_open(answer).code):
                return False
            raise self._away(f"does not cancel: {_said(answer)}")
        self._job(answer)
        return True

    async def _get(self, path: str) -> Any:
        answer = await self._ask("GET", path)
        try:
            answer.raise_for_status()
            return _open(answer).data
        except (httpx.HTTPStatusError, msgspec.MsgspecError):
            raise self._away(f"answers {path} with {answer.status_code} {_said(answer)}") from None

    async def _ask(self, method: str, path: str) -> httpx.Response:
        try:
            return await self._http.request(method, self._base + path)
        except httpx.HTTPError as error:
            raise self._away(f"cannot be reached: {error or type(error).__name__}") from None

    def _job(self, answer: httpx.Response) -> Job:
        if answer.status_code >= 300:
            raise self._away(f"answers {answer.status_code} {_said(answer)}")
        try:
            return msgspec.convert(_open(answer).data, Job, strict=False)
        except msgspec.MsgspecError as error:
            raise self._away(f"answers nonsense: {error}") from None

    def _away(self, why: str) -> DeviceUnavailable:
        return DeviceUnavailable(self._name, f"the QPU {why}", 1.0)


def _open(answer: httpx.Response) -> _Envelope:
    return msgspec.json.decode(answer.content, type=_Envelope)


def _is_ours(answer: httpx.Response) -> bool:
    """Whether the QPU said this, and not a gateway in front of it with a page of its own."""
    try:
        _open(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _said(answer: httpx.Response) -> str:
    """What a refusal says, for people."""
    try:
        told = _open(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "with a body that is not the QPU's"
    what = told.data.get("description") if isinstance(told.data, dict) else None
    return str(what or told.message or told.detail or told.code or "without a reason")[:500]
