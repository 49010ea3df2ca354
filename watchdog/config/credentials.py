"""Credentials that somebody wrote into a probe: a rule is recorded with every incident, and every viewer can read it.

This module must never repeat a value.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems

#: Names whose value lets somebody in, whatever a vendor calls them.
_ANY = r".*(?:token|secret|passwor[dt]|passwd|passphrase|api[-_]?key|credentials?|access[-_]?key|private[-_]?key)"
_HEADER = re.compile(rf"(?:proxy-)?authorization|cookie|{_ANY}", re.IGNORECASE)
_PARAMETER = re.compile(rf"authorization|auth|key|sig|signature|pwd|pass|jwt|{_ANY}", re.IGNORECASE)
_VARIABLE = re.compile(rf".*(?:_|^)(?:auth|pwd|pass)|{_ANY}", re.IGNORECASE)
_WHY = "a rule is recorded with every incident it opens, so every viewer could read the credential"
_ASK = "let the probe ask an address that needs none"


def refuse(node: Node, problems: Problems) -> None:
    """Tell every credential in the settings of a rule's probe: in headers, in an address, in an environment."""
    _keys(node, "headers", _HEADER, _ASK, problems)
    _keys(node, "environment", _VARIABLE, "let the command read it from a file", problems)
    url = node.get("url")
    if url is None or url.text is None:
        return
    for name in _parameters(url.text):
        if _PARAMETER.fullmatch(name):
            problems.add(url.at, f"{name!r} cannot stand in the address of a rule: {_WHY}; {_ASK}")


def _keys(node: Node, key: str, names: re.Pattern[str], advice: str, problems: Problems) -> None:
    mapping = node.get(key)
    for name in mapping.keys() if mapping is not None else ():
        if names.fullmatch(name):
            words = f"{name!r} cannot stand in a rule: {_WHY}; {advice}"
            problems.add(node.at_key(key, name), words)


def _parameters(url: str) -> list[str]:
    """The names of the parameters of an address, in order, each once."""
    _, _, query = url.partition("?")
    written = [part.partition("=")[0] for part in re.split(r"[&;]", query.partition("#")[0]) if "=" in part]
    return list(dict.fromkeys(unquote_plus(name) for name in written))
