"""QRMI's resource objects, used from an event loop: they block, and each serves one call at a time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quarterdeck.errors import Invalid

SHORTEST_SECRET = 4
"""Values of the environment that are shorter stay in messages: hiding every "0" would leave nothing to read."""


TOKEN = "QRMI_JOB_ACQUISITION_TOKEN"


class QrmiFailed(Exception):
    """A call of QRMI failed. `kind` is the name of QRMI's exception; the text has no value of the environment in it.

    `http` is the vendor's HTTP status where QRMI tells it (in the text, before the answer's body), else 0.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text
        found = re.search(r"\b([45]\d\d) [A-Z][a-z]", text)  # such as "Status: 404 Not Found, Fail ..."
        self.http = int(found[1]) if found else 0

    @property
    def unreachable(self) -> bool:
        """Nobody answered, or nobody can now: not the program's fault."""
        transport = ("error sending request", "munge", "Connection", "connection", "timed out", "dns error")
        return self.http in (429, 502, 503, 504) or (not self.http and any(word in self.text for word in transport))

    @property
    def unauthorised(self) -> bool:
        return self.kind == "AuthenticationFailedError" or self.http in (401, 403)

    @property
    def not_found(self) -> bool:
        return self.kind == "TaskNotFoundError" or self.http == 404


class Handles:
    """As many resource objects as calls run at once; making one takes 8 ms, so they are kept.

    Calls run in threads that do not keep the process alive: QRMI's HTTP clients have no time limit of their own.
    """

    def __init__(self, where: str, resource: str, type: str, environment: dict[str, str]) -> None:
        self._where, self._resource, self._type = where, resource, type
        self._environment = dict(environment)
        self._idle: list[Any] = []
        self._made = 0
        self._lock = threading.Lock()

    def make(self) -> Any:
        """A resource object of the present environment. Raises `Invalid` for settings that QRMI does not take."""
        try:
            import qrmi
        except ModuleNotFoundError:
            raise Invalid(self._where, "needs the package qrmi: pip install quarterdeck[qrmi]") from None
        try:
            kind = getattr(qrmi.ResourceType, self._type)
            return qrmi.QuantumResource.from_config(self._resource, kind, self._environment)
        except Exception as error:
            raise Invalid(self._where, f"qrmi refuses the settings: {self.scrub(str(error))}") from None

    def renew(self, token: str) -> None:
        """Work in another session from now on, or in none: later calls use objects made for it."""
        with self._lock:
            self._environment.pop(TOKEN, None)
            if token:
                self._environment[TOKEN] = token
            self._idle.clear()
            self._made += 1

    def scrub(self, text: str) -> str:
        """The text without any value of the environment, which may be a secret."""
        for value in sorted(self._environment.values(), key=len, reverse=True):
            if len(value) >= SHORTEST_SECRET:
                text = text.replace(value, "***")
        return text.strip()[:500]

    async def call(self, use: Callable[[Any], Any]) -> Any:
        """What `use(resource)` returns, run in a thread. Raises `QrmiFailed`. Goes on when its caller is cancelled."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        done.add_done_callback(lambda future: future.cancelled() or future.exception())

        def finish(value: Any, error: Exception | None) -> None:
            if not done.done():
                if error is None:
                    done.set_result(value)
                else:
                    done.set_exception(error)

        def work() -> None:
            value, error = None, None
            try:
                value = self._use(use)
            except BaseException as problem:  # PanicException, of the Rust side, is no Exception
                error = QrmiFailed(type(problem).__name__.rstrip("_"), self.scrub(str(problem)))
            try:
                loop.call_soon_threadsafe(finish, value, error)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        threading.Thread(target=work, name=f"qrmi-{self._resource}", daemon=True).start()
        return await asyncio.shield(done)

    def _use(self, use: Callable[[Any], Any]) -> Any:
        with self._lock:
            resource, made = (self._idle.pop() if self._idle else None), self._made
        if resource is None:
            resource = self.make()
        try:
            return use(resource)
        finally:
            with self._lock:
                if made == self._made:
                    self._idle.append(resource)


def defaults(type: str, environment: dict[str, str]) -> dict[str, str]:
    """The environment with what QRMI asks of a job, for types that want it: this process stands for the job."""
    return (
        {"QRMI_JOB_UID": str(os.getuid()), "QRMI_JOB_ID": "0", **environment} if type == "PasqalLocal" else environment
    )


def configured(where: str, path: Path, resource: str) -> tuple[str, dict[str, str]]:
    """The type and environment of a resource in a qrmi_config.json."""
    try:
        found = {entry["name"]: entry for entry in json.loads(path.read_text())["resources"]}
    except OSError as error:
        raise Invalid(where, f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise Invalid(where, f"{path} is not a qrmi_config.json") from None
    if resource not in found:
        raise Invalid(where, f"{path} has no resource {resource!r}; it has {', '.join(sorted(found)) or 'none'}")
    return found[resource]["type"], {str(key): str(value) for key, value in found[resource]["environment"].items()}
