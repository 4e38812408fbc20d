"""The statements of a group commit, compiled once for a dialect. They take tuples in the order of columns."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Dialect, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from quarterdeck.daemon.sql import tables


class Statements(msgspec.Struct, frozen=True):
    """SQL with positional parameters, for `exec_driver_sql`."""

    event: str
    task: str
    slice: str
    noun: str
    blob: str
    key: str
    fence: str
    """Finds and locks the leader's row if it still bears our epoch. SQLite needs none: its lock is the kernel's."""


def statements(dialect: Dialect) -> Statements:
    """Compile for a dialect whose paramstyle is positional."""
    insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name]

    def put(table: Table, *changing: str) -> str:
        query = insert(table)
        query = query.values({column.name: None for column in table.columns})
        keys = list(table.primary_key.columns)
        if changing:
            query = query.on_conflict_do_update(
                index_elements=keys, set_={name: query.excluded[name] for name in changing}
            )
        elif table is tables.blob:
            query = query.on_conflict_do_nothing(index_elements=keys)
        return str(query.compile(dialect=dialect))

    fence = select(tables.leader.c.epoch).where(tables.leader.c.epoch == 0).with_for_update(read=True)
    return Statements(
        event=put(tables.event),
        # Who a task belongs to and where it goes is settled when it is made: leaving it out spares four indices.
        task=put(tables.task, "state", "live", "body"),
        slice=put(tables.slice, "live", "result", "body"),
        noun=put(tables.noun, "live", "body"),
        blob=put(tables.blob),
        key=put(tables.key, "key", "body", "task", "at_s"),
        fence=str(fence.compile(dialect=dialect)),
    )


bump = update(tables.leader).values(epoch=tables.leader.c.epoch + 1, url="")
