from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from watchdog.config.telling import HeartbeatSettings
from watchdog.core.check import CheckId
from watchdog.core.checks import Poll
from watchdog.core.lateness import Late, What
from watchdog.engine.heartbeat import Heartbeat
from watchdog.engine.scheduler import Round
from watchdog.telemetry.metrics import Metrics
from watchdog.testing.clock import BASE, LoopClock

pytestmark = pytest.mark.virtual_time

CHECK = CheckId(service="trips", rule="error-rate")
SECRET = "https://hc.example.com/ping/canary-5a0e"
LATE = Late(what=What.OUTBOX, since=BASE, detail="a message for ops has waited 3m to be tried")


def settings(every: float = 60, url: str = SECRET) -> HeartbeatSettings:
    return HeartbeatSettings(url=SecretStr(url), every=timedelta(seconds=every), timeout=timedelta(seconds=5))


class Outside:
    """The one who notices: remembers when it heard something."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.fault = ""
        self.hangs = 0.0
        self.closed = 0

    async def ask(self, settings: HeartbeatSettings) -> str:
        self.heard.append(round(asyncio.get_running_loop().time()))
        await asyncio.sleep(self.hangs)
        return self.fault

    async def aclose(self) -> None:
        self.closed += 1


class Rig:
    """Checks are polled every 30 s, or when `polled_at` says."""

    def __init__(self) -> None:
        self.outside = Outside()
        self.late: tuple[Late, ...] = ()
        self.leads = True
        self.whole = True
        self.polled_at: float | None = None
        self.none = False
        self.metrics = Metrics(lambda: None)
        self.heartbeat = Heartbeat(
            settings(),
            polled=self._polled,
            late=lambda: self.late,
            leads=lambda: self.leads,
            metrics=self.metrics,
            clock=LoopClock(),
            outside=self.outside,
        )
        self.task = asyncio.create_task(self.heartbeat.run())

    def _polled(self) -> Round[Poll] | None:
        now = asyncio.get_running_loop().time()
        at = now - now % 30 if self.polled_at is None else self.polled_at
        return None if self.none else Round(key=CHECK, at=at, whole=self.whole)

    def metric(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    one = Rig()
    yield one
    one.task.cancel()
    await asyncio.gather(one.task, return_exceptions=True)
    assert one.outside.closed == 1


async def test_a_sign_of_life_is_given_once_in_every(rig: Rig) -> None:
    await asyncio.sleep(200)
    assert rig.outside.heard == [1, 61, 121, 181]
    view = rig.heartbeat.view()
    assert view is not None
    assert (view.last_at, view.withheld, view.error) == (BASE + timedelta(seconds=181), False, "")
    assert rig.metric("watchdog_heartbeat_last_success_timestamp_seconds") == BASE.timestamp() + 181


async def test_none_is_given_before_the_first_round_is_done(rig: Rig) -> None:
    rig.whole = False
    await asyncio.sleep(100)
    assert rig.outside.heard == []
    rig.whole = True
    await asyncio.sleep(2)
    assert len(rig.outside.heard) == 1


async def test_none_is_given_while_a_critical_check_is_not_polled(rig: Rig) -> None:
    await asyncio.sleep(2)
    rig.polled_at = 0.5  # before the first sign
    await asyncio.sleep(600)
    assert rig.outside.heard == [1]
    rig.polled_at = 601.0
    await asyncio.sleep(2)
    assert len(rig.outside.heard) == 2


async def test_without_critical_checks_only_the_audit_counts(rig: Rig) -> None:
    rig.none = True
    await asyncio.sleep(100)
    assert rig.outside.heard == [1, 61]


async def test_it_is_withheld_while_something_is_late_and_says_why(rig: Rig) -> None:
    await asyncio.sleep(2)
    rig.late = (LATE,)
    with capture_logs() as told:
        await asyncio.sleep(300)
    assert rig.outside.heard == [1]
    assert [(one["event"], one["because"]) for one in told] == [("heartbeat_withheld", [LATE.detail])]
    assert rig.metric("watchdog_heartbeat_withheld") == 1
    view = rig.heartbeat.view()
    assert view is not None
    assert view.withheld
    rig.late = ()
    with capture_logs() as told:
        await asyncio.sleep(2)
    assert len(rig.outside.heard) == 2
    assert [one["event"] for one in told] == ["heartbeat_goes_on"]
    assert rig.metric("watchdog_heartbeat_withheld") == 0


async def test_whoever_does_not_lead_gives_none(rig: Rig) -> None:
    rig.leads = False
    await asyncio.sleep(300)
    assert rig.outside.heard == []


async def test_a_failure_is_told_once_and_tried_again_with_the_next_round(rig: Rig) -> None:
    rig.outside.fault = "it answered 500"
    with capture_logs() as told:
        await asyncio.sleep(200)
        rig.outside.fault = ""
        await asyncio.sleep(100)
    assert rig.outside.heard == [1, 61, 121, 181, 241]
    assert [one["event"] for one in told] == ["heartbeat_not_taken", "heartbeat_taken_again"]
    assert SECRET not in repr(told)


async def test_one_that_hangs_is_asked_one_call_at_a_time(rig: Rig) -> None:
    rig.outside.hangs = 150
    await asyncio.sleep(400)
    assert rig.outside.heard == [1, 152, 303]


async def test_it_follows_a_changed_configuration(rig: Rig) -> None:
    await asyncio.sleep(2)
    rig.heartbeat.follow(settings(every=20))
    await asyncio.sleep(60)
    assert rig.outside.heard == [1, 30, 60]  # a round takes 30 s
    rig.heartbeat.follow(None)
    assert rig.heartbeat.view() is None
    await asyncio.sleep(300)
    assert len(rig.outside.heard) == 3
    rig.heartbeat.follow(settings(url="https://other.example.com/ping"))
    await asyncio.sleep(2)
    assert len(rig.outside.heard) == 4


async def test_an_answer_of_another_address_says_nothing_about_this_one(rig: Rig) -> None:
    rig.outside.hangs = 10
    await asyncio.sleep(5)
    rig.heartbeat.follow(settings(url="https://other.example.com/ping"))
    await asyncio.sleep(6.5)
    view = rig.heartbeat.view()
    assert view is not None
    assert view.last_at is None
