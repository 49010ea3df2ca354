"""Where a daemon is, and which token to show it: from options, a configuration file, or the environment.

This module must stay light (completion imports it), and must never print a token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from watchdog.cli.failure import Failure

DEFAULT_URL = "http://127.0.0.1:9911"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a daemon that listens everywhere writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a daemon is, and what to show it."""

    url: str
    token: str | None = field(default=None, repr=False)


def address(
    url: str | None, token: str | None, config: Path | None, *, environ: Mapping[str, str] | None = None
) -> Address:
    """The daemon that is meant: options first, then `-c FILE`, then WATCHDOG_URL and WATCHDOG_TOKEN."""
    environ = os.environ if environ is None else environ
    if config is not None:
        listed = _configured(config, environ)
    else:
        listed = Address(
            url=environ.get("WATCHDOG_URL") or DEFAULT_URL, token=environ.get("WATCHDOG_TOKEN") or None
        )
    found = (url or listed.url).rstrip("/")
    if not _is_address(found):
        raise Failure(f"{found!r} is not an address such as {DEFAULT_URL}")
    return Address(url=found, token=_clean(token or listed.token))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        # Asking for the port is what finds one that is none.
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _clean(token: str | None) -> str | None:
    """The token without what a file or a shell put around it."""
    token = (token or "").strip()
    if not token.isprintable():
        raise Failure("the token holds control characters, which no token has; see where it comes from")
    return token or None


def _configured(config: Path, environ: Mapping[str, str]) -> Address:
    from watchdog.config.load import load

    server = load(config, environ=environ).server
    host = _ANYWHERE.get(server.host, server.host)
    by_role = sorted(server.tokens, key=lambda token: token.role != "operator")
    token = by_role[0].token.get_secret_value() if by_role else None
    return Address(url=f"http://{f'[{host}]' if ':' in host else host}:{server.port}", token=token)
