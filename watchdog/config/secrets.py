"""`!env NAME` and `!file PATH`: values that are not written in the configuration.

What they give is a secret unless the place that takes it wants plain text. This module must never put a value
into an error; it names the variable or the file.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from watchdog.config.trail import Trail

#: The two tags that a value may carry.
TAGS = ("!env", "!file")
#: Largest file that can be a secret, in bytes.
_LARGEST = 64 * 1024


class Secrets:
    """Looks secrets up; `base` is the folder that relative paths start from. `trail` learns which files were read."""

    def __init__(self, environ: Mapping[str, str], base: Path, trail: Trail | None = None) -> None:
        self._environ = environ
        self._base = base
        self._trail = Trail() if trail is None else trail

    def look_up(self, tag: str, text: str) -> SecretStr:
        """The value of `!env text` or `!file text`. Raises `ValueError` without the value in it."""
        value = self._from_environment(text) if tag == "!env" else self._from_file(text)
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{tag} {text} is not text in UTF-8")
        return SecretStr(value)

    def _from_environment(self, name: str) -> str:
        if not name:
            raise ValueError("!env needs the name of an environment variable")
        if name not in self._environ:
            raise ValueError(f"environment variable {name} is not set")
        if not self._environ[name]:
            raise ValueError(f"environment variable {name} is empty")
        return self._environ[name]

    def _from_file(self, name: str) -> str:
        if not name:
            raise ValueError("!file needs a path")
        path = self._base / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self._trail.refused(path, limit=_LARGEST, secret=True)
                raise ValueError(f"{path} is not a regular file")
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as fault:
            self._trail.failed(path, fault, limit=_LARGEST, secret=True)
            raise ValueError(f"{path} cannot be read: {fault.strerror}") from None
        self._trail.read(path, content, limit=_LARGEST, secret=True)
        if len(content) > _LARGEST:
            raise ValueError(f"{path} is larger than {_LARGEST // 1024} KiB")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not text in UTF-8") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise ValueError(f"{path} is empty")
        return text
