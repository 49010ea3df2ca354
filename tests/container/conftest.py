"""One image for the whole run: it takes a minute or two to make."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.container.engine import Engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the image, and no trace of it at the end."""
    engine = Engine(tmp_path_factory.mktemp("containers"))
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
