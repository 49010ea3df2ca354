"""Every kind of store, by the scheme of its address. There is no default kind."""

from __future__ import annotations

from watchdog.core.errors import ConfigError
from watchdog.postgres.address import PostgresAddress
from watchdog.settings.registry import load
from watchdog.store.interface import Reader, Store

STORES = {
    "sqlite": "watchdog.store.sqlite:SqliteStore",
    "postgres": "watchdog.store.postgresql:PostgresStore",
    "postgresql": "watchdog.store.postgresql:PostgresStore",
}
READERS = {
    "sqlite": "watchdog.store.sqlite:SqliteReader",
    "postgres": "watchdog.store.postgresql:PostgresReader",
    "postgresql": "watchdog.store.postgresql:PostgresReader",
}


def make_store(address: str | PostgresAddress) -> Store:
    """The store that a `store: url` names, not opened yet. Raises `ConfigError`."""
    store: Store = load("store", STORES, _scheme(address))(address)
    return store


def make_reader(address: str | PostgresAddress) -> Reader:
    """Its reading half alone, beside a running daemon or without one. Raises `ConfigError`."""
    reader: Reader = load("store", READERS, _scheme(address))(address)
    return reader


def _scheme(address: str | PostgresAddress) -> str:
    scheme, separator, _ = str(address).partition("://")
    if not separator:
        raise ConfigError("the store's url is not an address; write sqlite:////absolute/path")
    return scheme
