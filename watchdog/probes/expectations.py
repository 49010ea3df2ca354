"""What probes may expect of a target, and whether an answer meets it.

Settings that several kinds share stand here, too. This module must never repeat what the other side wrote, and never
let an expression of the rule's block the loop.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    model_validator,
)

from watchdog.core.units import format_duration
from watchdog.settings.model import PositiveDuration, Settings

#: Most bytes of a body that are read and looked at; what comes after is not waited for.
BODY_BYTES = 64 * 2**10
_CLASS = re.compile(r"[1-5]xx")
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]):(?P<port>[0-9]{1,5})")
#: What is filled in later stands for nearly anything.
_FILLED = re.compile(r"\$|\{address\}")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_INDEX = re.compile(r"0|[1-9][0-9]*")


class Address(msgspec.Struct, frozen=True):
    """`HOST:PORT`, taken apart."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises `ValueError` with what to write."""
        match = _ADDRESS.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 2**16:
            raise ValueError("an address is HOST:PORT, an IPv6 host in brackets")
        return cls(match["host"].strip("[]"), int(match["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(text: str) -> str:
    if not _FILLED.search(text):
        Address.parse(text)
    return text


#: `HOST:PORT`, or a text with variables that becomes one.
AddressText = Annotated[str, AfterValidator(_address)]


def _status(value: Any) -> Any:
    wanted = value if isinstance(value, list) else [value]
    for one in wanted:
        number = isinstance(one, int) and not isinstance(one, bool) and 100 <= one <= 599
        if not number and not (isinstance(one, str) and _CLASS.fullmatch(one)):
            raise ValueError(f"{one!r} is no status; write 200, 2xx or a list such as [200, 204]")
    if not wanted:
        raise ValueError("an empty list would fail every answer; write 200, 2xx or a list such as [200, 204]")
    return value


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


#: A regular expression as Python reads it.
Expression = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_expression)]
_Text = Annotated[str, Field(min_length=1)]


def _pointer(text: str) -> str:
    if not _POINTER.fullmatch(text):
        raise ValueError(
            f"{text!r} is no JSON pointer; write /checks/0/status (~1 for / in a name, ~0 for ~)"
        )
    return text


_Pointer = Annotated[str, AfterValidator(_pointer)]


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise ValueError("a value to compare with is a text, a number, true, false or null")
    return value


_Json = Annotated[StrictStr | StrictBool | StrictInt | StrictFloat | None, BeforeValidator(_scalar)]


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a header")
    return text


#: The name of a header (RFC 9110, section 5.1).
HeaderName = Annotated[str, AfterValidator(_header_name)]


class Matching(Settings):
    """A header that need not be equal."""

    matches: Expression
    """A regular expression that is found in it."""


def _is_pattern(value: Any) -> str:
    return "pattern" if isinstance(value, dict | Matching) else "text"


_Header = Annotated[
    Annotated[str, Tag("text")] | Annotated[Matching, Tag("pattern")], Discriminator(_is_pattern)
]


class ExpectedBody(Settings):
    """What the first 64 KiB of a body must hold; all that is written here, together."""

    contains: _Text | None = None
    """A text that stands in it."""
    matches: Expression | None = None
    """A regular expression that is found in it (`^` and `$` match at every line)."""
    pointer: dict[_Pointer, _Json] = Field(default_factory=dict)
    """JSON pointers (RFC 6901) and the values that stand there: `{/status: up, /checks/0/ok: true}`."""

    @model_validator(mode="after")
    def _something(self) -> ExpectedBody:
        if self.contains is None and self.matches is None and not self.pointer:
            raise ValueError("an empty `body` expects nothing; write contains, matches or pointer")
        return self


class ExpectedConnection(Settings):
    """What a healthy connection looks like."""

    within: PositiveDuration | None = None
    """Longest time for the whole check; default: the timeout."""
    certificate: PositiveDuration | None = None
    """The certificate is valid for at least that much longer, such as `14d`; needs TLS."""


class Expected(ExpectedConnection):
    """What a healthy answer looks like; everything written here must hold."""

    status: Annotated[int | str | list[int | str], BeforeValidator(_status)] = "2xx"
    """A status such as `200`, a class such as `2xx`, or a list of them."""
    within: PositiveDuration | None = None
    """Longest time for the whole answer; default: the timeout."""
    header: dict[HeaderName, _Header] = Field(default_factory=dict)
    """Headers by name: the exact value, or `{matches: EXPRESSION}`."""
    body: ExpectedBody | None = None
    """What the body must hold."""

    def wants(self, status: int) -> bool:
        """Whether this status is one of those expected."""
        wanted = self.status if isinstance(self.status, list) else [self.status]
        return status in wanted or f"{status // 100}xx" in wanted

    def words(self) -> str:
        """The status as it was written, for people."""
        wanted = self.status if isinstance(self.status, list) else [self.status]
        return " or ".join(str(one) for one in wanted)


def check_time(expect: ExpectedConnection, timeout: timedelta) -> None:
    """Refuse an expectation that outlasts the check. Raises `ValueError`."""
    if expect.within is not None and expect.within > timeout:
        raise ValueError("expect.within is longer than timeout, so it could never be used up; raise timeout")


def unusable(error: ValidationError) -> str:
    """What became wrong with settings when their variables were filled in."""
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return f"the probe's settings make no check: {faults}"


def late(expect: ExpectedConnection, took: float) -> str:
    """What is wrong with an answer after `took` seconds; nothing when it came in time."""
    if expect.within is None or took <= expect.within.total_seconds():
        return ""
    return f"answered after {took:.1f} s, allowed {expect.within.total_seconds():g} s"


def expiring(expect: ExpectedConnection, certificate: Mapping[str, Any], now: datetime) -> str:
    """What is wrong with how long a verified certificate is valid; nothing when it is long enough."""
    if expect.certificate is None:
        return ""
    ends = certificate.get("notAfter")
    if not isinstance(ends, str):
        return "there is no certificate whose end could be looked at"
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) - now
    if left >= expect.certificate:
        return ""
    days = math.floor(left / timedelta(days=1))
    shown = (
        f"{days} days" if days >= 2 else format_duration(timedelta(seconds=max(0, int(left.total_seconds()))))
    )
    return f"the certificate ends in {shown}, at least {format_duration(expect.certificate)} wanted"


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One expression still to be searched, and what is wrong when it is not found."""

    expression: str
    text: str
    otherwise: str


def wrong_header(expect: Expected, name: str, values: list[str]) -> str | Pattern:
    """What is wrong with one header's values, or what is still to be searched in them."""
    wanted = expect.header[name]
    if not values:
        return f"no header {name}"
    if isinstance(wanted, Matching):
        otherwise = f"header {name} does not match {wanted.matches!r}"
        return Pattern(expression=wanted.matches, text=", ".join(values), otherwise=otherwise)
    return "" if wanted in values else f"header {name} is not {wanted!r}"


def wrong_body(expect: ExpectedBody, body: str, *, whole: bool) -> str:
    """What is wrong with a body, its expression aside. `whole` says that nothing of it was left out."""
    beyond = "" if whole else " in its first 64 KiB"
    if expect.contains is not None and expect.contains not in body:
        return f"the body does not contain {expect.contains!r}{beyond}"
    if not expect.pointer:
        return ""
    if not whole:
        return "the body is longer than 64 KiB and was not read as JSON"
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return "the body is no JSON"
    for pointer, wanted in expect.pointer.items():
        found, value = _at(document, pointer)
        if not found:
            return f"the body has nothing at {pointer!r}"
        if not _same(value, wanted):
            return f"the body at {pointer!r} is not {msgspec.json.encode(wanted).decode()}"
    return ""


def _at(document: Any, pointer: str) -> tuple[bool, Any]:
    """The value at a pointer (RFC 6901, section 4), and whether there is one."""
    for written in pointer.split("/")[1:]:
        key = written.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif (
            isinstance(document, list) and _INDEX.fullmatch(key) and len(key) < 7 and int(key) < len(document)
        ):
            document = document[int(key)]
        else:
            return False, None
    return True, document


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON: `1` and `1.0` are one number, `true` is none."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)
