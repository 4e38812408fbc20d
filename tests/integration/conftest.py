"""A PostgreSQL server and a munged for those who ask for one, and each test once for every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .munged import Munged, missing
from .postgres import Postgres, binaries


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server for the whole run."""
    if binaries() is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'quarterdeck[postgres]'")
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """A fresh database's URL; empty stands for SQLite in the daemon's own directory."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.database()


@pytest.fixture(scope="session")
def munged() -> Iterator[Munged]:
    """A munged of our own, for the whole run."""
    if why := missing():
        pytest.skip(why)
    server = Munged()
    yield server
    server.close()
