"""What Alembic runs: the migrations, on the connection of the store that opens, or offline as SQL.

The daemon gives its own connection, already in a transaction. Whoever writes a migration gives `sqlalchemy.url`.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from watchdog.store.tables import metadata


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def _print_sql() -> None:
    context.configure(dialect_name="sqlite", target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def _run() -> None:
    given = context.config.attributes.get("connection")
    if context.is_offline_mode():
        _print_sql()
    elif given is not None:
        _migrate(given)
    else:
        engine = create_engine(
            context.config.get_main_option("sqlalchemy.url") or "sqlite://", poolclass=NullPool
        )
        with engine.connect() as connection:
            _migrate(connection)


_run()
