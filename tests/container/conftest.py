"""One image for the whole run: it takes a minute or two to make."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.container.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine with the image, and no trace of it at the end."""
    # Podman takes no --runroot of more than 50 characters, which pytest's folders may exceed.
    engine = Engine(Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp")))
    try:
        engine.make_base()
        engine.make_wheels()
        engine.make_image()
        yield engine
    finally:
        engine.close()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left at the end, in the reverse order."""
    async with AsyncExitStack() as stack:
        yield stack
