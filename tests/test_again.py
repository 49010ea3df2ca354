"""Who gets a second chance."""

from __future__ import annotations

import pytest

from tests.again import MOST, NEVER, refused


@pytest.mark.parametrize("folder", NEVER)
def test_what_is_pure_or_a_proof_gets_none(folder: str) -> None:
    name = f"{folder.removesuffix('.py')}.py::test_something"
    assert name in refused(["tests/e2e/test_people.py::test_other", name])


def test_a_few_that_wait_for_real_servers_get_one() -> None:
    assert refused(["tests/store/test_postgresql.py::test_it", "tests/e2e/test_people.py::test_other"]) == ""
    assert refused([f"tests/e2e/test_people.py::test_{number}" for number in range(MOST)]) == ""


@pytest.mark.parametrize(
    "failed",
    [
        [],
        [f"tests/e2e/test_people.py::test_{number}" for number in range(MOST + 1)],
        ["tests/e2e/test_people.py"],
    ],
    ids=["nothing", "too many", "a file that cannot be collected"],
)
def test_whatever_else_is_wrong_stays_red(failed: list[str]) -> None:
    assert refused(failed)
