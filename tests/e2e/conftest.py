"""A stage for every test; taken down in the reverse order, whatever happened on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Nothing runs yet: see `Stage`."""
    async with AsyncExitStack() as stack:
        yield Stage(tmp_path, stack)
