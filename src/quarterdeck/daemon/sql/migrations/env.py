"""What alembic runs: the migrations, on the connection that `migrate` hands over (a URL, when run by hand)."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from quarterdeck.daemon.sql.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    connection = create_engine(str(context.config.get_main_option("sqlalchemy.url"))).connect()
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
