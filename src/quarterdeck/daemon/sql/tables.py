"""The tables. `migrations` makes the same; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)  # fmt: skip

metadata = MetaData()
Serial = BigInteger().with_variant(Integer(), "sqlite")  # so that SQLite takes it for the row's own number

event = Table(
    "event",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=False),
    Column("task", Text),
    Column("user", Text),
    Column("body", LargeBinary, nullable=False),
    Index("event_task", "task", "seq"),
)
task = Table(
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("user", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("task_seq", "seq", unique=True),
    Index("task_user", "user", "seq"),
    Index("task_device", "device", "seq"),
    Index("task_session", "session", "seq", sqlite_where=text("session <> ''"), postgresql_where=text("session <> ''")),
    Index("task_state", "state", "seq"),
    Index("task_live", "seq", sqlite_where=text("live"), postgresql_where=text("live")),
)
slice = Table(
    "slice",
    metadata,
    Column("task", Text, primary_key=True),
    Column("index", Integer, primary_key=True, autoincrement=False),
    Column("live", Boolean, nullable=False),
    Column("result", Text),
    Column("body", LargeBinary, nullable=False),
    Index("slice_live", "task", sqlite_where=text("live"), postgresql_where=text("live")),
    sqlite_with_rowid=False,
)
noun = Table(
    "noun",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("live", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
blob = Table(
    "blob",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("meta", LargeBinary, nullable=False),
    Column("codec", SmallInteger, nullable=False, comment="of content: 0 as it is, 1 zlib"),
    Column("content", LargeBinary, nullable=False),
)
key = Table(
    "key",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("task", Text, nullable=False),
    Column("at_s", Double, nullable=False),
    Index("key_at", "at_s"),
    sqlite_with_rowid=False,
)
leader = Table(
    "leader",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("url", Text, nullable=False),
)
