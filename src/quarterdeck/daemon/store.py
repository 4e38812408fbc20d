"""The seam to persistence: what the loop writes and what it reads back.

The event log is the truth; the rows are a cache of it, written in the same transaction. One record is the trace of one
thing that happened; the store makes many of them durable at once (group commit) and says so in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """An entry of the log. The store numbers entries from 1, without gaps, in the order in which they were given."""

    task: str | None
    user: str | None
    body: bytes
    """The event in JSON, as `core.events` writes it."""


class TaskRow(msgspec.Struct, frozen=True, gc=False):
    """The state of a task: columns to search by, and all of it in JSON."""

    id: str
    seq: int
    user: str
    session: str
    device: str
    state: str
    live: bool
    body: bytes


class SliceRow(msgspec.Struct, frozen=True, gc=False):
    """The state of a slice. `result` is the address of the blob with its counts, or None."""

    task: str
    index: int
    live: bool
    result: str | None
    body: bytes


class NounRow(msgspec.Struct, frozen=True, gc=False):
    """The state of anything there are few of: `kind` is `session`, `device` and the like. Dead ones are not loaded."""

    kind: str
    id: str
    live: bool
    body: bytes


class Blob(msgspec.Struct, frozen=True, gc=False):
    """Content under its address: `kind` is `program` or `result`, `id` its SHA-256. Storing it twice stores it once."""

    kind: str
    id: str
    meta: bytes
    """JSON that is wanted without the content: a program's format and summary."""
    content: bytes


class KeyRow(msgspec.Struct, frozen=True, gc=False):
    """An Idempotency-Key that was used: `key` is the SHA-256 of user and key, `body` that of the request.

    It is found by the number of the task that it made: an index over random keys would cost more than all else.
    """

    seq: int
    key: bytes
    body: bytes
    task: str
    at_s: float


class Record(msgspec.Struct, gc=False):
    """What one step of the core leaves behind. All of it becomes durable, or nothing.

    `done` is called on the event loop once it is durable, in the order of `append`, with the log number of the record's
    last event; it must not raise.
    """

    done: Callable[[int], None]
    events: Sequence[EventRow] = ()
    tasks: Sequence[TaskRow] = ()
    slices: Sequence[SliceRow] = ()
    nouns: Sequence[NounRow] = ()
    blobs: Sequence[Blob] = ()
    keys: Sequence[KeyRow] = ()


class Loaded(msgspec.Struct):
    """What a daemon needs to go on after a restart."""

    last_event: int
    last_task_seq: int
    tasks: list[bytes]
    slices: list[bytes]
    nouns: list[tuple[str, bytes]]
    keys: list[tuple[int, bytes]]


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tasks, newest first (descending `seq`). None means any."""

    user: str | None = None
    state: str | None = None
    session: str | None = None
    device: str | None = None
    before_seq: int | None = None
    limit: int = 100


class Store(Protocol):
    """Durable state. One writer; reads may run beside it and see only what is durable.

    After a failed write the store refuses every further `append` with `StoreUnavailable`, and calls `failed` once: the
    loop then forgets what it believed and starts over from `load`.
    """

    name: str
    """For people: `sqlite` or `postgresql`, without any password."""

    async def lead(self) -> int:
        """Wait until this daemon is the only one that writes; return its fencing epoch. Raises StoreUnavailable."""

    async def load(self, keys_since_s: float) -> Loaded:
        """Live state, and (seq, key) of the Idempotency-Keys used since `keys_since_s`. Only for the leader."""

    def start(self, failed: Callable[[Exception], None]) -> None:
        """Accept writes from now on. `failed` is called on the event loop, at most once, when a commit failed."""

    def append(self, record: Record) -> None:
        """Queue a record for the next group commit. Never blocks. Raises StoreUnavailable when full or failed."""

    async def advertise(self, url: str) -> None:
        """Tell other daemons where the leader answers."""

    async def leader_url(self) -> str:
        """Where the leader answers; empty when there is none."""

    async def task(self, id: str) -> bytes | None: ...
    async def tasks(self, query: TaskQuery) -> list[tuple[int, bytes]]: ...
    async def slices(self, task: str) -> list[tuple[bytes, str | None]]: ...
    async def noun(self, kind: str, id: str) -> bytes | None: ...
    async def nouns(self, kind: str, since: str = "", before: str = "") -> list[bytes]:
        """All of a kind, dead ones too, with ids from `since` to `before` (that one not included); empty for any."""

    async def blob(self, kind: str, id: str) -> tuple[bytes, bytes] | None:
        """(meta, content) of a blob."""

    async def key(self, seq: int) -> KeyRow | None: ...
    async def events(
        self, after: int, limit: int, task: str | None = None, user: str | None = None
    ) -> list[tuple[int, bytes]]:
        """Entries after number `after`, oldest first; of one task; that this user may see (own ones and nobody's)."""

    async def forget_keys(self, before_s: float) -> None: ...

    async def stop(self) -> None:
        """Stop writing (what is queued is committed first, unless failed), give up leadership, keep files open."""

    async def close(self) -> None:
        """Stop and let go of everything."""
