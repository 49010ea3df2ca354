"""Connections to a SQLite file: how they are set up, and what is checked before anybody relies on one.

This module must never hold a statement about our tables.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from watchdog.core.errors import ConfigError, StoreError
from watchdog.store.faults import corrupt

#: Seconds to wait for a lock that another program (a shell, a backup) holds on the database.
BUSY_FOR = 2.0


def path_of(url: str) -> Path:
    """The file of a `sqlite:////absolute/path` address. Raises `ConfigError` for one without a file."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError("the store's url is not an address; write sqlite:////absolute/path") from None
    if not parsed.database or parsed.database.startswith((":memory:", "file:")):
        raise ConfigError("a store needs a file; write sqlite:////absolute/path")
    if parsed.host or parsed.query:
        raise ConfigError("a sqlite store takes a path and nothing else; write sqlite:////absolute/path")
    return Path(os.path.abspath(parsed.database))  # noqa: PTH100  keeps links: two stores are told apart by their lock


def connect_writer(path: Path) -> Connection:
    """The one connection that writes: checked whole, WAL, every commit on the disk before it returns."""
    return _open(lambda: _writing_driver(path), begin="BEGIN IMMEDIATE")


def connect_reader(path: Path) -> Connection:
    """A connection that can never write, beside a running daemon or without one. Raises `StoreError`."""
    if not path.exists():
        raise StoreError(
            f"store {path}: there is no such file",
            advice="see `store: url` in the configuration; the daemon makes the file when it starts first",
        )
    return _open(lambda: _reading_driver(path), begin="BEGIN")


def _open(creator: Callable[[], sqlite3.Connection], *, begin: str) -> Connection:
    # Parameters are records: they must not appear in the text of an exception.
    engine = create_engine("sqlite+pysqlite://", creator=creator, poolclass=NullPool, hide_parameters=True)

    # The driver's own idea of when to begin leaves reads and schema changes outside of transactions.
    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine.connect()


def _driver(path: Path, mode: str) -> sqlite3.Connection:
    driver = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_FOR)
    try:
        driver.execute("PRAGMA trusted_schema=OFF")
        driver.execute("PRAGMA cell_size_check=ON")
    except BaseException:
        driver.close()
        raise
    return driver


def _writing_driver(path: Path) -> sqlite3.Connection:
    driver = _driver(path, "rwc")
    try:
        (found,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise corrupt(path, f"the file is damaged ({found.splitlines()[-1][:200]})")
        (mode,) = driver.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise StoreError(
                f"store {path}: this filesystem cannot keep a write-ahead log (journal mode {mode})",
                advice="put the store on a local filesystem",
            )
        driver.execute("PRAGMA synchronous=FULL")
    except BaseException:
        driver.close()
        raise
    return driver


def _reading_driver(path: Path) -> sqlite3.Connection:
    driver = _driver(path, "ro")
    try:
        driver.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # In a folder that cannot be written SQLite has no place for the index of its log. Without a log there is
        # nothing to index, and nobody writes.
        driver.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        driver = _driver(path, "ro&immutable=1")
    except BaseException:
        driver.close()
        raise
    driver.execute("PRAGMA query_only=ON")
    return driver
