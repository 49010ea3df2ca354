"""How a provider shows who it is to an HTTP server: a bearer token, a user name and password, or own headers.

This module must never put a secret into a text other than the header it is for.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from yarl import URL

from watchdog.settings.model import Secret, Settings

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _address(value: str) -> str:
    try:
        url = URL(value)
    except ValueError as error:
        raise ValueError(f"not a usable address: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("an address begins with http:// or https:// and names a host")
    if url.user or url.password:
        raise ValueError("a user name or password is not written into an address; use basic_auth")
    return value


#: An absolute `http://` or `https://` address without user name and password.
Address = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_address)]


def _header(value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a text; put it in quotes")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("control characters and line breaks do not fit into a header")
    return value


_HeaderValue = Annotated[str | SecretStr, BeforeValidator(_header)]
_HeaderSecret = Annotated[Secret, AfterValidator(_header)]


class BasicAuth(Settings):
    """A user name and a password (RFC 7617)."""

    username: str
    """User name."""
    password: _HeaderSecret
    """Password."""


class Access(Settings):
    """What a provider may send along to be let in. At most one of `bearer_token` and `basic_auth`."""

    bearer_token: _HeaderSecret | None = None
    """Sent as `Authorization: Bearer ...`."""
    basic_auth: BasicAuth | None = None
    """User name and password."""
    headers: dict[str, _HeaderValue] = Field(default_factory=dict)
    """More headers, such as a tenant's name; a value may be a secret."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Access:
        if self.bearer_token is not None and self.basic_auth is not None:
            raise ValueError("bearer_token and basic_auth exclude each other")
        for name in self.headers:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a header")
            if name.lower() == "authorization" and (self.bearer_token or self.basic_auth):
                raise ValueError("the header Authorization is given twice")
        return self

    def request_headers(self) -> dict[str, str]:
        """The headers to send, secrets unwrapped. Not for logs."""
        sent = {name: _plain(value) for name, value in self.headers.items()}
        if self.bearer_token is not None:
            sent["Authorization"] = f"Bearer {self.bearer_token.get_secret_value()}"
        if self.basic_auth is not None:
            sent["Authorization"] = f"Basic {self._pair()}"
        return sent

    def secrets(self) -> tuple[str, ...]:
        """Every text in the headers that nobody else may see, in the forms in which it is sent."""
        found = [value.get_secret_value() for value in self.headers.values() if isinstance(value, SecretStr)]
        if self.bearer_token is not None:
            found.append(self.bearer_token.get_secret_value())
        if self.basic_auth is not None:
            found += [self.basic_auth.password.get_secret_value(), self._pair()]
        return tuple(found)

    def _pair(self) -> str:
        if self.basic_auth is None:
            return ""
        pair = f"{self.basic_auth.username}:{self.basic_auth.password.get_secret_value()}"
        return base64.b64encode(pair.encode()).decode()


def _plain(value: SecretStr | str) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
