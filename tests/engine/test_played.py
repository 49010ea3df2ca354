"""The same script, played by the laboratory and lived through by the whole engine, comes to the same.

The engine runs in virtual time over fakes that the script feeds: what rollbacks pass through and what people are told
must be the same words in the same order, and at nearly the same times. Polls and looks of the engine have phases of
their own, so nearly is an interval between two looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from tests.engine.loop import Engine
from tests.lab import scripts
from tests.lab.scripts import (
    ONE_LADDER,
    bad_deployment,
    deployed,
    feed,
    planned,
    script,
    standing,
    vouched,
    wanted,
)
from watchdog.channels.interface import Later
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.service import Limits, Mode
from watchdog.core.traffic import TrafficState
from watchdog.lab.play import play
from watchdog.lab.play_feeds import Line
from watchdog.lab.play_requests import announced, request_of
from watchdog.lab.play_switch import PlayedSwitch
from watchdog.lab.recording import Recording, What
from watchdog.lab.script import Deployed, Down, Occurrence, Patched, Script, Wanted
from watchdog.sources.interface import Question, SourceReport
from watchdog.testing.traffic import FakeSwitch

pytestmark = pytest.mark.virtual_time

#: Between two looks at a switch.
NEARLY = timedelta(seconds=6)
STORIES = {
    "a bad deployment": bad_deployment(until="14m"),
    "a bad deployment that nobody announced": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        events=(vouched(), deployed("5m", announced=False)),
        until="12m",
    ),
    "nothing known of before": script(
        feed((None, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        events=(vouched(), deployed("5m")),
        until="12m",
    ),
    "paused, and resumed": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        events=(
            vouched(),
            deployed("5m"),
            wanted("5m10s", RequestKind.PAUSE),
            wanted("8m10s", RequestKind.RESUME),
        ),
        until="14m",
    ),
    "undone by a person": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        events=(
            vouched(),
            deployed("5m"),
            planned(
                "7m17s", Patched(service="trips", variants=standing(live="green", blue="v1", green="v2"))
            ),
        ),
        until="14m",
    ),
    "the target is bad, too": script(
        feed((0.001, 10), (0.2, 40), version="v1"),
        feed((None, 10), (0.2, 40), version="v2"),
        events=(vouched(), deployed("5m")),
        until="14m",
    ),
    "nobody acknowledges": script(
        feed((0.001, 10), (0.2, 70)), routes=(Route(policy=ONE_LADDER),), until="25m"
    ),
    "somebody acknowledges": script(
        feed((0.001, 10), (0.2, 30), (0.001, 30)),
        events=(wanted("8m", RequestKind.ACKNOWLEDGE),),
        routes=(Route(policy=ONE_LADDER),),
        until="25m",
    ),
    "no data": script(feed((0.001, 10), (None, 20), (0.001, 20)), until="20m"),
    "no source": script(feed((0.001, 10), ("error", 20), (0.001, 20)), until="20m"),
    "approved": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        services=(scripts.service(mode=Mode.APPROVE),),
        events=(vouched(), deployed("5m"), wanted("8m", RequestKind.APPROVE)),
        until="14m",
    ),
    "moved by hand of a person": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.001, 30), version="v2"),
        events=(vouched(), deployed("5m"), wanted("8m", RequestKind.ROLLBACK, reason="a bad feeling")),
        until="14m",
    ),
    "no rollbacks anywhere": script(
        feed((0.001, 40), version="v1"),
        feed((None, 10), (0.2, 30), version="v2"),
        events=(vouched(), deployed("5m")),
        limits=Limits(max_rollbacks=0),
        until="12m",
    ),
}


class Fed:
    """A source that knows the feeds of a script."""

    concurrency = 5

    def __init__(self, one: Script, begun: datetime) -> None:
        self._script = one
        self._begun = begun

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        await asyncio.sleep(0.003)
        version = next((name for name in ("v1", "v2") if f'version="{name}"' in str(question.form)), "")
        fitting = {one.version: one for one in self._script.feeds if one.version in ("", version)}
        line = Line(fitting.get(version) or fitting[""], scripts.HALF)
        sample = line.current(now - self._begun)
        parts: dict[str, tuple[float, ...]] = {}
        if sample is not None and sample.failed:
            return Failed(reason=FailReason.UNREACHABLE, detail="the source did not answer")
        if sample is not None and sample.value is not None:
            newest = (self._begun + sample.at).timestamp()
            parts = {"bad": (sample.value * 10_000,), "total": (10_000.0,), "newest": (newest,)}
            parts["samples"] = (2.0,)
        return Answer(parts=parts, evaluated_at=now)

    async def inspect(self) -> SourceReport:
        return SourceReport(ok=True, detail="")

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


class Stage(Engine):
    """The engine with what a script says around it."""

    def __init__(self, one: Script) -> None:
        super().__init__(rules=tuple(one.rules.values()))
        self.script = one
        self.begun = self.clock.now()
        self.switch = FakeSwitch(dict(one.traffic["trips"]), clock=self.clock.now)
        self.switches = {"trips": self.switch}
        self.services = {each.name: each for each in one.services}
        self.routes, self.limits = one.routes, one.limits
        self.channels["lead"] = self.channels["oncall"]
        self.shop = Fed(one, self.begun)  # type: ignore[assignment]

    async def live(self) -> None:
        """From the begin to the end of the script."""
        await self.start()
        for each in sorted(self.script.events, key=lambda event: event.at):
            await self._until(each.at)
            await self._occur(each.what)
        await self._until(self.script.until)
        assert self.failed() is None
        await self.crash()

    async def _until(self, at: timedelta) -> None:
        await asyncio.sleep(max((self.begun + at - self.clock.now()).total_seconds(), 0))

    async def _occur(self, what: Occurrence) -> None:
        self._requests += 1
        match what:
            case Deployed():
                if what.announced:
                    request = announced(what, number=self._requests, now=self.clock.now())
                    await self.store.submit(request)
                    await self.store.reply(request.id)
                self._show(what)
            case Patched(variants=variants):
                for name, spot in variants.items():
                    self.switch.put(name, spot)
            case Wanted():
                request = request_of(what, self.world, number=self._requests, now=self.clock.now())
                await self.store.submit(request)
                await self.store.reply(request.id)
            case Down(channel=channel, lasts=lasts):
                self.channels[channel].always(Later(reason="not now"))
                await self._until(self.clock.now() - self.begun + lasts)
                self.channels[channel].always(None)
            case _:
                raise AssertionError(what)

    def _show(self, what: Deployed) -> None:
        """What a played switch would show."""
        played = PlayedSwitch(self.switch.state.variants)
        played.deploy(what.version, what.variant, announced=what.announced)
        shown: TrafficState = played.read(timedelta(), self.clock.now())
        for name, spot in shown.variants.items():
            self.switch.put(name, spot)

    def rolled_back(self) -> list[tuple[timedelta, str]]:
        return [
            (passage.at - self.begun, str(passage.state))
            for one in sorted(self.stored_rollbacks, key=lambda each: each.decided_at)
            for passage in one.history
        ]

    def told(self, channel: str) -> list[tuple[timedelta, str]]:
        return [
            (attempt.message.created_at - self.begun, str(attempt.message.kind))
            for attempt in self.channels[channel].attempts
        ]


def told(recording: Recording, channel: str) -> list[tuple[timedelta, str]]:
    return [
        (one.at, str(one.facts["kind"]))
        for one in recording.of(What.NOTIFICATION)
        if one.facts["channel"] == channel
    ]


def words(found: Iterable[tuple[timedelta, str]]) -> list[str]:
    return [word for _, word in found]


def apart(one: list[tuple[timedelta, str]], other: list[tuple[timedelta, str]]) -> timedelta:
    """How far two of the same are apart at most."""
    return max((abs(a - b) for (a, _), (b, _) in zip(one, other, strict=True)), default=timedelta())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", STORIES)
async def test_a_played_script_is_what_the_engine_lives_through(name: str) -> None:
    story = STORIES[name]
    stage, recording = Stage(story), play(story)
    await stage.live()

    passed = [(one.at, str(one.facts["state"])) for one in recording.of(What.ROLLBACK)]
    lived = stage.rolled_back()
    assert words(passed) == words(lived), name
    assert apart(passed, lived) <= NEARLY
    assert passed or recording.of(What.NOTIFICATION), "a story in which nothing happens proves nothing"
    for channel in ("ops", "lead"):
        heard, said = told(recording, channel), stage.told(channel)
        assert words(heard) == words(said), name
        assert apart(heard, said) <= NEARLY
    assert len(recording.of(What.SWITCH)) == stage.switch.writes
