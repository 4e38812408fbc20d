"""Idempotency-Keys: which were used lately, and for what."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from quarterdeck.daemon.store import KeyRow, Store


class Key(msgspec.Struct, frozen=True):
    """An Idempotency-Key: SHA-256 of user and key, and of the request's body."""

    digest: bytes
    body: bytes


class Keys:
    """A day's keys by a short form that fits in memory, each with the number of its task; the store has the rest.

    Two generations, so that forgetting takes no time: a key is known for one to two times the interval of `forget`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def load(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Take up (task number, digest) of keys that were used before a restart."""
        self._old.update((_short(digest), seq) for seq, digest in keys)

    def note(self, key: Key, seq: int) -> None:
        """The key is being used for the task with this number."""
        self._young[_short(key.digest)] = seq

    async def used(self, digest: bytes) -> KeyRow | None:
        """What a key was used for lately; None if it was not."""
        short = _short(digest)
        seq = self._young.get(short, self._old.get(short))
        row = None if seq is None else await self._store.key(seq)
        return row if row is not None and row.key == digest else None

    async def forget(self, before_s: float) -> None:
        """Let go of the older generation, and of what the store has from before that time."""
        self._young, self._old = {}, self._young
        await self._store.forget_keys(before_s)


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")
