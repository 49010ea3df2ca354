"""The catalogue beside this file: no row may be lost, and none may name a test that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.named import exists, named_in

_ROW = re.compile(r"^\| ([A-F]\d+) \| ([^|]+) \| (.*) \|$", re.MULTILINE)
PAGE = (Path(__file__).parent / "README.md").read_text()
ROWS = _ROW.findall(PAGE)
#: How many rows each part of the catalogue has.
PARTS = {"A": 15, "B": 7, "C": 8, "D": 17, "E": 12, "F": 12}


def test_every_way_of_going_wrong_has_one_row() -> None:
    wanted = [f"{part}{number + 1}" for part, count in PARTS.items() for number in range(count)]

    assert [row[0] for row in ROWS] == wanted
    assert len(ROWS) == 71


@pytest.mark.parametrize(
    ("row", "held"), [(row, held) for row, _, held in ROWS], ids=[row[0] for row in ROWS]
)
def test_every_row_names_tests_or_says_why_it_has_none(row: str, held: str) -> None:
    named = named_in(held)
    if not named:
        assert len(held.split()) >= 4, f"{row} has neither a test nor a reason"
    assert "tests/" not in re.sub(r"`[^`]*`", "", held), f"{row}: tests are named in backticks"
    assert len(set(named)) == len(named), f"{row} names a test twice"
    assert [it for it in named if not exists(it)] == []
