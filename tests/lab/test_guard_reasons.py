"""What expectations may name is what the code can say: reasons of guards are plain texts there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from watchdog.lab.recording import FIELDS, What
from watchdog.lab.testfile_events import KINDS
from watchdog.lab.testfile_expect import FLAGS, GUARD_REASONS, MAIN, NUMBERS, WORDS
from watchdog.lab.testfile_shapes import EventShape, ExpectShape

CORE = Path(__file__).parents[2] / "watchdog/core"
#: Functions that answer with a reason and words for it.
ANSWERS = {
    CORE / "targets.py": ("choose", "_candidate"),
    CORE / "arming.py": ("unproven",),
    CORE.parent / "config/arming.py": ("_shortfall",),
}


def texts(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def vetoes() -> Iterator[str]:
    """The `reason` of every veto, and the `problem` of every target that is none."""
    for name in ("guards.py", "targets.py", "deciding.py", "viewing.py"):
        for call in ast.walk(ast.parse((CORE / name).read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Veto", "Target"):
                for keyword in call.keywords:
                    if keyword.arg in ("reason", "problem"):
                        yield from texts(keyword.value)


def answers() -> Iterator[str]:
    """The first of every pair in functions that answer with a reason and words."""
    for file, names in ANSWERS.items():
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef) and function.name in names:
                pairs = [one.elts[0] for one in ast.walk(function) if isinstance(one, ast.Tuple) and one.elts]
                yield from (str(one.value) for one in pairs if isinstance(one, ast.Constant))


def given() -> set[str]:
    """Every reason that there is."""
    return {one for one in (*vetoes(), *answers()) if one and " " not in one and one != "None"}


def test_every_reason_that_a_guard_can_give_can_be_expected() -> None:
    assert given() <= set(GUARD_REASONS)


def test_no_reason_can_be_expected_that_no_guard_gives() -> None:
    assert set(GUARD_REASONS) <= given()


def test_every_kind_of_happening_has_a_key_and_a_field_for_a_word() -> None:
    assert set(What) <= set(ExpectShape.model_fields)
    assert set(KINDS) < set(EventShape.model_fields)
    assert all(MAIN[what] in FIELDS[what] for what in What)
    assert all(name in FIELDS[what] for what, name in WORDS)
    fields = {name for names in FIELDS.values() for name in names}
    assert fields >= FLAGS | NUMBERS
