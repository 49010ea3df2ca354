"""Reads the section `backtest` and the file of records that it names, every mistake at its place.

This module must never write the file, and never judge a record.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec

from watchdog.config.backtests import LARGEST_RECORD, BackTest, BackTests, BacktestShape, decode
from watchdog.config.document import read
from watchdog.config.loaded import Position
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.trail import Trail

_WEEK = timedelta(days=7)


def backtests_of(
    root: Node, written: BacktestShape, base: Path, problems: Problems, trail: Trail
) -> BackTests:
    """The section and the file that it names; `root` is the main file, relative paths start from `base`.

    A file that is not there has no records yet. One that cannot be read is a mistake where anything asks for it, else
    only said: a configuration that never spoke of back-tests must not fail because of one.
    """
    file = base / written.record
    asked = root.has("backtest") or _required(root)
    noise = written.max_noise
    return BackTests(
        file=file,
        configured=root.has("backtest"),
        max_rollbacks=written.max_rollbacks,
        max_noise=None if noise is None else noise[0] * (_WEEK / noise[1]),
        max_age=written.max_age,
        min_span=written.min_span,
        records={(one.service, one.rule): one for one in _records(file, problems, trail, asked=asked)},
    )


def _required(root: Node) -> bool:
    """Whether anything speaks of `require_backtest`: at the top, in a profile or in a service."""
    profiles, services = root.get("environments"), root.get("services")
    entries = (profiles.entries if profiles is not None else None) or {}
    items = (services.items if services is not None else None) or []
    places = (root, *(entry.node for entry in entries.values()), *items)
    return any(place.has("require_backtest") for place in places)


def _records(file: Path, problems: Problems, trail: Trail, *, asked: bool) -> tuple[BackTest, ...]:
    tell = problems.add if asked else problems.note
    start = Position(file=file, line=1, column=1)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            content = opened.read(LARGEST_RECORD + 1)
    except (OSError, ValueError) as fault:
        error = fault if isinstance(fault, OSError) else OSError(0, "this is no path")
        trail.failed(file, error, limit=LARGEST_RECORD)
        if not isinstance(fault, FileNotFoundError):
            tell(start, f"cannot be read: {error.strerror}")
        return ()
    trail.read(file, content, limit=LARGEST_RECORD)
    if len(content) > LARGEST_RECORD:
        tell(start, f"is larger than {LARGEST_RECORD // 1024} KiB")
        return ()
    try:
        return _once(decode(content).backtests, file, tell)
    except msgspec.ValidationError as fault:
        words, path = _parted(str(fault))
        tell(_place(file, path), f"is no back-test record: {words}")
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        ways = "mend it, or move it away, and `watchdog backtest --record` makes a new one"
        tell(_byte(file, content, str(fault)), f"is not valid JSON; {ways}")
    return ()


def _once(
    found: tuple[BackTest, ...], file: Path, tell: Callable[[Position, str], None]
) -> tuple[BackTest, ...]:
    """The records, if there is one of each: of two, as a merge may leave them, nobody knows which is true."""
    seen: set[tuple[str, str]] = set()
    for number, one in enumerate(found):
        if (one.service, one.rule) in seen:
            place = _place(file, ("backtests", number))
            tell(place, f"a second record of {quote(one.rule)} on {quote(one.service)}; keep one of them")
        seen.add((one.service, one.rule))
    twice = {key for key, count in Counter((one.service, one.rule) for one in found).items() if count > 1}
    return tuple(one for one in found if (one.service, one.rule) not in twice)


def _parted(words: str) -> tuple[str, tuple[str | int, ...]]:
    """What is wrong in lower case, and the path to it as keys and indexes."""
    words, _, path = words.partition(" - at `")
    parts = re.findall(r"\.([^.\[`]+)|\[(\d+)\]", path)
    return words[:1].lower() + words[1:], tuple(name or int(index) for name, index in parts)


def _place(file: Path, path: tuple[str | int, ...]) -> Position:
    """Where a value stands: JSON is YAML, read once more with places."""
    node = read(file, Problems(), secrets=None)
    return Position(file=file, line=1, column=1) if node is None else node.find(path).at


def _byte(file: Path, content: bytes, words: str) -> Position:
    found = re.search(r"\(byte (\d+)\)", words)
    before = content[: int(found[1])] if found else content
    lines = before.decode("utf-8", "replace").split("\n")
    return Position(file=file, line=len(lines), column=len(lines[-1]) + 1)
