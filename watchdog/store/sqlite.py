"""The store in a SQLite file on a local disk: one daemon uses it, others may look.

This module must never write into a file that is not the one it opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from watchdog.aio.faultpoint import Transaction
from watchdog.core.errors import StoreError
from watchdog.store.faults import explain
from watchdog.store.lane import Lane
from watchdog.store.lock import HostLock
from watchdog.store.migrate import require_head
from watchdog.store.reader import SqlReader
from watchdog.store.sql import SqlStore
from watchdog.store.sqlite_file import connect_reader, connect_writer, path_of

R = TypeVar("R")


def _reads(path: Path) -> Lane:
    return Lane("store-reader", lambda: _connect_reader(path), lambda error: explain(error, path))


def _connect_reader(path: Path) -> Connection:
    connection = connect_reader(path)
    try:
        with connection.begin():
            require_head(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


class SqliteReader(SqlReader):
    """Looks at a SQLite file without locking it. Opened by the first read; raises `ConfigError` for a bad address."""

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
        super().__init__(str(self.path), _reads(self.path))


class SqliteStore(SqlStore):
    """A store in the SQLite file that `url` names. Raises `ConfigError` for an address that names none."""

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
        self._lock = HostLock(self.path)
        self._inode: tuple[int, int] | None = None
        writes = Lane("store-writer", self._connect_writer, lambda error: explain(error, self.path))
        super().__init__(str(self.path), reads=_reads(self.path), writes=writes)

    async def aclose(self) -> None:
        await super().aclose()
        self._lock.release()

    async def _write(
        self,
        work: Callable[[Connection], R],
        then: Callable[[R], None] | None = None,
        *,
        during: Transaction,
    ) -> R:
        def in_place(connection: Connection) -> R:
            self._require_same_file()
            return work(connection)

        return await super()._write(in_place, then, during=during)

    def _connect_writer(self) -> Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        connection = connect_writer(self.path)
        status = self.path.stat()
        self._inode = (status.st_dev, status.st_ino)
        return connection

    def _require_same_file(self) -> None:
        # SQLite goes on writing into a file that was removed; what it writes there is lost at the next start.
        try:
            status = self.path.stat()
        except FileNotFoundError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._inode:
            raise StoreError(
                f"store {self.path}: the file was removed or replaced while the watchdog was using it",
                advice="put the file back, or restart the watchdog to go on with what is there now",
            )
