"""Regular expressions on what a target said: found, not found, and never at the loop's cost."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from watchdog.probes.matching import NotSearched, found

#: Seconds that a process may take to start on a busy machine.
PATIENT = 30.0
PAGE = 'status: "up"\nversion: v1.4.2\n' + "a" * 60_000


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up", True),
        ("(up|fine)", True),
        (r"v1\.4\.2$", True),
        ("^version", True),
        ("down", False),
        (r"v\d+\.\d+", True),
        ("^version: v[0-9.]+$", True),
        ("(?i)VERSION", True),
        ("v2.*", False),
        (r"\?", False),
        ("[+*]", False),
    ],
)
async def test_an_expression_is_found_where_it_stands(expression: str, expected: bool) -> None:
    assert await found(expression, PAGE, within=PATIENT) is expected


async def test_letters_of_any_script_are_found() -> None:
    assert await found("^grün.*é$", "grün wie é", within=PATIENT)
    assert not await found("x+", "\udcff", within=PATIENT)


async def test_an_expression_that_takes_for_ever_stops_nobody_and_is_our_own_inability() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    busy = asyncio.create_task(others())
    with pytest.raises(NotSearched, match="was not over after 1 s"):
        await found("(a+)+$", "a" * 60_000 + "b")
    busy.cancel()
    # The loop went on all the while; a search of its own would have let it turn twice.
    assert turns > 10


@pytest.mark.parametrize("expression", ["(a|a)" * 40 + "b", "(.*)(.*)(.*)(.*)(.*)(.*)b"])
async def test_whatever_can_take_for_ever_is_searched_outside(expression: str) -> None:
    with pytest.raises(NotSearched):
        await found(expression, "a" * 60_000)


def test_it_searches_on_the_daemons_own_loop() -> None:
    assert uvloop.run(found("a{3,}", PAGE, within=PATIENT))
