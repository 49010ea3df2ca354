from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.engine.worlds import HOUR
from watchdog.channels.interface import Chart
from watchdog.charts.picture import Mark, Picture
from watchdog.core.check import CheckId
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.events import Observed
from watchdog.core.message import Evidence, Message, MessageKind, Outgoing
from watchdog.core.observation import Value
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Direction, Level, Severity, Unit
from watchdog.core.service import Service
from watchdog.core.turn import Turn
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.charting import KEPT, KEPT_FOR, UNDER_WAY, WAIT, Charting, alt_of, marks_of, picture_of
from watchdog.engine.history import History
from watchdog.testing.clock import BASE, LoopClock

pytestmark = pytest.mark.virtual_time

_CHECK = CheckId(service="trips", rule="errors", version="v2")
_EVIDENCE = Evidence(
    check=_CHECK,
    unit=Unit.RATIO,
    direction=Direction.ABOVE,
    level=Level.ROLLBACK,
    since=BASE + timedelta(minutes=3),
    value=0.032,
    limit=0.02,
    warning=0.005,
    critical=0.01,
    rollback=0.02,
)


class _Artist:
    """Takes `takes` seconds a picture, one after the other; gives up like the real one."""

    def __init__(self) -> None:
        self.takes = 0.1
        self.ready = True
        self.drawn: list[Picture] = []
        self._hand = asyncio.Lock()

    @property
    def idle(self) -> bool:
        return self.ready and not self._hand.locked()

    async def draw(self, picture: Picture, *, within: float) -> bytes | None:
        try:
            async with asyncio.timeout(within), self._hand:
                await asyncio.sleep(self.takes)
        except TimeoutError:
            return None
        self.drawn.append(picture)
        return f"png {len(self.drawn)}".encode()


class _Stage:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.artist = _Artist()
        self.world = World(
            services={"trips": ServiceWorld(service=Service(name="trips", rules=()), rules={})}
        )
        self.charting = Charting(
            self.artist,
            history=History(clock=self.clock),
            world=lambda: self.world,
            shows=lambda channel: channel in {"slack", "mail"},
            clock=self.clock,
        )
        self.charting.on = True

    def message(self, key: str = "opened:1") -> Message:
        return Message(
            key=key,
            kind=MessageKind.INCIDENT_OPENED,
            severity=Severity.CRITICAL,
            headline="trips: errors",
            created_at=self.clock.now(),
            evidence=_EVIDENCE,
        )

    def observe(self, *values: float) -> None:
        now = self.clock.now()
        events = tuple(
            Observed(
                check=_CHECK,
                observation=Value(value=value, at=now - timedelta(seconds=len(values) - number)),
                arrived_at=now,
            )
            for number, value in enumerate(values)
        )
        self.charting.committed(self.world, Turn(), events)

    def commit(self, *messages: Message, channels: tuple[str, ...] = ("slack", "mail", "text")) -> None:
        rows = tuple(
            Outgoing(key=f"{one.key}@{channel}", channel=channel, message=one, due_at=one.created_at)
            for one in messages
            for channel in channels
        )
        self.charting.committed(self.world, Turn(outbox=rows), ())


@pytest.fixture
async def stage() -> AsyncIterator[_Stage]:
    made = _Stage()
    made.observe(0.01, 0.02, 0.032)
    yield made
    await made.charting.aclose()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_chart_is_begun_when_its_message_is_written_and_is_there_when_that_is_sent(
    stage: _Stage,
) -> None:
    message = stage.message()
    stage.commit(message)
    await asyncio.sleep(0.2)
    began = now()
    chart = await stage.charting.chart(message)
    assert chart == Chart(
        png=b"png 1",
        alt="Chart of trips/errors@v2 until 2026-01-01 00:00 UTC: 3.2%, "
        "above the rollback threshold of 2% since 00:03:00 UTC",
    )
    assert now() == began
    (picture,) = stage.artist.drawn
    assert picture.title == "trips · errors · v2"
    assert [value for _, value in picture.points] == pytest.approx([0.01, 0.02, 0.032])
    assert (picture.warning, picture.critical, picture.rollback) == (0.005, 0.01, 0.02)


async def test_several_channels_share_one_drawing(stage: _Stage) -> None:
    message = stage.message()
    stage.commit(message)
    charts = await asyncio.gather(*(stage.charting.chart(message) for _ in range(5)))
    assert len(stage.artist.drawn) == 1
    assert len({id(chart) for chart in charts}) == 1


async def test_a_chart_that_is_late_holds_no_message_longer_than_a_moment(stage: _Stage) -> None:
    stage.artist.takes = 3.0
    message = stage.message()
    stage.commit(message)
    began = now()
    assert await stage.charting.chart(message) is None
    assert now() - began == pytest.approx(WAIT)
    assert await stage.charting.chart(message) is None
    assert now() - began == pytest.approx(WAIT), "the next channel does not wait again"
    await asyncio.sleep(5)
    assert await stage.charting.chart(message) is not None, "sent again, it goes with it"


async def test_many_messages_at_once_wait_together_and_most_go_without(stage: _Stage) -> None:
    stage.artist.takes = 0.2
    messages = [stage.message(f"opened:{number}") for number in range(100)]
    stage.commit(*messages)
    began = now()
    charts = [await stage.charting.chart(message) for message in messages]
    assert now() - began <= WAIT + 0.3
    assert sum(chart is not None for chart in charts) >= 2
    await asyncio.sleep(60)
    assert len(stage.artist.drawn) <= UNDER_WAY + 2


async def test_without_evidence_or_samples_or_anybody_who_draws_there_is_no_chart(stage: _Stage) -> None:
    plain = replace(stage.message("plain"), evidence=None)
    unseen = CheckId(service="trips", rule="other")
    unknown = replace(stage.message("unknown"), evidence=replace(_EVIDENCE, check=unseen))
    stage.commit(plain, unknown)
    began = now()
    assert await stage.charting.chart(plain) is None
    assert await stage.charting.chart(unknown) is None
    stage.artist.ready = False
    assert await stage.charting.chart(stage.message("later")) is None
    assert now() == began
    assert not stage.artist.drawn


async def test_nothing_is_drawn_for_channels_that_show_no_pictures(stage: _Stage) -> None:
    stage.commit(stage.message(), channels=("text", "pager"))
    await asyncio.sleep(10)
    assert not stage.artist.drawn


async def test_nothing_is_remembered_or_drawn_where_nothing_shows_pictures(stage: _Stage) -> None:
    stage.charting.on = False
    stage.commit(stage.message())
    await asyncio.sleep(10)
    assert not stage.artist.drawn


async def test_a_message_of_before_the_start_gets_a_chart_only_while_it_is_young(stage: _Stage) -> None:
    young = stage.message("young")
    assert await stage.charting.chart(young) is not None
    old = replace(stage.message("old"), created_at=stage.clock.now() - HOUR)
    assert await stage.charting.chart(old) is None


async def test_a_message_that_was_not_begun_waits_for_nobody_else_chart(stage: _Stage) -> None:
    stage.artist.takes = 3.0
    stage.commit(stage.message("one"))
    await asyncio.sleep(0.1)
    began = now()
    assert await stage.charting.chart(stage.message("other")) is None
    assert now() == began


async def test_charts_are_kept_for_a_while_and_only_so_many(stage: _Stage) -> None:
    messages = [stage.message(f"opened:{number}") for number in range(KEPT + 10)]
    for message in messages:
        stage.commit(message)
        await stage.charting.chart(message)
    drawn = len(stage.artist.drawn)
    assert drawn == KEPT + 10
    assert await stage.charting.chart(messages[-1]) is not None
    assert len(stage.artist.drawn) == drawn
    assert await stage.charting.chart(messages[0]) is not None
    assert len(stage.artist.drawn) == drawn + 1, "it was forgotten"
    await asyncio.sleep(KEPT_FOR.total_seconds() + 1)
    stage.commit(stage.message("next"))
    assert await stage.charting.chart(messages[-1]) is None


async def test_whoever_sends_may_be_cancelled_and_the_others_still_get_it(stage: _Stage) -> None:
    message = stage.message()
    stage.commit(message)
    sending = asyncio.create_task(stage.charting.chart(message))
    await asyncio.sleep(0.05)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await stage.charting.chart(message) is not None


async def test_a_stop_ends_what_is_under_way(stage: _Stage) -> None:
    stage.artist.takes = 1.0
    message = stage.message()
    stage.commit(message)
    waiting = asyncio.create_task(stage.charting.chart(message))
    await asyncio.sleep(0.05)
    await stage.charting.aclose()
    assert await waiting is None
    assert now() < WAIT


def _rollback(applied: bool) -> Rollback:
    return Rollback(
        id=f"r-{applied}",
        key=f"r-{applied}",
        service="trips",
        deployment="d2",
        incident=None,
        state=RollbackState.APPLIED if applied else RollbackState.BLOCKED,
        automatic=True,
        requested_by="",
        reason="",
        from_variant="green",
        from_version="v2",
        to_variant="blue",
        to_version="v1",
        decided_at=BASE,
        applied_at=BASE + timedelta(minutes=2) if applied else None,
    )


async def test_deployments_and_switches_are_marked(stage: _Stage) -> None:
    def deployed(version: str, origin: Origin, at: timedelta | None) -> Deployment:
        return Deployment(
            id=version,
            service="trips",
            version=version,
            variant="green",
            state=DeploymentState.WATCHING,
            origin=origin,
            started_at=BASE,
            recorded_at=BASE,
            live_at=None if at is None else BASE + at,
        )

    service = replace(
        stage.world.services["trips"],
        deployments={
            one.id: one
            for one in (
                deployed("v1", Origin.ADOPTED, timedelta()),
                deployed("v2", Origin.POSTED, timedelta(minutes=1)),
                deployed("v3", Origin.POSTED, None),
                deployed("back", Origin.SWITCHED, timedelta(minutes=2)),
            )
        },
        rollbacks={one.id: one for one in (_rollback(applied=True), _rollback(applied=False))},
    )
    world = replace(stage.world, services={"trips": service})
    assert marks_of(world, _EVIDENCE) == (
        Mark(at=BASE + timedelta(minutes=1), label="v2 deployed"),
        Mark(at=BASE + timedelta(minutes=2), label="back to v1"),
    )
    assert marks_of(None, _EVIDENCE) == ()
    assert marks_of(World(services={}), _EVIDENCE) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one, ": 3.2%, above the rollback threshold of 2% since 00:03:00 UTC"),
        (
            lambda one: replace(one, direction=Direction.BELOW, level=Level.CRITICAL, limit=0.05),
            ": 3.2%, below the critical threshold of 5% since 00:03:00 UTC",
        ),
        (lambda one: replace(one, level=Level.OK, value=0.001), ": 0.1%, the threshold is 2%"),
        (lambda one: replace(one, limit=None), ": 3.2%"),
        (lambda one: replace(one, value=None), ": no value since 00:03:00 UTC"),
    ],
)
async def test_the_text_beside_it_says_value_threshold_and_since(
    change: Callable[[Evidence], Evidence], said: str
) -> None:
    assert alt_of(change(_EVIDENCE), BASE) == f"Chart of trips/errors@v2 until 2026-01-01 00:00 UTC{said}"


async def test_a_picture_names_only_what_there_is() -> None:
    picture = picture_of(replace(_EVIDENCE, check=CheckId(service="trips", rule="alive")), ())
    assert picture.title == "trips · alive"
