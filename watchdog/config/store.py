"""Where the store is: the `store` block, with a URL's mistakes told at their place.

A password in a URL is taken from a secret's URL alone, and appears in no text. This module must never open a file or a
connection.
"""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, unknown
from watchdog.config.schema import StoreShape
from watchdog.core.units import format_duration
from watchdog.postgres.address import SCHEMES, Parts, PostgresAddress, Tls, parse
from watchdog.telemetry.redact import register_secret

_SQLITE = "sqlite:///"
#: What only a database behind a network has.
_REMOTE = ("password", "ca_file", "tls", "timeout")
#: A shorter one is exceeded by every hiccup. Twice a longer one, and the reactor would be taken for stuck.
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(seconds=7)
_NEEDED = ("asyncpg", "greenlet")


class StorePlace(NamedTuple):
    """The store's address, without a password, and how a PostgreSQL one is reached."""

    url: str
    postgres: PostgresAddress | None = None


def store_of(root: Node, written: StoreShape, base: Path, problems: Problems) -> StorePlace:
    """The store; a relative path starts from `base`."""
    scheme, separator, _ = written.url.partition("://")
    if scheme in SCHEMES and separator:
        return _postgres(root, written, problems)
    place = root.get("store")
    for key in _REMOTE:
        if place is not None and place.has(key):
            problems.add(place.at_key(key), f"{key!r} is for a PostgreSQL store; this one is a file")
    return StorePlace(_sqlite(root, written.url, base, problems))


def _sqlite(root: Node, url: str, base: Path, problems: Problems) -> str:
    """The URL with an absolute path."""
    at = root.at_value("store", "url")
    place = root.get("store", "url")
    if place is not None and place.tag and not url.startswith(_SQLITE):
        problems.add(at, f"{place.describe()} is no store; expected {_SQLITE}PATH or postgresql://…")
        return url
    scheme, separator, _ = url.partition("://")
    if not separator:
        problems.add(at, f"expected {_SQLITE}PATH; an absolute path has a slash of its own ({_SQLITE}/var/…)")
        return url
    if scheme.split("+")[0] in SCHEMES:
        problems.add(at, "the driver is no matter of the URL; write postgresql://…")
        return url
    if scheme != "sqlite":
        problems.add(at, unknown("store", scheme, ("sqlite", "postgresql")))
        return url
    path = url.removeprefix(_SQLITE)
    if path == url or not path or path == ":memory:" or path.endswith("/"):
        problems.add(at, f"the store must be a file, which survives a restart: {_SQLITE}/PATH")
    elif "?" in path or "#" in path:
        problems.add(at, "a store takes no options behind its path")
    else:
        return f"{_SQLITE}{(base / path).absolute()}"
    return url


def _postgres(root: Node, written: StoreShape, problems: Problems) -> StorePlace:
    at = root.at_value("store", "url")
    try:
        parts = parse(written.url)
    except ValueError as fault:
        problems.add(at, str(fault))
        return StorePlace(f"{SCHEMES[0]}://")
    _check(root, written, parts, problems)
    password = written.password
    if password is None and parts.password:
        password = SecretStr(parts.password)
    if password is not None:
        register_secret(password.get_secret_value())
        problems.hide(password.get_secret_value())
    if parts.raw_password:
        register_secret(parts.raw_password)
    verified = Tls.VERIFY_FULL if written.ca_file is not None else Tls.PREFER
    address = PostgresAddress(
        hosts=parts.hosts,
        database=parts.database,
        user=parts.user,
        password=password,
        tls=written.tls or parts.tls or verified,
        ca_file=written.ca_file,
        timeout=written.timeout,
    )
    return StorePlace(str(address), address)


def _check(root: Node, written: StoreShape, parts: Parts, problems: Problems) -> None:
    at, place = root.at_value("store", "url"), root.get("store", "url")
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if absent:
        problems.add(at, "a PostgreSQL store needs an extra: pip install 'rollback-watchdog[postgres]'")
    if parts.raw_password and (place is None or not place.tag):
        problems.add(
            at,
            "a password is not written here; leave it out and give `password: !env NAME` or `!file PATH` "
            "beside `url`, or the whole `url: !env NAME`",
        )
    elif parts.password and written.password is not None:
        problems.add(root.at_value("store", "password"), "the URL brings a password already")
    tls = written.tls or parts.tls
    if written.ca_file is not None and tls in {Tls.DISABLE, Tls.PREFER}:
        words = f"with `tls: {tls}` nobody looks at `ca_file`; leave `tls` out, or write verify-full"
        problems.add(root.at_value("store", "ca_file"), words)
    if written.tls is not None and parts.tls not in {None, written.tls}:
        problems.add(root.at_value("store", "tls"), f"the URL says sslmode={parts.tls}")
    if not _SHORTEST <= written.timeout <= _LONGEST:
        words = f"between {format_duration(_SHORTEST)} and {format_duration(_LONGEST)}"
        problems.add(root.at_value("store", "timeout"), words)
