"""Every fault of the disk gets words and advice."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import InvalidRequestError, OperationalError

from watchdog.core.errors import StoreCorrupt, StoreError
from watchdog.store.faults import explain

PATH = Path("/var/lib/watchdog/watchdog.db")


@pytest.mark.parametrize(
    ("name", "words", "advice"),
    [
        ("SQLITE_FULL", "disk is full", "free space on the filesystem that holds /var/lib/watchdog"),
        ("SQLITE_READONLY", "read-only", "make /var/lib/watchdog/watchdog.db and its folder writable"),
        ("SQLITE_READONLY_DBMOVED", "read-only", "writable"),
        ("SQLITE_BUSY", "another program holds it", "fuser /var/lib/watchdog/watchdog.db"),
        ("SQLITE_BUSY_RECOVERY", "another program holds it", "fuser"),
        ("SQLITE_CANTOPEN", "cannot be opened", "folder /var/lib/watchdog exists"),
        ("SQLITE_IOERR_FSYNC", "disk failed", "kernel's log"),
        ("SQLITE_PERM", "access is denied", "writable"),
        ("SQLITE_TOOBIG", "string or blob too big", "restart"),
        ("SQLITE_CORRUPT_INDEX", "damaged", "adopted"),
        ("SQLITE_NOTADB", "not a database", "backup"),
    ],
)
def test_every_error_of_sqlite_has_words_and_advice(name: str, words: str, advice: str) -> None:
    driver = sqlite3.OperationalError("string or blob too big")
    driver.sqlite_errorname = name
    error = explain(OperationalError("INSERT", {}, driver), PATH)
    assert words in str(error)
    assert str(PATH) in str(error)
    assert advice in error.advice
    assert isinstance(error, StoreCorrupt) == name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


@pytest.mark.parametrize(
    ("number", "words", "advice"),
    [
        (errno.ENOSPC, "disk is full", "free space"),
        (errno.EDQUOT, "quota", "free space"),
        (errno.EROFS, "filesystem is read-only", "writable"),
        (errno.EACCES, "access is denied", "writable"),
        (errno.ENOTDIR, "Not a directory", "folder"),
    ],
)
def test_every_error_of_the_system_has_words_and_advice(number: int, words: str, advice: str) -> None:
    error = explain(OSError(number, "Not a directory", "/var/lib"), PATH)
    assert words in str(error)
    assert "(/var/lib)" in str(error)
    assert advice in error.advice


def test_any_other_error_is_still_one_of_the_store() -> None:
    error = explain(InvalidRequestError("odd"), PATH)
    assert "odd" in str(error)
    assert error.advice


def test_an_error_of_the_store_stays_what_it_is() -> None:
    error = StoreError("said already")
    assert explain(error, PATH) is error
