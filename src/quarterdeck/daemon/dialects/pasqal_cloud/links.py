"""Links to results: whoever has one may read that result for a while, as with a presigned URL of an object store.

The SDK fetches results without its token. The secret lives as long as this process, so a link of another daemon, or of
this one before it was started again, is refused; clients ask for a new one each time.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from time import time

from quarterdeck.errors import Forbidden


class Links:
    """Makes links and knows them again. `now` gives seconds since 1970."""

    def __init__(self, valid_s: float, now: Callable[[], float] = time) -> None:
        self._valid_s = valid_s
        self._now = now
        self._secret = secrets.token_bytes(32)

    def query(self, job: str) -> str:
        """The query of a link to this job's result."""
        until = str(int(self._now() + self._valid_s) + 1)
        return f"expires={until}&signature={self._sign(job, until)}"

    def check(self, job: str, expires: str, signature: str) -> None:
        """Raise `Forbidden` unless the link was made here, for this job, and is still good."""
        if not hmac.compare_digest(self._sign(job, expires).encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("this link is of another daemon or era; ask for a new one (results_link)")
        if self._now() > int(expires):
            raise Forbidden("this link has expired; ask for a new one (results_link)")

    def _sign(self, job: str, expires: str) -> str:
        return hmac.digest(self._secret, f"{job}\n{expires}".encode("utf-8", "replace"), "sha256").hex()
