"""A mailbox as people write it, and as mail servers take it. This module must never let an address end a line."""

from __future__ import annotations

import re
from email.utils import parseaddr

import msgspec

from watchdog.telemetry.redact import one_line

#: RFC 5322's dot-atom. Quoted local parts are legal, used by nobody, and taken by few.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_LONGEST = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


class Address(msgspec.Struct, frozen=True):
    """A mailbox: `spec` is ASCII (the domain in its registered form), `name` may be anything on one line."""

    spec: str
    name: str = ""

    @property
    def domain(self) -> str:
        """What stands behind the `@`."""
        return self.spec.rpartition("@")[2]

    def __str__(self) -> str:
        """As a header has it."""
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{self.spec}>' if self.name else self.spec


def address_of(written: str) -> Address:
    """`ops@example.com` or `Name <ops@example.com>`. Raises `ValueError`, which says what is wrong with it.

    A domain in other letters is sent as it is registered (`xn--...`). Before the `@` there is ASCII only: what is
    beyond needs every server on the way to know SMTPUTF8, and a page is no place to find out.
    """
    text = written.strip()
    if text != one_line(text):
        raise ValueError("an address has no line breaks or control characters")
    name, spec = parseaddr(text) if "<" in text else ("", text)
    local, at, domain = spec.rpartition("@")
    if not at or not local or not domain:
        raise ValueError("is not an address such as ops@example.com or Ops <ops@example.com>")
    if not local.isascii():
        raise ValueError("an address with other than ASCII before the @ is not taken by every mail server")
    try:
        registered = domain.encode("idna").decode().lower()
    except UnicodeError:
        registered = ""
    if not _DOMAIN.fullmatch(registered) or not _LOCAL.fullmatch(local) or len(local) > 64:
        raise ValueError("is not an address such as ops@example.com or Ops <ops@example.com>")
    if len(local) + 1 + len(registered) > _LONGEST:
        raise ValueError(f"an address has at most {_LONGEST} characters")
    return Address(spec=f"{local}@{registered}", name=name)
