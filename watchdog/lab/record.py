"""Writes back-test records: the file beside the configuration by which a rule is armed.

It is made to be committed and read by people: sorted, one field a line, and what did not change stays as it was. The
shape is `watchdog.config.backtests`', which reads it. This module must never judge whether a record is good enough.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from watchdog.config.backtests import BackTest, RecordFile, decode
from watchdog.core.errors import ConfigError


def record(path: Path, made: Iterable[BackTest]) -> None:
    """Put the records into the file at `path`, each in the place of the one of the same service and rule.

    The file is replaced at once or not at all; others' records stay. Raises `ConfigError` when what stands there is no
    record file, or it cannot be read or written: then nothing was changed.
    """
    known = {(one.service, one.rule): one for one in read_records(path)}
    known.update({(one.service, one.rule): one for one in made})
    content = RecordFile(backtests=tuple(known[key] for key in sorted(known)))
    text = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    try:
        _replace(path, text)
    except OSError as fault:
        raise ConfigError(f"{path} cannot be written: {fault.strerror or fault}") from fault


def read_records(path: Path) -> tuple[BackTest, ...]:
    """What stands in the file; nothing where there is none. Raises `ConfigError` for another file."""
    try:
        return decode(path.read_bytes()).backtests
    except FileNotFoundError:
        return ()
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror or fault}") from fault
    except msgspec.DecodeError as fault:
        words = f"{path} holds no back-test records: {fault}; move it away, or name another file"
        raise ConfigError(words) from fault


def _replace(path: Path, content: bytes) -> None:
    """Write beside it and swap: a reader sees the one or the other, through a link what it points to."""
    whole = path.resolve()
    mode = whole.stat().st_mode & 0o777 if whole.exists() else 0o644
    descriptor, name = tempfile.mkstemp(prefix=f".{whole.name}.", dir=whole.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, mode)
        Path(name).replace(whole)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
