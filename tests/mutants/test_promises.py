"""The ways of breaking the promises still fit the code: `make mutants` breaks them."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.breaking import row_of
from tests.mutants.promises import BROKEN, Broken
from tests.named import ROOT, exists


@pytest.mark.parametrize("broken", BROKEN, ids=lambda it: it.how.replace(" ", "-"))
def test_every_way_of_breaking_a_promise_fits_the_code_and_the_readme(broken: Broken) -> None:
    text = (ROOT / broken.file).read_text()

    assert text.count(broken.old) == 1
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(text.replace(broken.old, broken.new)))
    assert set(broken.killed_by) <= set(row_of(broken))
    assert [it for it in (*broken.killed_by, *broken.also) if not exists(it)] == []
