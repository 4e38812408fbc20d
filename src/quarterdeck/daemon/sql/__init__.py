"""The store in a database: SQLite on one host, PostgreSQL where several daemons stand by for each other."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from quarterdeck.daemon.store import Store
from quarterdeck.errors import Invalid


def open_store(url: str) -> Store:
    """The store at `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. Nothing is opened before `lead`.

    Raises `Invalid` for any other URL, and when PostgreSQL's client library is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Invalid("store", "is no database URL; try sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise Invalid("store", "SQLite needs the path of a file")
        from quarterdeck.daemon.sql.sqlite import SqliteStore

        return SqliteStore(Path(parsed.database))
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        try:
            from quarterdeck.daemon.sql.postgres import PostgresStore
        except ImportError as error:
            raise Invalid("store", f"PostgreSQL needs pip install 'quarterdeck[postgres]' ({error})") from None
        return PostgresStore(parsed)
    raise Invalid("store", f"{parsed.get_backend_name()} is not supported: sqlite or postgresql")
