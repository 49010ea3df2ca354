"""References are asked while many targets fail, and at no other time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.core.scenario import T0, Scenario
from watchdog.core.events import References
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.reach import Circle, Reach
from watchdog.core.world import World
from watchdog.engine.references import LIMIT, Reference, SelfCheck
from watchdog.testing.clock import LoopClock

pytestmark = pytest.mark.virtual_time

DEAD = Pulse(passed=False, at=T0)
CUT = Reach(beyond=Circle(cut_at=T0))


class FakeProbe:
    """Answers by address."""

    def __init__(self, answers: dict[str, Pulse | Failed | Exception | None]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        del now
        self.asked.append(settings["address"])
        answer = self.answers[settings["address"]]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        assert isinstance(answer, Pulse | Failed)
        return answer

    async def aclose(self) -> None:
        return


class Rig:
    def __init__(self) -> None:
        self.world: World = msgspec.structs.replace(Scenario().world, reach=CUT)
        self.probe = FakeProbe({"a": DEAD, "b": DEAD})
        self.said: list[bool | None] = []
        self.task: asyncio.Future[None] | None = None
        self.references = [Reference(kind="tcp", settings={"address": name}) for name in ("a", "b")]

    def heard(self, event: References) -> None:
        self.said.append(event.answered)

    async def passes(self, seconds: float) -> None:
        """Virtual time; the first call starts it."""
        self.task = self.task or asyncio.ensure_future(self._run())
        await asyncio.sleep(seconds)

    async def _run(self) -> None:
        check = SelfCheck(
            references=lambda: self.references,
            probes={"tcp": self.probe},
            world=lambda: self.world,
            deliver=self.heard,
            clock=LoopClock(),
        )
        await check.run()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    assert made.task is not None
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_nobody_is_asked_while_all_is_well(rig: Rig) -> None:
    rig.world = Scenario().world
    await rig.passes(60)
    assert (rig.probe.asked, rig.said) == ([], [])


async def test_all_are_asked_each_recheck_until_there_is_no_reason_any_more(rig: Rig) -> None:
    await rig.passes(11)
    assert rig.probe.asked == ["a", "b"] * 3
    assert rig.said == [False] * 3

    rig.world = Scenario().world
    await rig.passes(30)

    assert rig.probe.asked == ["a", "b"] * 3
    assert rig.said == [False] * 3 + [None], "said once"


async def test_one_answer_is_enough_and_a_wrong_one_is_one(rig: Rig) -> None:
    rig.probe.answers["b"] = msgspec.structs.replace(DEAD, answered=True)
    await rig.passes(1)
    rig.probe.answers["b"] = msgspec.structs.replace(DEAD, passed=True)
    await rig.passes(5)
    assert rig.said == [True, True]


async def test_what_cannot_be_tried_hangs_or_breaks_is_no_answer(rig: Rig) -> None:
    rig.probe.answers = {"a": Failed(reason=FailReason.UNABLE), "b": RuntimeError("broken")}
    with capture_logs() as logs:
        await rig.passes(1)
    assert rig.said == [False]
    assert [line["event"] for line in logs] == ["reference_failed"]
    rig.probe.answers["b"] = None
    await rig.passes(6 + LIMIT.total_seconds())
    assert rig.said == [False, False]


async def test_without_references_nothing_is_said(rig: Rig) -> None:
    rig.references = []
    await rig.passes(timedelta(minutes=1).total_seconds())
    assert rig.said == []
