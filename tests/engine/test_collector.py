from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.engine.worlds import ALIVE, BAD, DEPTH, ERRORS, service, world
from watchdog.core.baseline import Earlier, reach
from watchdog.core.burning import Slo
from watchdog.core.check import CheckId, CheckState
from watchdog.core.checks import SharedPoll
from watchdog.core.dealing import Dealt, deal
from watchdog.core.events import Observed
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.observation import (
    Answer,
    Failed,
    FailReason,
    NoData,
    NoDataReason,
    Pulse,
    Reference,
    Value,
)
from watchdog.core.rule import Against, Baseline, Level, Match, ProbeForm, Query, Ratio, Severity, Thresholds
from watchdog.core.world import ServiceWorld
from watchdog.engine.collector import AT_ONCE, LIMIT, Collector
from watchdog.sources.interface import Question, SourceReport
from watchdog.telemetry.metrics import Metrics
from watchdog.testing.clock import BASE, LoopClock

pytestmark = pytest.mark.virtual_time

ERRORS_V2 = CheckId(service="trips", rule="errors", version="v2", variant="green")


class FakeSource:
    """Answers after `takes` seconds with `answer`, which may raise; remembers what it was asked."""

    def __init__(self, *, concurrency: int = 5) -> None:
        self.concurrency = concurrency
        self.asked: list[tuple[Question, datetime]] = []
        self.takes = 0.0
        self.at_once = self.most = 0
        self.answer: Callable[[], Answer | Failed] = lambda: ratio(3, 100)

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        self.asked.append((question, now))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(self.takes)
            return self.answer()
        finally:
            self.at_once -= 1

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        answer = await self.ask(question, now=now)
        return answer if isinstance(answer, Failed) else deal((), answer, by)

    async def inspect(self) -> SourceReport:
        return SourceReport(ok=True, detail="")

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


class FakeProbe:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[], Pulse | Failed] = lambda: Pulse(passed=True, at=LoopClock().now())
        self.takes = 0.0
        self.at_once = self.most = 0

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        self.asked.append(settings)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.takes)
        self.at_once -= 1
        return self.answer()

    async def aclose(self) -> None: ...


def ratio(bad: float, total: float, *, age: float = 0.0) -> Answer:
    now = LoopClock().now()
    newest = now.timestamp() - age
    return Answer(
        parts={"bad": (bad,), "total": (total,), "newest": (newest,), "samples": (2.0,)}, evaluated_at=now
    )


class Rig:
    def __init__(self) -> None:
        self.source, self.probe = FakeSource(), FakeProbe()
        self.others: dict[str, FakeSource] = {}
        self.service: ServiceWorld = service(ERRORS, DEPTH, ALIVE)
        self.seen: list[Observed] = []
        self.metrics = Metrics(lambda: None)
        self.collector = self.make()

    def make(self) -> Collector:
        self.collector = Collector(
            sources={"prometheus": self.source, **self.others},
            probes={"http": self.probe},
            world=lambda: world(self.service),
            deliver=self.seen.append,
            clock=LoopClock(),
            metrics=self.metrics,
        )
        return self.collector

    @property
    def observation(self) -> object:
        assert len(self.seen) == 1, self.seen
        return self.seen[0].observation


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_a_poll_becomes_an_observation_with_the_time_of_its_arrival(rig: Rig) -> None:
    rig.source.takes = 0.4
    await rig.collector.poll(ERRORS_V2)
    observed = rig.seen[0]
    assert observed.check == ERRORS_V2
    assert observed.arrived_at == BASE + timedelta(seconds=0.4)
    assert isinstance(observed.observation, Value)
    assert observed.observation.value == pytest.approx(0.03)


async def test_the_question_has_every_variable_filled_in_and_the_rules_window(rig: Rig) -> None:
    await rig.collector.poll(ERRORS_V2)
    question, now = rig.source.asked[0]
    assert question == Question(
        form=Ratio(
            bad='requests_total{service="trips",version="v2",status=~"5.."}',
            total='requests_total{service="trips",version="v2"}',
        ),
        window=ERRORS.window,
    )
    assert now == BASE


async def test_an_objective_is_asked_for_with_all_its_windows(rig: Rig) -> None:
    slo = Slo(objective=0.999)
    budget = replace(ERRORS, slo=slo, window=slo.windows[0])
    rig.service = service(budget, DEPTH, ALIVE)
    await rig.collector.poll(ERRORS_V2)
    ((question, _),) = rig.source.asked
    assert question.window == timedelta(minutes=5)
    assert question.windows == tuple(timedelta(minutes=minutes) for minutes in (30, 60, 360, 4320))


async def test_an_objective_of_many_services_is_asked_for_with_all_its_windows_at_once(rig: Rig) -> None:
    slo = Slo(objective=0.999)
    rig.service = service(
        replace(
            ERRORS,
            form=Ratio(bad="bad_total", total="requests_total"),
            match=Match(labels={"service": "name"}),
            slo=slo,
            window=slo.windows[0],
        )
    )
    await rig.collector.poll(SharedPoll(rule=ERRORS.name))
    ((question, _),) = rig.source.asked
    assert (question.window, *question.windows) == slo.windows


async def test_a_reference_is_asked_for_in_the_same_question_until_it_is_known(rig: Rig) -> None:
    margins = Baseline(against=Against.BEFORE_DEPLOYMENT, margins=Thresholds(rollback=1.0))
    relative = replace(ERRORS, thresholds=Thresholds(), baseline=margins)
    rig.service = service(relative)
    found = {"reference": (0.01,), "reference_samples": (120.0,), "reference_points": (30.0,)}
    rig.source.answer = lambda: replace(ratio(3, 100), parts=ratio(3, 100).parts | found)
    await rig.collector.poll(ERRORS_V2)
    question, _ = rig.source.asked[0]
    before = Ratio(
        bad='requests_total{service="trips",version="v1",status=~"5.."}',
        total='requests_total{service="trips",version="v1"}',
    )
    assert question.reference == Earlier(
        form=before, at=BAD.started_at, median_over=timedelta(minutes=30), version="v1"
    )
    assert question.remember == reach(relative)
    assert isinstance(rig.observation, Value)
    known = rig.observation.reference
    assert known == Reference(value=0.01, samples=30.0, at=BAD.started_at, learnt_at=BASE, version="v1")

    rig.service = replace(rig.service, checks={ERRORS_V2: CheckState(reference=known)})
    await rig.collector.poll(ERRORS_V2)
    question, _ = rig.source.asked[1]
    assert question.reference is None
    second = rig.seen[1].observation
    assert isinstance(second, Value)
    assert second.reference == known


async def test_what_goes_into_promql_is_quoted(rig: Rig) -> None:
    evil = 'v"} or vector(1) #\\'
    bad = replace(BAD, version=evil)
    rig.service = replace(rig.service, deployments={bad.id: bad})
    await rig.collector.poll(replace(ERRORS_V2, version=evil))
    form = rig.source.asked[0][0].form
    assert isinstance(form, Ratio)
    assert form.total == r'requests_total{service="trips",version="v\"} or vector(1) #\\"}'


async def test_what_goes_into_an_address_is_quoted(rig: Rig) -> None:
    evil = "v2/../../admin?x=#"
    bad = replace(BAD, version=evil)
    rig.service = replace(rig.service, deployments={bad.id: bad})
    await rig.collector.poll(CheckId(service="trips", rule="alive", version=evil, variant="green"))
    assert rig.probe.asked[0]["url"] == "http://trips.internal/v2%2F..%2F..%2Fadmin%3Fx%3D%23/healthz"


async def test_a_probe_is_asked_with_its_settings_and_its_pulse_delivered(rig: Rig) -> None:
    check = CheckId(service="trips", rule="alive", version="v2", variant="green")
    assert await rig.collector.poll(check) is None
    assert rig.probe.asked == [{"url": "http://trips.internal/v2/healthz"}]
    assert rig.observation == Pulse(passed=True, at=BASE)


async def test_probes_of_one_kind_do_not_all_run_at_once(rig: Rig) -> None:
    rig.probe.takes = 1.0
    check = CheckId(service="trips", rule="alive", version="v2", variant="green")
    await asyncio.gather(*(rig.collector.poll(check) for _ in range(3 * AT_ONCE)))
    assert (rig.probe.most, len(rig.seen)) == (AT_ONCE, 3 * AT_ONCE)


@pytest.mark.parametrize("limit", [1, 3])
async def test_a_source_is_asked_no_more_at_once_than_it_takes(rig: Rig, limit: int) -> None:
    rig.source.concurrency, rig.source.takes = limit, 1.0
    rig.make()
    await asyncio.gather(*(rig.collector.poll(ERRORS_V2) for _ in range(12)))
    assert rig.source.most == limit
    assert len(rig.seen) == 12
    assert asyncio.get_running_loop().time() == pytest.approx(12 / limit)


async def test_a_source_that_hangs_delays_no_rule_of_another_and_no_probe(rig: Rig) -> None:
    rig.source.takes, rig.others["other"] = 3600.0, FakeSource(concurrency=1)
    rig.service = service(ERRORS, replace(DEPTH, source="other"), ALIVE)
    rig.make()
    hanging = [asyncio.ensure_future(rig.collector.poll(ERRORS_V2)) for _ in range(100)]
    await asyncio.sleep(0)
    await rig.collector.poll(CheckId(service="trips", rule="depth"))
    await rig.collector.poll(CheckId(service="trips", rule="alive", version="v2", variant="green"))

    assert [one.check.rule for one in rig.seen] == ["depth", "alive"]
    assert asyncio.get_running_loop().time() == 0
    # And no question hangs for ever, whatever its source promised.
    await asyncio.gather(*hanging)
    failed = [one.observation for one in rig.seen[2:]]
    assert {one.reason for one in failed if isinstance(one, Failed)} == {FailReason.TIMEOUT}
    assert len(failed) == 100
    assert asyncio.get_running_loop().time() == pytest.approx(LIMIT.total_seconds())


async def test_who_waits_for_his_turn_asks_for_the_moment_at_which_he_asks(rig: Rig) -> None:
    rig.source.concurrency, rig.source.takes = 1, 2.0
    rig.make()
    await asyncio.gather(rig.collector.poll(ERRORS_V2), rig.collector.poll(ERRORS_V2))
    assert [now for _, now in rig.source.asked] == [BASE, BASE + timedelta(seconds=2)]


async def test_a_failed_source_stays_a_failure(rig: Rig) -> None:
    rig.source.answer = lambda: Failed(reason=FailReason.UNREACHABLE, detail="refused")
    assert await rig.collector.poll(ERRORS_V2) is None
    assert rig.observation == Failed(reason=FailReason.UNREACHABLE, detail="refused")


async def test_an_answer_without_numbers_stays_no_data(rig: Rig) -> None:
    rig.source.answer = lambda: Answer(parts={"total": ()}, evaluated_at=BASE)
    await rig.collector.poll(ERRORS_V2)
    assert isinstance(rig.observation, NoData)
    assert rig.observation.reason is NoDataReason.EMPTY


async def test_a_provider_that_raises_is_unable_and_is_logged_once_until_it_is_well(rig: Rig) -> None:
    def fault() -> Answer:
        raise ZeroDivisionError("a secret of its own")

    well, rig.source.answer = rig.source.answer, fault
    with capture_logs() as logs:
        for _ in range(3):
            await rig.collector.poll(ERRORS_V2)
        rig.source.answer = well
        await rig.collector.poll(ERRORS_V2)
        rig.source.answer = fault
        await rig.collector.poll(ERRORS_V2)
    expected = Failed(reason=FailReason.UNABLE, detail="ZeroDivisionError in the provider")
    assert [one.observation == expected for one in rig.seen] == [True, True, True, False, True]
    assert [log["event"] for log in logs] == ["poll_failed", "poll_failed"]


async def test_a_provider_that_cancels_itself_is_unable(rig: Rig) -> None:
    def fault() -> Answer:
        raise asyncio.CancelledError

    rig.source.answer = fault
    await rig.collector.poll(ERRORS_V2)
    assert isinstance(rig.observation, Failed)
    assert rig.observation.reason is FailReason.UNABLE


async def test_a_probe_that_raises_says_nothing_about_its_target(rig: Rig) -> None:
    def fault() -> Pulse:
        raise OSError("too many open files")

    rig.probe.answer = fault
    await rig.collector.poll(CheckId(service="trips", rule="alive", version="v2", variant="green"))
    assert isinstance(rig.observation, Failed)
    assert rig.observation.reason is FailReason.UNABLE


async def test_a_provider_that_never_answers_is_a_timeout(rig: Rig) -> None:
    rig.source.takes = 1e6
    await rig.collector.poll(ERRORS_V2)
    assert asyncio.get_running_loop().time() == pytest.approx(LIMIT.total_seconds())
    assert isinstance(rig.observation, Failed)
    assert rig.observation.reason is FailReason.TIMEOUT
    assert rig.source.at_once == 0, "it was ended, and gave its place back"


async def test_a_cancelled_poll_delivers_nothing_and_gives_its_place_back(rig: Rig) -> None:
    rig.source.concurrency, rig.source.takes = 1, 10.0
    rig.make()
    poll = asyncio.create_task(rig.collector.poll(ERRORS_V2))
    await asyncio.sleep(1)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    assert rig.seen == []
    await rig.collector.poll(ERRORS_V2)
    assert len(rig.seen) == 1


async def test_a_check_of_nothing_known_is_not_asked(rig: Rig) -> None:
    assert await rig.collector.poll(CheckId(service="nobody", rule="errors")) is None
    assert await rig.collector.poll(CheckId(service="trips", rule="gone")) is None
    assert (rig.source.asked, rig.seen) == ([], [])


async def test_an_open_incident_is_asked_by_the_rule_it_was_opened_with(rig: Rig) -> None:
    """The configuration has changed since; nobody else knows the old rule any more."""
    old = replace(ERRORS, window=timedelta(seconds=77))
    breach = Breach(rule=old, level=Level.CRITICAL, since=BASE, version="v2")
    incident = Incident(
        id="inc-1",
        kind=IncidentKind.BREACH,
        state=IncidentState.OPEN,
        subject="trips",
        opened_at=BASE,
        level=Level.CRITICAL,
        severity=Severity.HIGH,
        deployment=BAD.id,
        breaches={str(ERRORS_V2): breach},
    )
    rig.service = replace(service(DEPTH), incidents={incident.id: incident})
    await rig.collector.poll(ERRORS_V2)
    assert rig.source.asked[0][0].window == timedelta(seconds=77)


async def test_a_source_that_is_configured_no_more_is_named(rig: Rig) -> None:
    rig.service = service(replace(ERRORS, source="influx"))
    with capture_logs() as logs:
        await rig.collector.poll(ERRORS_V2)
    assert rig.observation == Failed(
        reason=FailReason.UNABLE, detail="source 'influx' is not configured any more"
    )
    assert logs == []


async def test_a_kind_of_probe_that_no_rule_asks_for_any_more_is_named(rig: Rig) -> None:
    rig.service = service(replace(ALIVE, form=ProbeForm(kind="grpc", settings={})))
    await rig.collector.poll(CheckId(service="trips", rule="alive"))
    assert isinstance(rig.observation, Failed)
    assert "grpc" in rig.observation.detail


async def test_it_says_when_the_next_sample_comes(rig: Rig) -> None:
    rig.source.answer = lambda: ratio(0, 100, age=1.0)
    beat = await rig.collector.poll(ERRORS_V2)
    assert beat is not None
    assert beat.every == pytest.approx(4.5)  # nine seconds of the window hold two samples
    assert 0 < beat.next_in < 4.5


async def test_a_query_that_is_always_fresh_has_no_rhythm(rig: Rig) -> None:
    rig.source.answer = lambda: Answer(parts={"value": (7.0,)}, evaluated_at=LoopClock().now())
    assert await rig.collector.poll(CheckId(service="trips", rule="depth")) is None
    assert isinstance(rig.observation, Value)
    assert isinstance(rig.source.asked[0][0].form, Query)


async def test_another_variant_is_scraped_as_often_as_the_first(rig: Rig) -> None:
    """After a switch the target's first poll knows already how often samples come."""
    rig.source.answer = lambda: ratio(0, 100, age=1.0)
    first = await rig.collector.poll(ERRORS_V2)
    assert first is not None

    def uncounted() -> Answer:
        answer = ratio(0, 100, age=1.0)
        return replace(answer, parts={k: v for k, v in answer.parts.items() if k != "samples"})

    rig.source.answer = uncounted
    beat = await rig.collector.poll(CheckId(service="trips", rule="errors", version="v1", variant="blue"))
    assert beat is not None
    assert beat.every == first.every


async def test_every_question_to_a_source_is_measured(rig: Rig) -> None:
    rig.source.takes = 0.3
    await rig.collector.poll(ERRORS_V2)
    page = rig.metrics.render().decode()
    assert 'watchdog_source_query_seconds_count{source="prometheus"} 1.0' in page
    assert 'watchdog_source_query_seconds_bucket{le="0.25",source="prometheus"} 0.0' in page
