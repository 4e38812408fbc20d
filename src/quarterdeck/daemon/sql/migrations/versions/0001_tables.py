"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("task", sa.String(40)),
        sa.Column("owner", sa.String(255)),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("event_task", "event", ["task", "seq"])
    op.create_table(
        "task",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("session", sa.String(40), nullable=False),
        sa.Column("device", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("task_seq", "task", ["seq"], unique=True)
    op.create_index("task_owner", "task", ["owner", "seq"])
    live: Any = {"sqlite_where": sa.text("live"), "postgresql_where": sa.text("live")}
    op.create_index("task_live", "task", ["seq"], **live)
    some: Any = {"sqlite_where": sa.text("session <> ''"), "postgresql_where": sa.text("session <> ''")}
    op.create_index("task_session", "task", ["session", "seq"], **some)
    op.create_table(
        "slice",
        sa.Column("task", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("result", sa.String(64)),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("slice_live", "slice", ["task"], **live)
    op.create_table(
        "noun",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("live", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("noun_live", "noun", ["kind"], **live)
    op.create_table(
        "blob",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("meta", sa.LargeBinary, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("key", sa.LargeBinary(32), primary_key=True),
        sa.Column("body", sa.LargeBinary(32), nullable=False),
        sa.Column("task", sa.String(40), nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
    )
    op.create_index("idempotency_key_at", "idempotency_key", ["at_s"])
    leader = op.create_table(
        "leader",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("url", sa.String(512), nullable=False),
    )
    op.bulk_insert(leader, [{"id": 1, "epoch": 0, "url": ""}])


def downgrade() -> None:
    for table in ("leader", "idempotency_key", "blob", "noun", "slice", "task", "event"):
        op.drop_table(table)
