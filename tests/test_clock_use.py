"""Only the clock's module looks at the machine's clocks; what else does is named here, with the reason.

A test can bring its own time only where everybody asks for it at the same door.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "watchdog"
#: What tells the time or waits, by its last two words.
BANNED = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.sleep",
    "time.clock_gettime",
    "datetime.now",
    "datetime.utcnow",
    "date.today",
    "asyncio.sleep",
    "loop.time",
}
#: File or folder, what it may use, and why.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "aio/clock.py": (BANNED, "it is the clock"),
    "testing/": ({"asyncio.sleep", "loop.time"}, "time for tests is the loop's"),
    "cli/": (
        {"datetime.now", "asyncio.sleep", "loop.time", "time.perf_counter"},
        "a command shows how long ago things were, or how long they took, and waits for a daemon: no decision",
    ),
    "lab/": (
        {"time.monotonic", "time.time", "time.sleep"},
        "history is asked for in real time, by synchronous code",
    ),
    "demo/": ({"time.time", "time.monotonic", "asyncio.sleep", "loop.time"}, "it plays in real time"),
    "aio/supervise.py": (
        {"asyncio.sleep", "loop.time"},
        "pauses of the loop's own tasks, also before any clock",
    ),
    "postgres/": ({"loop.time"}, "the deadline of asyncio.timeout is the loop's"),
    "store/": ({"asyncio.sleep"}, "what other processes ask is looked for now and then, in the loop's time"),
    "probes/": ({"loop.time"}, "the deadline of asyncio.timeout is the loop's"),
    "sources/": ({"loop.time"}, "the deadline of asyncio.timeout is the loop's"),
    "traffic/nginx_master.py": (
        {"time.time_ns"},
        "files are dated by the machine's clock, workers by boot time",
    ),
    "traffic/": (
        {"loop.time", "asyncio.sleep"},
        "the deadline of asyncio.timeout is the loop's; nginx is polled until then",
    ),
}


def named(node: ast.AST) -> str:
    """`asyncio.sleep` of `asyncio.sleep(1)`, `loop.time` of `asyncio.get_running_loop().time()`."""
    if not isinstance(node, ast.Attribute):
        return ""
    value = node.value
    if isinstance(value, ast.Call):
        value = value.func
        owner = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
        return f"loop.{node.attr}" if owner.endswith("_loop") else ""
    owner = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return f"{owner.lstrip('_')}.{node.attr}"


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything banned: used, passed on, or imported by itself."""
    for node in ast.walk(tree):
        name = named(node)
        # `asyncio.sleep(0)` only lets others run.
        if name in BANNED:
            yield getattr(node, "lineno", 0), name
        if isinstance(node, ast.ImportFrom) and node.module in {"time", "asyncio"}:
            yield from (
                (node.lineno, f"{node.module}.{one.name}")
                for one in node.names
                if f"{node.module}.{one.name}" in BANNED
            )


def yielding(tree: ast.AST) -> set[int]:
    """Lines of `asyncio.sleep(0)`, which waits for nothing."""
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and named(node.func) == "asyncio.sleep"
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == 0
    }


def allowed(place: str) -> set[str]:
    return {name for key, (names, _) in ALLOWED.items() if place.startswith(key) for name in names}


def found(source: str, place: str) -> list[str]:
    tree = ast.parse(source)
    harmless = yielding(tree)
    return [
        f"{place}:{line}: {name}"
        for line, name in uses(tree)
        if name not in allowed(place) and not (name == "asyncio.sleep" and line in harmless)
    ]


def test_nobody_but_the_clock_looks_at_the_machines_clocks() -> None:
    everything = [
        one
        for path in sorted(ROOT.rglob("*.py"))
        for one in found(path.read_text(), path.relative_to(ROOT).as_posix())
    ]
    assert everything == [], "take the clock that is handed in, or say in ALLOWED why not"


@pytest.mark.parametrize(
    "text",
    [
        "import time\nx = time.time()",
        "import time\nx = [time.monotonic][0]()",
        "from time import monotonic",
        "from datetime import datetime, UTC\nx = datetime.now(UTC)",
        "import datetime\nx = datetime.datetime.now()",
        "import asyncio\nx = asyncio.get_running_loop().time()",
        "x = self._loop.time()",
        "import asyncio\nasync def f(): await asyncio.sleep(0.1)",
    ],
)
def test_each_way_of_looking_is_found(text: str) -> None:
    assert len(found(text, "engine/anything.py")) == 1


def test_letting_others_run_is_no_waiting() -> None:
    assert found("import asyncio\nasync def f(): await asyncio.sleep(0)", "engine/anything.py") == []


@pytest.mark.parametrize("place", ALLOWED)
def test_every_exception_is_still_needed(place: str) -> None:
    names, why = ALLOWED[place]
    assert why
    paths = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
    used = {name for path in paths for _, name in uses(ast.parse(path.read_text()))}
    if place != "aio/clock.py":
        assert names == names & used, f"not used any more: {names - used}"
