"""Bringing a store to this release's schema, in process and in one transaction.

This module must never migrate downwards, nor touch a database that is not ours.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from watchdog.core.errors import StoreError
from watchdog.store.tables import metadata

#: The newest revision in `watchdog/store/migrations/versions`.
HEAD = "0004"
#: Every revision that this release knows, oldest first.
REVISIONS = ("0001", "0002", "0003", "0004")

#: Alembic's own table, as Alembic makes it.
_STAMP = (
    "CREATE TABLE IF NOT EXISTS alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_NEWER = "install that release again, or put a backup from before its first start in place of the store"
#: Any number will do, as long as nobody else in the database locks the same.
_LOCK = 0x726F6C6C6261636B  # "rollback"


def migrate(connection: Connection, place: str) -> None:
    """Upgrade to `HEAD` inside the running transaction; one process at a time does. Raises `StoreError`."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    current = revision(connection, place)
    if current == HEAD:
        return
    if current is None:
        _create(connection)
        return
    # Imported late: it is slow to import, and a store that is new or up to date does not need it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "watchdog.store:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise StoreError(f"store {place}: cannot be migrated: {error}", advice="restore a backup") from error


def _create(connection: Connection) -> None:
    """Make a new store as it is after all migrations (a test compares both)."""
    metadata.create_all(connection)
    connection.execute(text(_STAMP))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def require_head(connection: Connection, place: str) -> None:
    """For those who only read: raises `StoreError` unless the schema is this release's."""
    if revision(connection, place) != HEAD:
        raise StoreError(
            f"store {place}: its schema is not of this release",
            advice="start the daemon of this release once; it migrates the store",
        )


def revision(connection: Connection, place: str) -> str | None:
    """The schema's revision; `None` for an empty database. Raises `StoreError` for a newer one, or not ours."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise StoreError(
                f"store {place}: this is the database of another program (it has a table {tables[0]!r})",
                advice="give the watchdog a database of its own (`store: url`)",
            )
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if found is None:
        return None
    if found not in REVISIONS:
        raise StoreError(f"store {place}: written by a newer release (schema {found})", advice=_NEWER)
    return str(found)
