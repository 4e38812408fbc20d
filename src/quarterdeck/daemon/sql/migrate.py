"""Bringing the tables up to date. Only the leader does it, with the connection that it writes with."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from quarterdeck.errors import StoreUnavailable


def migrate(connection: Connection) -> None:
    """Run the migrations that are missing, in one transaction. Raises `StoreUnavailable` for a newer one's tables."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    with connection.begin():
        if (
            MigrationContext.configure(connection).get_current_revision()
            == ScriptDirectory.from_config(config).get_current_head()
        ):
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreUnavailable("the store", f"its tables are those of another version: {error}", 0.0) from None
