from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.channels.messages import USUAL
from watchdog.core.check import CheckId
from watchdog.core.checks import Poll
from watchdog.core.errors import StoreError
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.lateness import What
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.core.rule import Level, Severity
from watchdog.core.storm import Storm
from watchdog.core.turn import Turn
from watchdog.core.world import World
from watchdog.engine.auditor import Auditor
from watchdog.engine.scheduler import Round
from watchdog.store.interface import Standing
from watchdog.telemetry.metrics import Metrics
from watchdog.testing.clock import LoopClock
from watchdog.testing.store import MemoryStore

pytestmark = pytest.mark.virtual_time

CHANNELS = ("oncall", "ops")


class Outbox(MemoryStore):
    """A store that can fail and hang."""

    fault: StoreError | None = None
    hangs = 0.0
    looks = 0

    async def outbox_standing(self) -> Standing:
        self.looks += 1
        await asyncio.sleep(self.hangs)
        if self.fault is not None:
            raise self.fault
        return await super().outbox_standing()


class Engine:
    """A reactor that takes a turn a second, while it does."""

    def __init__(self, clock: LoopClock) -> None:
        self.world = World(services={})
        self.store_error = ""
        self.stuck_at: datetime | None = None
        self._clock = clock

    @property
    def turn_at(self) -> datetime:
        return self.stuck_at or self._clock.now()

    @turn_at.setter
    def turn_at(self, _at: datetime) -> None: ...


class Rig:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.engine = Engine(self.clock)
        self.store = Outbox()
        self.metrics = Metrics(lambda: None)
        self.polled: Round[Poll] | None = None
        self.auditor = Auditor(
            engine=self.engine,
            store=self.store,
            polled=lambda _: self.polled,
            critical=lambda: timedelta(seconds=30),
            channels=lambda: CHANNELS,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.task = asyncio.create_task(self.auditor.run())

    @property
    def late(self) -> list[What]:
        return [one.what for one in self.auditor.found()]

    def shown(self) -> list[str]:
        """What the metric says is late."""
        lines = self.metrics.render().decode().splitlines()
        return [
            line.split('"')[1]
            for line in lines
            if line.startswith("watchdog_late{") and line.endswith(" 1.0")
        ]

    async def store_messages(
        self, *states: OutgoingState, key: str = "k", needs_human: bool = True, incident: str | None = None
    ) -> None:
        """One message, in a state on each channel."""
        now = self.clock.now()
        message = replace(
            USUAL,
            key=key,
            created_at=now,
            needs_human=needs_human,
            severity=Severity.CRITICAL,
            incident=incident,
        )
        rows = [
            Outgoing(key=f"{key}@{channel}", channel=channel, message=message, due_at=now)
            for channel, _ in zip(CHANNELS, states, strict=True)
        ]
        await self.store.commit(Turn(outbox=tuple(rows)))
        for row, state in zip(rows, states, strict=True):
            later = now + timedelta(hours=2) if state is OutgoingState.PENDING else now
            await self.store.settle(row.key, state=state, due_at=later, last_error="tried")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    one = Rig()
    await one.store.open()
    await one.store.claim(now=one.clock.now())
    yield one
    one.task.cancel()
    await asyncio.gather(one.task, return_exceptions=True)


async def test_nothing_is_late_in_a_watchdog_that_works(rig: Rig) -> None:
    await asyncio.sleep(3600)
    assert rig.late == []
    assert rig.shown() == []
    assert rig.store.looks >= 719


async def test_a_reactor_that_stands_still_is_late_until_it_goes_on(rig: Rig) -> None:
    rig.engine.stuck_at = rig.clock.now()
    with capture_logs() as told:
        await asyncio.sleep(60)
        assert rig.late == [What.REACTOR]
        assert rig.shown() == ["reactor"]
        rig.engine.stuck_at = None
        await asyncio.sleep(6)
    assert rig.late == []
    assert rig.shown() == []
    assert [one["event"] for one in told] == ["late", "late_no_more"]


async def test_a_message_that_nobody_tries_is_late(rig: Rig) -> None:
    row = Outgoing(key="k@ops", channel="ops", message=USUAL, due_at=rig.clock.now())
    await rig.store.commit(Turn(outbox=(row,)))
    await asyncio.sleep(119)
    assert rig.late == []
    await asyncio.sleep(10)
    assert rig.late == [What.OUTBOX]


async def test_a_channel_that_is_tried_and_fails_is_not_the_dispatchers_fault(rig: Rig) -> None:
    await rig.store_messages(OutgoingState.PENDING, OutgoingState.SENT, needs_human=False)
    waits = Outgoing(key="behind@oncall", channel="oncall", message=USUAL, due_at=rig.clock.now())
    await rig.store.commit(Turn(outbox=(waits,)))
    await asyncio.sleep(300)
    assert rig.late == []
    other = Outgoing(key="other@ops", channel="ops", message=USUAL, due_at=rig.clock.now())
    await rig.store.commit(Turn(outbox=(other,)))
    await asyncio.sleep(130)
    (found,) = rig.auditor.found()
    assert found.detail.startswith("a message for ops has waited 2m")


async def test_a_message_that_needs_somebody_and_reached_nobody_is_late(rig: Rig) -> None:
    await rig.store_messages(OutgoingState.PENDING, OutgoingState.DEAD)
    await asyncio.sleep(590)
    assert rig.late == []
    await asyncio.sleep(20)
    assert rig.late == [What.MESSAGE]


async def test_a_message_that_one_channel_took_is_not_late_on_the_others(rig: Rig) -> None:
    await rig.store_messages(OutgoingState.PENDING, OutgoingState.SENT)
    await asyncio.sleep(3600)
    assert rig.late == []


async def test_one_that_reached_nobody_is_found_behind_others_that_did(rig: Rig) -> None:
    for number in range(5):
        await rig.store_messages(OutgoingState.PENDING, OutgoingState.SENT, key=f"k{number}")
    await rig.store_messages(OutgoingState.PENDING, OutgoingState.PENDING, key="lost")
    await asyncio.sleep(700)
    assert rig.late == [What.MESSAGE]


def open_incident(rig: Rig, state: IncidentState = IncidentState.OPEN) -> None:
    now = rig.clock.now()
    incident = Incident(
        id="inc-1",
        kind=IncidentKind.STORM,
        state=state,
        subject="",
        environment="",
        opened_at=now,
        level=Level.CRITICAL,
        severity=Severity.CRITICAL,
        summary="many",
    )
    rig.engine.world = World(services={}, storm=Storm(incident=incident))


async def test_what_every_channel_gave_up_is_late_until_somebody_takes_the_incident(rig: Rig) -> None:
    open_incident(rig)
    await rig.store_messages(OutgoingState.DEAD, OutgoingState.DEAD, incident="inc-1")
    await asyncio.sleep(590)
    assert rig.late == []
    await asyncio.sleep(20)
    assert rig.late == [What.MESSAGE]
    open_incident(rig, IncidentState.ACKNOWLEDGED)
    await asyncio.sleep(6)
    assert rig.late == []


@pytest.mark.parametrize("later", ["channel_failed:k@oncall", "escalated"])
async def test_what_was_given_up_is_not_missed_once_anything_of_it_arrives(rig: Rig, later: str) -> None:
    open_incident(rig)
    await rig.store_messages(OutgoingState.DEAD, OutgoingState.DEAD, incident="inc-1")
    await asyncio.sleep(700)
    assert rig.late == [What.MESSAGE]
    await rig.store_messages(OutgoingState.DEAD, OutgoingState.SENT, key=later, incident="inc-1")
    await asyncio.sleep(700)
    assert rig.late == []


async def test_what_needs_nobody_is_not_missed(rig: Rig) -> None:
    await rig.store_messages(OutgoingState.PENDING, OutgoingState.PENDING, needs_human=False)
    await asyncio.sleep(3600)
    assert rig.late == []


async def test_a_store_that_fails_is_late(rig: Rig) -> None:
    rig.store.fault = StoreError("disk full")
    await asyncio.sleep(6)
    (found,) = rig.auditor.found()
    assert (found.what, found.detail) == (What.STORE, "the store does not work: disk full")
    rig.store.fault = None
    rig.engine.store_error = "read-only"
    await asyncio.sleep(6)
    assert rig.auditor.found()[0].detail == "the store does not work: read-only"


async def test_a_store_that_hangs_is_late_and_holds_nothing_up(rig: Rig) -> None:
    rig.store.hangs = 1e6
    await asyncio.sleep(16)
    assert rig.late == [What.STORE]


async def test_checks_that_are_not_polled_are_late(rig: Rig) -> None:
    rig.polled = Round(key=CheckId(service="trips", rule="error-rate"), at=0.0, whole=True)
    await asyncio.sleep(89)
    assert rig.late == []
    await asyncio.sleep(10)
    (found,) = rig.auditor.found()
    assert found.what is What.CHECKS
    assert found.detail.startswith("trips/error-rate was not polled for 1m")


async def test_nobody_looking_is_late_too(rig: Rig) -> None:
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)
    await asyncio.sleep(61)
    assert rig.late == [What.AUDIT]


async def test_looking_that_breaks_and_begins_again_and_again_is_nobody_looking(rig: Rig) -> None:
    del rig.engine.world
    for _ in range(20):
        await asyncio.gather(rig.task, return_exceptions=True)
        rig.task = asyncio.create_task(rig.auditor.run())
    assert rig.late == [What.AUDIT]


async def test_who_follows_finds_nothing_and_leaves_nothing_in_the_metric(rig: Rig) -> None:
    rig.engine.stuck_at = rig.clock.now()
    await asyncio.sleep(60)
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)
    assert rig.shown() == []
