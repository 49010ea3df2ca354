"""One time of leading, as far as it can be tried without another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.app.conftest import Home
from watchdog.aio.clock import SystemClock
from watchdog.app.term import Term
from watchdog.core.errors import WatchdogError
from watchdog.engine.pause import PauseFile
from watchdog.leader.single import SingleLeadership
from watchdog.store.interface import Store
from watchdog.store.registry import make_store
from watchdog.telemetry.metrics import Metrics

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    found = make_store(home.load().store)
    await found.open()
    yield found
    await found.aclose()


async def test_who_lost_the_lead_before_the_claim_takes_the_store_from_nobody(
    home: Home, store: Store
) -> None:
    configuration = home.load()
    term = Term(
        configuration,
        began=configuration,
        store=store,
        leadership=SingleLeadership(),
        metrics=Metrics(lambda: None),
        pause=PauseFile(configuration.pause_file),
        guard=lambda: None,
        clock=SystemClock(),
        seed=1,
    )
    epoch = await store.claim(now=NOW)
    try:
        with pytest.raises(WatchdogError, match="the lead was lost"):
            await term.begin(anew="somebody")
    finally:
        await term.drop()
        await term.aclose()
    assert not term.leading
    assert await store.claim(now=NOW) == epoch + 1
