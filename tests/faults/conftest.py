"""A fleet for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.fake_prometheus import FakePrometheus
from tests.faults.fleet import Fleet


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left at the end, in the reverse order."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def fleet(tmp_path: Path, stack: AsyncExitStack) -> Fleet:
    """Nothing runs yet but the fake Prometheus: see `Fleet`."""
    prometheus = await stack.enter_async_context(FakePrometheus())
    return Fleet(tmp_path, stack, prometheus)
