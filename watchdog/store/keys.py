"""Text that is looked up, as PostgreSQL can hold it: without NUL and without halves of characters.

Names come from outside (a version out of a label, an id out of a URL); one that cannot be stored or asked for must
neither stop the store nor be mixed up with another. An index holds so much of a text, and no more: of a longer one its
beginning and a digest are kept (its record has it whole). SQLite holds all of them as they are. This module must never
make two different texts the same.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from sqlalchemy import Dialect, String
from sqlalchemy.types import TypeDecorator

#: Stands before the four hexadecimal digits of what cannot be written; a noncharacter, which no text has.
_MARK = "\ufdd0"
_ODD = re.compile(f"[\x00\ud800-\udfff{_MARK}]")
#: Longest text that is kept whole, in characters; an entry of an index takes some 2700 bytes.
_WHOLE = 400
_WRITTEN = re.compile(f"{_MARK}([0-9a-f]{{4}})")


class Key(TypeDecorator[str]):
    """A `String` in the order of its characters, whose odd ones are written as numbers."""

    impl = String
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(collation="C")

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """On its way into the database."""
        if value is None:
            return None
        if len(value) > _WHOLE:
            digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()
            value = f"{value[: _WHOLE // 2]}{_MARK}{digest}"
        elif _ODD.search(value) is None:
            return value
        return _ODD.sub(lambda odd: f"{_MARK}{ord(odd[0]):04x}", value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """On its way out."""
        if value is None or _MARK not in value:
            return value
        return _WRITTEN.sub(lambda written: chr(int(written[1], 16)), value)
