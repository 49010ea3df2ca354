"""Which store an address means."""

from __future__ import annotations

import pytest

from watchdog.core.errors import ConfigError
from watchdog.postgres.address import address_of
from watchdog.store.postgresql import PostgresReader, PostgresStore
from watchdog.store.registry import make_reader, make_store
from watchdog.store.sqlite import SqliteReader, SqliteStore


def test_sqlite_is_a_file() -> None:
    store, reader = make_store("sqlite:////var/lib/w.db"), make_reader("sqlite:////var/lib/w.db")
    assert isinstance(store, SqliteStore)
    assert isinstance(reader, SqliteReader)
    assert str(store.path) == str(reader.path) == "/var/lib/w.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_postgresql_is_a_database(scheme: str) -> None:
    for address in (f"{scheme}://w:hunter2@db/x", address_of(f"{scheme}://w:hunter2@db/x")):
        store, reader = make_store(address), make_reader(address)
        assert isinstance(store, PostgresStore)
        assert isinstance(reader, PostgresReader)
        assert store.place == reader.place == "postgresql://w@db/x"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqllite:////var/lib/w.db", "unknown store kind 'sqllite'; did you mean 'sqlite'"),
        ("postgresql://w:secret@db", "name one database"),
        ("redis://secret@host/1", "unknown store kind 'redis'"),
        ("/var/lib/w.db", "not an address"),
        ("", "not an address"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:///file:w.db", "needs a file"),
        ("sqlite://host/w.db", "takes a path and nothing else"),
        ("sqlite:////var/lib/w.db?mode=ro", "takes a path and nothing else"),
        ("sqlite://:x:y:z", "not an address"),
    ],
)
def test_any_other_address_is_a_users_mistake_with_words(url: str, words: str) -> None:
    for make in (make_store, make_reader):
        with pytest.raises(ConfigError, match=words.replace("?", r"\?")) as caught:
            make(url)
        assert "secret" not in str(caught.value)
