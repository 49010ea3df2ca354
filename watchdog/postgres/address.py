"""Where a PostgreSQL database is and how it is reached: one value, made of a URL and what stands beside it.

The password is a secret of its own and in no text that is made here. This module must never connect, nor read a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from pydantic import SecretStr

#: Both are in use for the same thing.
SCHEMES: Final = ("postgresql", "postgres")
PORT: Final = 5432
#: Longest time for one transaction, from the first statement to the answer to COMMIT.
TIMEOUT: Final = timedelta(seconds=5)
_EXAMPLE = "postgresql://USER@HOST:5432/DATABASE"


class Tls(StrEnum):
    """How the connection is protected, in the words of PostgreSQL's own clients."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_FULL = "verify-full"


class Host(NamedTuple):
    """A server: a name or an address and its port, or the folder of its Unix socket."""

    name: str
    port: int = PORT

    @property
    def is_socket(self) -> bool:
        """Whether the name is a folder that holds a Unix socket."""
        return self.name.startswith("/")

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else quote(self.name, safe="")
        return name if self.port == PORT else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """A database and who we are there. Several hosts: whichever takes writes. Its text never holds the password."""

    hosts: tuple[Host, ...]
    database: str
    user: str
    password: SecretStr | None = None
    tls: Tls = Tls.PREFER
    ca_file: Path | None = None
    timeout: timedelta = TIMEOUT

    def __str__(self) -> str:
        hosts = ",".join(map(str, self.hosts))
        return f"postgresql://{quote(self.user, safe='')}@{hosts}/{quote(self.database, safe='')}"


class Parts(NamedTuple):
    """What a URL says. `password` as it is meant, `raw_password` as it is written there."""

    hosts: tuple[Host, ...]
    database: str
    user: str
    password: str = ""
    raw_password: str = ""
    tls: Tls | None = None


def parse(url: str) -> Parts:
    """Take a `postgresql://` URL apart. Raises `ValueError` in words, and never with the password in them."""
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ValueError(f"expected {_EXAMPLE}")
    rest, _, fragment = rest.partition("#")
    if fragment:
        raise ValueError("'#' in a user, password or database is written %23")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    who, _, where = authority.rpartition("@")
    user, _, raw_password = who.partition(":")
    database = _decoded(path, "database")
    if not user:
        raise ValueError(f"name the database user: {_EXAMPLE}")
    if not database or "/" in path:
        raise ValueError(f"name one database: {_EXAMPLE}")
    options = _options(query)
    hosts = tuple(_host(text) for text in where.split(",")) if where else ()
    if (folder := options.get("host")) is not None:
        if hosts:
            raise ValueError("a host stands before the path or behind it (?host=), not both")
        hosts = tuple(_host(text) for text in folder.split(","))
    if not hosts:
        raise ValueError(
            f"name the host: {_EXAMPLE}; a Unix socket's folder is written ?host=/run/postgresql"
        )
    return Parts(
        hosts=hosts,
        database=database,
        user=_decoded(user, "user"),
        password=_decoded(raw_password, "password"),
        raw_password=raw_password,
        tls=_tls(options.get("sslmode")),
    )


def address_of(url: str) -> PostgresAddress:
    """The address that a URL alone says. Raises `ValueError` as `parse` does."""
    parts = parse(url)
    return PostgresAddress(
        hosts=parts.hosts,
        database=parts.database,
        user=parts.user,
        password=SecretStr(parts.password) if parts.password else None,
        tls=parts.tls or Tls.PREFER,
    )


def _options(query: str) -> dict[str, str]:
    known = ("host", "sslmode")
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ValueError(
                f"{name!r} cannot stand behind the database; known there: {', '.join(known)} "
                "(certificates and times are keys beside `url`)"
            )
        if name in found:
            raise ValueError(f"{name!r} stands twice behind the database")
        found[name] = value
    return found


def _tls(text: str | None) -> Tls | None:
    if text is None:
        return None
    try:
        return Tls(text)
    except ValueError:
        raise ValueError(f"sslmode is one of {', '.join(Tls)}") from None


def _host(text: str) -> Host:
    wrong = ValueError(f"{text!r} is no host; write HOST, HOST:PORT or [IPV6]:PORT")
    name, separator, port = text, "", ""
    if text.startswith("["):
        name, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise wrong
        separator, port = rest[:1], rest[1:]
    elif not text.startswith("/"):
        name, separator, port = text.partition(":")
    name = _decoded(name, "host")
    if not name or any(letter.isspace() or letter == "@" for letter in name):
        raise wrong
    if not separator:
        return Host(name)
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return Host(name, int(port))


def _decoded(text: str, what: str) -> str:
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"the {what} is not UTF-8 behind its percent signs") from None
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in plain):
        raise ValueError(f"the {what} holds a character that cannot be sent")
    return plain
