"""Every kind of store, by the scheme of its address. There is no default kind."""

from __future__ import annotations

from watchdog.core.errors import ConfigError
from watchdog.settings.registry import load
from watchdog.store.interface import Reader, Store

STORES = {"sqlite": "watchdog.store.sql:SqlStore"}
READERS = {"sqlite": "watchdog.store.reader:SqlReader"}


def make_store(url: str) -> Store:
    """The store that a `store: url` names, not opened yet. Raises `ConfigError`."""
    store: Store = load("store", STORES, _scheme(url))(url)
    return store


def make_reader(url: str) -> Reader:
    """Its reading half alone, beside a running daemon or without one. Raises `ConfigError`."""
    reader: Reader = load("store", READERS, _scheme(url))(url)
    return reader


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigError("the store's url is not an address; write sqlite:////absolute/path")
    return scheme
