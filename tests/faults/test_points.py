"""Every place where executor, dispatcher and store touch the outside has a fault point on both of its sides.

What happens when the daemon dies there is then tried by `tests/faults/test_crash.py`, which takes every point.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import watchdog
from watchdog.aio import faultpoint
from watchdog.aio.faultpoint import Around, Point, Transaction

PACKAGE = Path(watchdog.__file__).parent
AROUNDS = {name for name, value in vars(faultpoint).items() if isinstance(value, Around)}
TRANSACTIONS = {name for name, value in vars(faultpoint).items() if isinstance(value, Transaction)}
#: Run coroutines that are given to them; those are looked at where they are made.
CARRIERS = {"finish", "run_all"}
#: How executor and dispatcher call them: what reaches the outside, or the rest of the daemon.
DOORS = {"_switches", "_paused", "_deliver", "_store", "channel"}
ENGINE = [
    "engine/executor.py",
    "engine/dispatcher.py",
    "engine/lane.py",
    "engine/ledger.py",
    "engine/outbox.py",
    "engine/sending.py",
]
#: Parts of the dispatcher in modules of their own, which are looked at, too.
PARTS = ("_ledger", "_questions", "_sending", "lane")


class Uncovered(ast.NodeVisitor):
    """Finds awaits and calls of providers that are not inside of an `Around`."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[str] = []
        self._covered = False
        self._arounds = set(AROUNDS)
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        self._own = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
        #: Local functions that are handed over together with an `Around`: it is put around them.
        self._handed = {
            word.func.id
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and self._brings_around(call)
            for word in call.args
            if isinstance(word, ast.Call) and isinstance(word.func, ast.Name)
        }
        self.visit(tree)

    def _is_around(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._arounds

    def _brings_around(self, call: ast.Call) -> bool:
        return any(self._is_around(word) for word in call.args)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = self._covered, self._arounds
        given = {word.arg for word in node.args.args if _text(word.annotation) == "Around"}
        self._covered, self._arounds = node.name in self._handed, self._arounds | given
        self.generic_visit(node)
        self._covered, self._arounds = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  the visitor's names

    def visit_With(self, node: ast.With) -> None:
        self._cover(node, any(self._is_around(one.context_expr) for one in node.items))

    def visit_Call(self, node: ast.Call) -> None:
        if DOORS & _reached(node.func) and not self._covered:
            self.found.append(_text(node))
        self._cover(node, self._brings_around(node))

    def visit_Await(self, node: ast.Await) -> None:
        if not self._covered and not self._ours(node.value):
            self.found.append(_text(node))
        self.generic_visit(node)

    def _ours(self, value: ast.expr) -> bool:
        """A coroutine of this module, which is looked at itself."""
        if not isinstance(value, ast.Call):
            return False
        if isinstance(value.func, ast.Name):
            return value.func.id in CARRIERS
        called = _text(value.func).removeprefix("self.")
        return called in self._own or called.partition(".")[0] in PARTS

    def _cover(self, node: ast.AST, covers: bool) -> None:
        before, self._covered = self._covered, self._covered or covers
        self.generic_visit(node)
        self._covered = before


def _text(node: ast.AST | None) -> str:
    return ast.unparse(node) if node is not None else ""


def _reached(node: ast.expr) -> set[str]:
    """The attributes on the way to what is called: `self._switches[name].read` goes through three."""
    match node:
        case ast.Attribute():
            return {node.attr} | _reached(node.value)
        case ast.Subscript():
            return _reached(node.value)
        case ast.Call():
            return _reached(node.func)
        case _:
            return set()


def uncovered(source: str) -> list[str]:
    return Uncovered(ast.parse(source)).found


def uncovered_commits(path: str, source: str) -> list[str]:
    """Transactions of the store that pass no points, and writes that name none."""
    tree = ast.parse(source)
    found = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = _text(function)
        passed = all(f"passing(during.{name})" in text for name in Transaction._fields)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            called = _text(call.func)
            if re.search(r"\.(begin|commit)$|^commit$", called) and not passed:
                found.append(f"{path}: {_text(call)}")
            if called in {"self._writes.run", "self._write"} and not any(
                word.arg == "during" and _text(word.value) in TRANSACTIONS | {"during"}
                for word in call.keywords
            ):
                found.append(f"{path}: {_text(call)}")
    return found


@pytest.mark.parametrize("path", ENGINE)
def test_no_await_and_no_call_of_a_provider_is_without_a_fault_point(path: str) -> None:
    assert uncovered((PACKAGE / path).read_text()) == []


def test_no_commit_of_the_store_is_without_fault_points() -> None:
    found = [
        one
        for path in sorted((PACKAGE / "store").glob("*.py"))
        for one in uncovered_commits(path.name, path.read_text())
    ]
    assert found == ["sqlite.py: connection.begin()"], "it looks at the schema, and never commits"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("engine/executor.py", "with READ:", "if True:"),
        ("engine/executor.py", "with GUARDS:", "if True:"),
        ("engine/executor.py", "with WRITE:", "if True:"),
        ("engine/executor.py", "with OUTCOME:", "if True:"),
        ("engine/executor.py", "with PAUSE:", "if True:"),
        ("engine/executor.py", "attempt.rested()", "await self._journal.note(attempt)"),
        ("engine/executor.py", "attempt.rested()", "asyncio.create_task(self._switches['x'].read())"),
        ("engine/outbox.py", "with around:", "if True:"),
        ("engine/sending.py", "with SEND:", "if True:"),
        ("engine/sending.py", "with WAIT:", "if True:"),
        ("engine/ledger.py", '"settle", SETTLE,', '"settle", None,'),
        ("engine/ledger.py", "self._entered.clear()", "await self._store.settle_many([])"),
        ("engine/dispatcher.py", '"due", DUE,', '"due", None,'),
        ("engine/dispatcher.py", "lane.sending.add(parcel)", "await self._store.take(wanted)"),
    ],
)
def test_a_new_await_or_call_without_one_is_found(path: str, old: str, new: str) -> None:
    source = (PACKAGE / path).read_text()
    assert old in source
    assert uncovered(source.replace(old, new)) != []


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("store/lane.py", "passing(during.written)", ""),
        ("store/lane.py", "passing(during.committed)", "self._connection.commit()"),
        ("store/sql.py", ", during=TURN", ""),
        ("store/sql.py", "work, during=SETTLING", "work"),
    ],
)
def test_a_new_commit_without_one_is_found(path: str, old: str, new: str) -> None:
    source = (PACKAGE / path).read_text()
    assert old in source
    assert uncovered_commits(path, source.replace(old, new)) != []


def test_every_point_says_what_it_is_and_is_passed_somewhere() -> None:
    source = (PACKAGE / "aio/faultpoint.py").read_text()
    used = {point for name, value in vars(faultpoint).items() if name in AROUNDS for point in _ends(value)}
    used |= {point for name in TRANSACTIONS for point in getattr(faultpoint, name)}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "faultpoint.py":
            text = path.read_text()
            names = re.findall(r"passing\(Point\.(\w+)\)", text)
            used |= {Point[name] for name in names}
    assert used == set(Point)
    for point in Point:
        assert re.search(rf'    {point.name} = "{point.value}"\n    """[A-Z]', source), (
            f"{point.name} says nothing"
        )
    everything = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "faultpoint.py")
    for name in AROUNDS:
        assert re.search(rf"with {name}:|, {name}, ", everything), f"nothing passes {name}"
    for name in TRANSACTIONS:
        assert f"during={name}" in everything, f"nothing passes {name}"


def _ends(around: Around) -> tuple[Point, Point]:
    return around.before, around.after


def test_nothing_an_operator_can_write_installs_a_hook() -> None:
    """The package itself never does; only code of another process's own can."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "faultpoint.install" not in text, path
        assert not re.search(r"faultpoint import [^#\n]*\binstall\b", text), path
    source = ast.parse((PACKAGE / "aio/faultpoint.py").read_text())
    imported = {
        name
        for node in ast.walk(source)
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"__future__", "collections.abc", "enum", "types", "typing"}


def test_a_point_calls_the_hook_and_nothing_when_there_is_none() -> None:
    passed: list[Point] = []
    faultpoint.install(passed.append)
    try:
        with faultpoint.WRITE:
            passed.append(Point.INTENT_TAKEN)
        with pytest.raises(ValueError, match="broken"), faultpoint.READ:
            raise ValueError("broken")
        faultpoint.passing(Point.TURN_BEGUN)
    finally:
        faultpoint.install(None)
    with faultpoint.WRITE:
        faultpoint.passing(Point.TURN_BEGUN)
    assert passed == [
        Point.BEFORE_WRITE,
        Point.INTENT_TAKEN,
        Point.AFTER_WRITE,
        Point.BEFORE_READ,
        Point.AFTER_READ,
        Point.TURN_BEGUN,
    ]
