"""The line to the daemon: one request after the other, repeated where that is safe, errors back as exceptions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import httpx
import msgspec

from quarterdeck import __version__
from quarterdeck.client.address import Address
from quarterdeck.errors import DaemonUnreachable, QuarterdeckError, Remote, TooManyRequests, Unavailable

T = TypeVar("T")
ANSWER_S = 30.0
"""How long an answer may take, beyond the time that a status call is asked to be held."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class Link:
    """Keeps connections open and may be shared by threads.

    What is safe to repeat is repeated when the connection breaks, for at most `patience_s` seconds: a daemon that
    restarts is not an error. Before the first answer there is nothing to be patient about, and the error comes at once.
    A 503 or 429 with `Retry-After` is waited for likewise.
    """

    def __init__(
        self,
        address: Address,
        patience_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self.patience_s = patience_s
        self.pause = sleep
        self.met = False
        headers = {"User-Agent": f"quarterdeck/{__version__}"}
        if address.token:
            headers["Authorization"] = f"Bearer {address.token}"
        if transport is None and address.socket is not None:
            transport = httpx.HTTPTransport(uds=address.socket)
        self._http = httpx.Client(
            base_url=address.base, headers=headers, transport=transport, trust_env=not address.local
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        query: Mapping[str, Any] | None = None,
        body: msgspec.Struct | None = None,
        headers: Mapping[str, str] | None = None,
        hold_s: float = 0.0,
        repeat: bool = True,
    ) -> T:
        """One request, and its answer as an `answer`.

        `hold_s` is how long the daemon was asked to hold the call. `repeat` says that asking twice is asking once.
        Raises what the daemon raised, or `DaemonUnreachable`.
        """
        response = self._send(method, path, query, body, headers, hold_s, repeat)
        if answer is str:
            return response.text  # type: ignore[return-value]
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Remote(f"{self.address.url} does not answer as a Quarterdeck daemon does: {error}") from None

    def look(self, path: str) -> tuple[int, bytes]:
        """Status and body of one GET, whatever the status. Raises `DaemonUnreachable`."""
        try:
            response = self._http.get(path, timeout=ANSWER_S)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None
        return response.status_code, response.content

    def lines(self, path: str, query: Mapping[str, Any], silence_s: float) -> Iterator[str]:
        """A streamed answer, line by line, until it ends. Raises `DaemonUnreachable` when it breaks off."""
        timeout = httpx.Timeout(ANSWER_S, read=silence_s)
        accept = {"Accept": "application/x-ndjson"}
        try:
            with self._http.stream("GET", path, params=query, headers=accept, timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    raise _error(response)
                self.met = True
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _send(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: msgspec.Struct | None,
        headers: Mapping[str, str] | None, hold_s: float, repeat: bool,
    ) -> httpx.Response:  # fmt: skip
        content = None if body is None else msgspec.json.encode(body, order="deterministic")
        given = {**(headers or {}), **({"Content-Type": "application/json"} if content is not None else {})}
        params = {key: value for key, value in (query or {}).items() if value is not None}
        timeout = httpx.Timeout(ANSWER_S, read=ANSWER_S + hold_s)
        give_up, pause = math.inf, FIRST_PAUSE_S
        while True:
            failure: QuarterdeckError
            hint = 0.0
            try:
                response = self._http.request(
                    method, path, params=params or None, content=content, headers=given, timeout=timeout
                )
            except httpx.TransportError as error:
                failure = self._unreachable(error)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                if not self.met or not (repeat or unsent):
                    raise failure from None
            else:
                self.met = True
                if response.is_success:
                    return response
                failure = _error(response)
                wait = response.headers.get("retry-after", "")
                if response.status_code not in (429, 503) or not wait.isdigit():
                    raise failure
                hint = float(wait)
            now, delay = time.monotonic(), max(hint, pause)
            give_up = min(give_up, now + self.patience_s)  # from the first failure on: a held call takes its time
            if now + delay > give_up:
                raise failure
            self.pause(delay)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _unreachable(self, error: httpx.TransportError) -> DaemonUnreachable:
        why = str(error) or type(error).__name__
        if self.address.socket is not None and "No such file" in why:
            why = "there is no such socket"
        return DaemonUnreachable(
            f"the daemon at {self.address.url}",
            f"{why}; start one with `qdeck serve`, or name another in QDECK_URL",
            0.0,
        )


def _error(response: httpx.Response) -> QuarterdeckError:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = {}
    error = QuarterdeckError.from_json(body, response.status_code)
    if type(error) is Remote and response.status_code in (429, 503):  # a proxy's words, or a newer daemon's
        if response.status_code == 429:
            return TooManyRequests(str(error), 0.0)
        return Unavailable("the daemon", str(error), 0.0)
    return error
