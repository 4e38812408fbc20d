"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them. Written out, not taken from `tables`: a migration never changes."""
    op.create_table(
        "event",
        sa.Column("seq", _SERIAL, primary_key=True, autoincrement=False),
        sa.Column("task", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("event_task", "event", ["task", "seq"])
    op.create_table(
        "task",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("task_seq", "task", ["seq"], unique=True)
    op.create_index("task_user", "task", ["user", "seq"])
    op.create_index("task_device", "task", ["device", "seq"])
    op.create_index("task_session", "task", ["session", "seq"], **_where("session <> ''"))
    op.create_index("task_state", "task", ["state", "seq"])
    op.create_index("task_live", "task", ["seq"], **_where("live"))
    op.create_table(
        "slice",
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("slice_live", "slice", ["task"], **_where("live"))
    op.create_table(
        "noun",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blob",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("meta", sa.LargeBinary, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False, comment="of content: 0 as it is, 1 zlib"),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "key",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("at_s", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("key_at", "key", ["at_s"])
    leader = op.create_table(
        "leader",
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("url", sa.Text, nullable=False),
    )
    op.bulk_insert(leader, [{"epoch": 0, "url": ""}])


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
