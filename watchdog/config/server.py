"""Where the API listens, and who may use it.

This module must never open a port.
"""

from __future__ import annotations

import ipaddress
import re

from watchdog.config.loaded import Server, Token
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.schema import ServerShape

_LISTEN = re.compile(r"(?:\[(?P<six>[^\[\]\s]+)\]|(?P<host>[^\[\]:\s]+)):(?P<port>\d{1,5})")
#: Shorter ones can be guessed over the network. Worth a word, no more: who may reach the port is the owner's matter.
_SHORTEST_TOKEN = 16


def server_of(root: Node, written: ServerShape, problems: Problems) -> Server:
    """The `server` block; listening to the world without tokens is worth a note."""
    host, port = _address(root, written.listen, problems)
    tokens = tuple(Token(name=it.name, role=it.role, token=it.token) for it in written.tokens)
    _check_tokens(root, tokens, problems)
    if not tokens:
        if not _is_loopback(host):
            words = f"{host} can be reached from elsewhere, and no tokens are given: nobody may read or write"
            problems.note(root.at_value("server", "listen"), words)
        if written.metrics == "token":
            words = "`metrics: token` without tokens: only readers on this machine can read the metrics"
            problems.note(root.at_value("server", "metrics"), words)
    return Server(host=host, port=port, metrics=written.metrics, tokens=tokens, url=written.url)


def _address(root: Node, text: str, problems: Problems) -> tuple[str, int]:
    match = _LISTEN.fullmatch(text)
    default = Server()
    wrong = f"{quote(text)} is not HOST:PORT, such as 127.0.0.1:9911 or [::1]:9911"
    if match is None or int(match["port"]) > 65535:
        problems.add(root.at_value("server", "listen"), wrong)
        return default.host, default.port
    host = match["six"] or match["host"]
    if match["six"]:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            problems.add(root.at_value("server", "listen"), wrong)
    return host, int(match["port"])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_tokens(root: Node, tokens: tuple[Token, ...], problems: Problems) -> None:
    names: set[str] = set()
    owners: dict[str, str] = {}
    for index, token in enumerate(tokens):
        if token.name in names:
            problems.add(
                root.at_value("server", "tokens", index, "name"), f"duplicate token {quote(token.name)}"
            )
        names.add(token.name)
        at = root.at_value("server", "tokens", index, "token")
        secret = token.token.get_secret_value()
        if not secret:
            problems.add(at, "the token is empty")
        elif not secret.isascii() or not secret.isprintable() or " " in secret:
            problems.add(at, "the token has characters that no HTTP header can carry")
        elif secret in owners:
            problems.add(at, f"the same token as that of {quote(owners[secret])}; give each its own")
        elif len(secret) < _SHORTEST_TOKEN:
            problems.note(at, f"a token of fewer than {_SHORTEST_TOKEN} characters can be guessed")
        owners.setdefault(secret, token.name)
