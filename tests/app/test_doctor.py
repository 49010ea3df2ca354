from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace as replace_struct

from tests.api.daemon import BAD, GOOD
from tests.servers.versioned import VersionedApp
from watchdog.aio.clock import SystemClock
from watchdog.app.doctor import Parts, examine, examine_parts
from watchdog.app.finding import Finding, Health, worst
from watchdog.app.holdings import rights, room
from watchdog.app.machine import kernel_status
from watchdog.channels.interface import Chart, Delivered
from watchdog.config.loaded import (
    Configuration,
    Position,
    Problem,
    Provider,
    Server,
    ServiceEntry,
)
from watchdog.core.dealing import Dealt
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.errors import StoreError, SwitchUnreachable
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.message import Message, Thread
from watchdog.core.observation import Answer, Failed, FailReason, Pulse
from watchdog.core.rule import Level, Match, Query, Ratio, Rule, Severity, Thresholds
from watchdog.core.service import Intervals, Limits, Mode, Service
from watchdog.core.traffic import Tier, VariantState
from watchdog.core.turn import Turn
from watchdog.probes.interface import Probe
from watchdog.settings.model import ProviderSettings
from watchdog.sources.interface import Question, SourceReport
from watchdog.sources.scrape import ScrapeSettings
from watchdog.testing.clock import LoopClock
from watchdog.testing.store import MemoryStore
from watchdog.testing.traffic import FakeSwitch
from watchdog.traffic.command import CommandSettings
from watchdog.traffic.interface import TrafficSwitch

HERE = Position(file=Path("watchdog.yaml"), line=3, column=5)
RATE = Rule(
    name="error-rate",
    form=Ratio(bad='errors{version="$version"}', total='requests{version="$version",team="$label.team"}'),
    thresholds=Thresholds(critical=0.01, rollback=0.015),
    source="numbers",
)
QUEUE = Rule(name="queue", form=Query(query="queue"), thresholds=Thresholds(critical=5), source="numbers")
NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
SERVED = replace_struct(GOOD, live_at=GOOD.started_at)
LIVE = replace_struct(BAD, live_at=BAD.started_at)
BLUE_READY = VariantState(weight=0, version="v1", ready=2, total=2)
GREEN_LIVE = VariantState(weight=100, version="v2", ready=2, total=2)


class Source:
    """Answers every question with `answer`, which may change with the number of the question."""

    concurrency = 1

    def __init__(
        self,
        answer: Callable[[int], Answer | Failed] | None = None,
        *,
        report: SourceReport | Exception | None = None,
        hangs: bool = False,
    ) -> None:
        self._answer = answer or (lambda _: parts(bad=(1.0,), total=(100.0,)))
        self._report = report or SourceReport(ok=True, detail="answers")
        self._hangs = hangs
        self.asked: list[Question] = []
        #: What was asked about selectors, and its answers: has there been anything, how often is it scraped.
        self.looked: list[str] = []
        self.known: Callable[[str], bool] = lambda _: True
        self.every: float | None = 15.0
        #: How old the newest sample of a selector is; `None`: nobody says.
        self.ages: dict[str, timedelta | None] = {}
        self.named: tuple[str, ...] | None = None

    async def names(self) -> tuple[str, ...] | None:
        return self.named

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        if isinstance(question.form, Query) and "_over_time(" in question.form.query:
            self.looked.append(question.form.query)
            if "[10m:" in question.form.query:
                return parts(value=() if self.every is None else (self.every,))
            if question.form.query.startswith("max(max_over_time(timestamp("):
                selector = question.form.query.removeprefix("max(max_over_time(timestamp(").split(")[1d:")[0]
                age = self.ages.get(selector, timedelta(seconds=3))
                return parts(value=() if age is None else ((now - age).timestamp(),))
            selector = question.form.query.removeprefix("count(last_over_time(").removesuffix("[1d]))")
            return parts(value=(3.0,) if self.known(selector) else ())
        self.asked.append(question)
        return self._answer(len(self.asked))

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        answer = await self.ask(question, now=now)
        if isinstance(answer, Failed):
            return answer
        return Dealt(hands={("booking",): answer}, nothing=parts(bad=(), total=()))

    async def inspect(self) -> SourceReport:
        if self._hangs:
            await asyncio.Event().wait()
        if isinstance(self._report, Exception):
            raise self._report
        return self._report

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        return


class Channel:
    """Says `trouble` of itself; must never be asked to send."""

    def __init__(self, trouble: str | None = None) -> None:
        self._trouble = trouble

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivered:
        raise AssertionError("the doctor sends nothing")

    async def inspect(self) -> str | None:
        return self._trouble

    async def aclose(self) -> None:
        return


def parts(**values: tuple[float, ...]) -> Answer:
    return Answer(
        parts={"newest": (datetime.now(UTC).timestamp(),), **values}, evaluated_at=datetime.now(UTC)
    )


def configuration(
    tmp_path: Path, *, services: tuple[Service, ...] | None = None, **changes: Any
) -> Configuration:
    settings = ProviderSettings(timeout=timedelta(seconds=1))
    provider = Provider(kind="fake", settings=settings, at=HERE)
    services = services or (Service(name="trips", labels={"team": "booking"}, rules=("error-rate",)),)
    known: dict[str, Any] = {
        "path": tmp_path / "watchdog.yaml",
        "store_url": f"sqlite:///{tmp_path}/watchdog.db",
        "pause_file": tmp_path / "pause",
        "server": Server(),
        "intervals": Intervals(),
        "limits": Limits(),
        "rules": {rule.name: rule for rule in (RATE, QUEUE)},
        "services": {one.name: ServiceEntry(service=one, traffic=provider) for one in services},
        "sources": {"numbers": provider},
        "channels": {"ops": provider},
        "routes": (),
    }
    return Configuration(**{**known, **changes})


async def store_with(*deployments: Deployment, incidents: tuple[Incident, ...] = ()) -> MemoryStore:
    store = MemoryStore()
    await store.open()
    await store.claim(now=datetime.now(UTC))
    await store.commit(Turn(deployments=deployments, incidents=incidents))
    return store


class Clinic:
    """Healthy parts, of which a test breaks one."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.source = Source()
        self.channel = Channel()
        self.switch = FakeSwitch({"blue": BLUE_READY, "green": GREEN_LIVE})
        self.switches: dict[str, TrafficSwitch] | None = None
        self.configuration = configuration(tmp_path)
        self.kernel: int | None = 0
        self.deployments: tuple[Deployment, ...] = (SERVED, LIVE)
        self.incidents: tuple[Incident, ...] = ()
        self.probes: dict[str, Probe] = {}

    async def examine(self, *, patience: float = 0.0) -> list[Finding]:
        (self.tmp_path / "watchdog.db").touch()
        found = await examine_parts(
            self.configuration,
            Parts(
                sources={"numbers": self.source},
                channels={"ops": self.channel},
                switches=self.switches or {"trips": self.switch},
                reader=await store_with(*self.deployments, incidents=self.incidents),
                probes=self.probes,
            ),
            clock=SystemClock(),
            patience=timedelta(seconds=patience),
            kernel=lambda: self.kernel,
        )
        assert self.switch.writes == 0
        return found

    async def troubles(self, **options: float) -> list[tuple[str, Health, str]]:
        return [
            (one.what, one.health, one.detail)
            for one in await self.examine(**options)
            if one.health is not Health.OK
        ]


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


async def test_a_healthy_installation_has_nothing_but_good_findings(clinic: Clinic) -> None:
    found = await clinic.examine()
    assert worst(found) is Health.OK, found
    assert [one.what for one in found] == [
        "environment",
        "clock",
        "configuration",
        "back-tests",
        "rights",
        "store",
        "disk",
        "pause file",
        "source numbers",
        "channel ops",
        "switch of trips",
        "rollback of trips",
        "rollback of trips",
        "data of trips",
    ]


async def test_a_source_that_does_not_answer_is_bad_and_its_data_not_looked_at(clinic: Clinic) -> None:
    clinic.source = Source(report=SourceReport(ok=False, detail="refused", advice="start it"))
    assert await clinic.troubles() == [("source numbers", Health.BAD, "refused")]
    assert clinic.source.asked == []


@pytest.mark.virtual_time
async def test_a_provider_that_hangs_does_not_hold_up_the_doctor(tmp_path: Path) -> None:
    found = await examine_parts(
        configuration(tmp_path, services=(), pause_file=None),
        Parts(
            sources={"numbers": Source(hangs=True)},
            channels={"ops": Channel()},
            switches={},
            reader=await store_with(),
        ),
        clock=LoopClock(),
    )
    assert [(one.what, one.detail) for one in found if one.health is Health.BAD] == [
        ("source numbers", "no answer within 6 s")
    ]


async def test_a_provider_that_breaks_its_promise_is_bad_and_hides_nothing(clinic: Clinic) -> None:
    clinic.source = Source(report=RuntimeError("secret"))
    found = await clinic.troubles()
    assert found == [("source numbers", Health.BAD, "RuntimeError while looking at it")]


async def test_a_channel_with_trouble_is_bad(clinic: Clinic) -> None:
    clinic.channel = Channel("the address does not resolve")
    assert await clinic.troubles() == [("channel ops", Health.BAD, "the address does not resolve")]


async def test_a_switch_that_cannot_be_read_is_bad(clinic: Clinic) -> None:
    clinic.switch.fail_read(SwitchUnreachable("/run/haproxy/admin.sock: no such file"))
    assert await clinic.troubles() == [
        ("switch of trips", Health.BAD, "/run/haproxy/admin.sock: no such file")
    ]


async def test_a_switch_that_may_be_read_but_not_changed_is_bad(clinic: Clinic) -> None:
    clinic.switch.trouble = "this socket has the level 'operator'"
    assert await clinic.troubles() == [
        ("switch of trips", Health.BAD, "this socket has the level 'operator'")
    ]


@pytest.mark.parametrize(
    ("blue", "told"),
    [
        (VariantState(weight=0, ready=0, total=2), "blue: 0 of 2 ready, 2 needed"),
        (VariantState(weight=0, ready=1, total=2), "blue: 1 of 2 ready, 2 needed"),
        (VariantState(weight=0, ready=None, note="no check"), "blue: readiness unknown (no check)"),
        (VariantState(weight=100, ready=2, total=2), "every variant takes traffic"),
    ],
    ids=str,
)
async def test_a_rollback_that_would_not_work_now_is_bad(
    clinic: Clinic, blue: VariantState, told: str
) -> None:
    clinic.switch = FakeSwitch({"blue": blue, "green": GREEN_LIVE})
    bad = [detail for what, health, detail in await clinic.troubles() if health is Health.BAD]
    assert len(bad) == 1
    assert told in bad[0]


async def test_it_only_warns_where_nothing_would_be_rolled_back(clinic: Clinic) -> None:
    watched = Service(name="trips", labels={"team": "booking"}, rules=("error-rate",), mode=Mode.OBSERVE)
    clinic.configuration = configuration(clinic.tmp_path, services=(watched,))
    clinic.switch = FakeSwitch({"green": GREEN_LIVE})
    assert [health for _, health, _ in await clinic.troubles()] == [Health.WARN]


async def test_traffic_nowhere_is_said(clinic: Clinic) -> None:
    clinic.switch = FakeSwitch({"blue": BLUE_READY})
    assert ("rollback of trips", Health.BAD, "no variant takes traffic") in await clinic.troubles()


async def test_an_object_that_somebody_else_manages_is_a_warning(clinic: Clinic) -> None:
    clinic.switch = FakeSwitch({"blue": BLUE_READY, "green": GREEN_LIVE}, managed_by="argo-cd")
    assert [(what, health) for what, health, _ in await clinic.troubles()] == [
        ("switch of trips", Health.WARN)
    ]


async def test_without_a_known_good_version_people_are_warned(clinic: Clinic) -> None:
    clinic.deployments = (BAD,)
    assert [(what, health) for what, health, _ in await clinic.troubles()] == [
        ("rollback of trips", Health.WARN)
    ]


async def test_before_the_first_start_no_version_is_known_good(tmp_path: Path) -> None:
    found = await examine_parts(
        configuration(tmp_path),
        Parts(
            sources={},
            channels={},
            switches={"trips": FakeSwitch({"blue": BLUE_READY, "green": GREEN_LIVE})},
            reader=MemoryStore(),
        ),
        clock=SystemClock(),
        patience=timedelta(),
        kernel=lambda: 0,
    )
    assert [(one.what, one.detail) for one in found if one.health is Health.WARN] == [
        (
            "rollback of trips",
            "no version on a variant without traffic is known good yet: nothing is known of what blue carries",
        )
    ]


async def test_two_services_on_one_object_without_a_lock_are_bad(clinic: Clinic) -> None:
    names = ("trips", "hotels")
    services = tuple(Service(name=name, labels={"team": "x"}, rules=("error-rate",)) for name in names)
    clinic.configuration = configuration(clinic.tmp_path, services=services)
    state = {"blue": BLUE_READY, "green": GREEN_LIVE}
    for tier, wanted in ((Tier.B, 1), (Tier.A, 0)):
        clinic.switches = {name: FakeSwitch(state, tier=tier, identity="haproxy:x") for name in names}
        shared = [detail for what, _, detail in await clinic.troubles() if what == "switches"]
        assert len(shared) == wanted
        assert all("trips and hotels" in detail for detail in shared)


async def test_rules_are_asked_for_the_live_version_with_all_variables(clinic: Clinic) -> None:
    await clinic.examine()
    (question,) = clinic.source.asked
    assert question.form == Ratio(bad='errors{version="v2"}', total='requests{version="v2",team="booking"}')


async def test_where_the_switch_tells_no_version_the_store_names_the_live_one(clinic: Clinic) -> None:
    clinic.switch = FakeSwitch(
        {"blue": replace_struct(BLUE_READY, version=None), "green": replace_struct(GREEN_LIVE, version=None)}
    )
    older = replace_struct(BAD, id="d0", version="v0", live_at=BAD.started_at - timedelta(days=2))
    clinic.deployments = (older, GOOD, replace_struct(BAD, live_at=BAD.started_at))
    await clinic.examine()
    (question,) = clinic.source.asked
    assert question.form == Ratio(bad='errors{version="v2"}', total='requests{version="v2",team="booking"}')


async def test_with_two_versions_live_a_rule_is_asked_for_each(clinic: Clinic) -> None:
    clinic.switch = FakeSwitch({"blue": replace_struct(GREEN_LIVE, version="v1"), "green": GREEN_LIVE})
    clinic.source = Source(lambda _: parts(bad=(), total=()))
    told = {what: detail for what, _, detail in await clinic.troubles()}
    assert len(clinic.source.asked) == 2
    assert told["data of trips"].startswith("1 of 1 rules have none: error-rate@v1: ")
    assert "; error-rate@v2: " in told["data of trips"]


@pytest.mark.parametrize(
    ("answer", "health", "told"),
    [
        (parts(bad=(), total=()), Health.WARN, "error-rate: "),
        (
            Failed(reason=FailReason.QUERY_ERROR, detail="parse error at 3"),
            Health.BAD,
            "error-rate: parse error at 3",
        ),
    ],
    ids=["empty", "refused"],
)
async def test_a_rule_without_data_is_named(
    clinic: Clinic, answer: Answer | Failed, health: Health, told: str
) -> None:
    clinic.source = Source(lambda _: answer)
    ((what, seen, detail),) = await clinic.troubles()
    assert (what, seen) == ("data of trips", health)
    assert detail.startswith("1 of 1 rules have none: " + told)


async def test_a_source_that_fails_is_not_asked_about_selectors_too(clinic: Clinic) -> None:
    clinic.source = Source(lambda _: Failed(reason=FailReason.TIMEOUT, detail="no answer within 1 s"))
    ((what, health, detail),) = await clinic.troubles()
    assert (what, health) == ("data of trips", Health.BAD)
    assert detail.endswith("no answer within 1 s")
    assert (len(clinic.source.asked), clinic.source.looked) == (1, [])


async def test_a_source_that_begins_with_nothing_is_asked_again(clinic: Clinic) -> None:
    clinic.source = Source(
        lambda count: parts(bad=(1.0,), total=(9.0,)) if count > 1 else parts(bad=(), total=())
    )
    assert await clinic.troubles(patience=5) == []
    assert len(clinic.source.asked) == 2


async def test_notes_of_the_configuration_are_warnings(clinic: Clinic) -> None:
    note = Problem(at=HERE, message="rule 'queue' is used by no service")
    clinic.configuration = configuration(clinic.tmp_path, notes=(note,))
    assert await clinic.troubles() == [("configuration", Health.WARN, str(note))]


async def test_a_pause_file_is_a_warning_and_one_that_cannot_be_looked_at_is_bad(clinic: Clinic) -> None:
    pause = clinic.tmp_path / "pause"
    pause.touch()
    assert [(what, health) for what, health, _ in await clinic.troubles()] == [("pause file", Health.WARN)]
    clinic.configuration = configuration(clinic.tmp_path, pause_file=pause / "below-a-file")
    assert [(what, health) for what, health, _ in await clinic.troubles()] == [("pause file", Health.BAD)]


async def test_a_store_that_does_not_exist_yet_is_fine_where_it_can_be_made(tmp_path: Path) -> None:
    found = await store_finding(tmp_path, tmp_path / "watchdog.db")
    assert found.health is Health.OK
    assert "makes it at its first start" in found.detail
    missing = await store_finding(tmp_path, tmp_path / "nowhere" / "watchdog.db")
    assert missing.health is Health.BAD
    assert "does not exist" in missing.detail
    assert "install -d" in missing.advice


async def test_a_store_that_cannot_be_read_is_bad_with_advice(clinic: Clinic) -> None:
    class Broken(MemoryStore):
        async def audit(self, **_: Any) -> Any:
            raise StoreError("the file is damaged", advice="restore a copy")

    (clinic.tmp_path / "watchdog.db").touch()
    found = await examine_parts(
        clinic.configuration,
        Parts(sources={}, channels={}, switches={"trips": clinic.switch}, reader=Broken()),
        clock=SystemClock(),
        patience=timedelta(),
    )
    bad = [one for one in found if one.health is Health.BAD]
    assert [(one.what, one.detail, one.advice) for one in bad] == [
        ("store", "the file is damaged", "restore a copy")
    ]


async def store_finding(tmp_path: Path, file: Path) -> Finding:
    found = await examine_parts(
        configuration(tmp_path, services=(), store_url=f"sqlite:///{file}"),
        Parts(sources={}, channels={}, switches={}, reader=MemoryStore()),
        clock=SystemClock(),
        patience=timedelta(),
    )
    return next(one for one in found if one.what == "store")


async def test_a_real_page_is_scraped_until_it_has_data(
    tmp_path: Path, start_app: Callable[..., VersionedApp]
) -> None:
    app = start_app(version="v2")
    state = tmp_path / "state.json"
    state.write_text('{"revision": "1", "variants": {"green": {"weight": 1, "version": "v2"}}}')

    rule = Rule(
        name="error-rate",
        form=Ratio(bad='http_requests_total{status=~"5.."}', total='http_requests_total{version="$version"}'),
        thresholds=Thresholds(critical=0.01),
        source="numbers",
        window=timedelta(seconds=10),
    )
    scrape = ScrapeSettings(urls=(f"{app.url}/metrics",), interval=timedelta(milliseconds=200))
    command = CommandSettings(read=["cat", str(state)], apply=["true", "{variant}"])
    service = Service(name="trips", rules=("error-rate",), mode=Mode.OBSERVE)
    entry = ServiceEntry(service=service, traffic=Provider(kind="command", settings=command, at=HERE))
    written = replace(
        configuration(tmp_path),
        rules={"error-rate": rule},
        sources={"numbers": Provider(kind="scrape", settings=scrape, at=HERE)},
        services={"trips": entry},
        channels={},
    )
    visiting = asyncio.create_task(visit(app.url))
    found = {one.what: one for one in await examine(written)}
    visiting.cancel()
    await asyncio.gather(visiting, return_exceptions=True)
    assert found["source numbers"].health is Health.OK
    assert found["data of trips"].health is Health.OK, found["data of trips"]


# Selectors and windows


async def rule_findings(clinic: Clinic) -> dict[str, str]:
    return {what: detail for what, _, detail in await clinic.troubles() if what.startswith("rule ")}


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ("requests{", 'no series of requests has version="v2"'),
        ("requests", "no series is named requests"),
        ('requests{team!=""}', "no series of requests has a label team"),
        ('requests{team="booking"}', 'no series of requests has team="booking"'),
        (",team=", "no series fits all its conditions together"),
    ],
)
async def test_a_selector_that_never_matched_is_told_with_the_part_that_is_to_blame(
    clinic: Clinic, unknown: str, said: str
) -> None:
    clinic.source = Source(lambda _: parts(bad=(), total=()))
    whole = 'requests{version="v2",team="booking"}'
    absent = {
        "requests{": {whole, 'requests{version="v2"}'},
        "requests": {whole, "requests"},
        ",team=": {whole},
    }.get(unknown, {whole, unknown})
    clinic.source.known = lambda selector: selector not in absent
    found = await rule_findings(clinic)
    assert found == {"rule error-rate of trips": f"{said}, so {whole} never matched"}


async def test_that_nothing_bad_ever_happened_is_no_news_but_a_label_that_nothing_has_is(
    clinic: Clinic,
) -> None:
    never = {'errors{version="v2"}'}
    clinic.source.known = lambda selector: selector not in never
    assert await clinic.troubles() == []
    never.add('errors{version!=""}')
    found = await rule_findings(clinic)
    assert found == {
        "rule error-rate of trips": 'no series of errors has a label version, so errors{version="v2"} never matched'
    }


async def test_a_metric_that_was_renamed_is_told_with_since_when_and_with_what_looks_most_like_it(
    clinic: Clinic,
) -> None:
    clinic.source = Source(lambda _: parts(bad=(), total=()))
    clinic.source.ages = {"requests": timedelta(hours=2)}
    clinic.source.named = ("up", "http_requests", "errors")
    told = {one.what: one for one in await clinic.examine() if one.what.startswith("rule ")}
    found = told["rule error-rate of trips"]
    assert found.detail.startswith("no series is named requests since 20")
    assert found.advice.endswith("; most like it is http_requests")


async def test_a_label_that_was_changed_is_told_with_since_when(clinic: Clinic) -> None:
    clinic.source = Source(lambda _: parts(bad=(), total=()))
    whole = 'requests{version="v2",team="booking"}'
    clinic.source.ages = {whole: timedelta(hours=2)}
    found = await rule_findings(clinic)
    assert found["rule error-rate of trips"].startswith(f"nothing fits {whole} since 20")
    assert found["rule error-rate of trips"].endswith(", though there is requests")


async def test_errors_that_are_counted_no_more_are_told_although_the_rule_has_data(clinic: Clinic) -> None:
    clinic.source.ages = {"errors": timedelta(hours=2), 'errors{version="v2"}': timedelta(hours=2)}
    found = await rule_findings(clinic)
    assert found["rule error-rate of trips"].startswith("no series is named errors since ")
    clinic.source.ages = {'errors{version="v2"}': timedelta(hours=2)}
    assert await rule_findings(clinic) == {}, "nothing bad happened since"


async def test_a_query_whose_events_nothing_counts_is_told_although_it_has_a_value(clinic: Clinic) -> None:
    counted = Rule(
        name="queue",
        form=Query(query="queue", events="arrived"),
        thresholds=Thresholds(critical=5),
        source="numbers",
    )
    one = Service(name="trips", rules=("queue",))
    clinic.configuration = configuration(clinic.tmp_path, services=(one,), rules={"queue": counted})
    clinic.source = Source(lambda _: parts(value=(1.0,), events=()))
    ((_, _, detail),) = [told for told in await clinic.troubles() if told[0] == "data of trips"]
    assert "its `evidence: events` gives no series, so it never judges" in detail
    clinic.source = Source(lambda _: parts(value=(1.0,), events=(0.0,)))
    assert await clinic.troubles() == [], "a quiet service"


async def test_what_the_daemon_told_of_missing_data_is_shown_with_since_when(clinic: Clinic) -> None:
    clinic.incidents = (
        Incident(
            id="inc-1",
            kind=IncidentKind.BLIND,
            state=IncidentState.OPEN,
            subject="trips",
            opened_at=datetime(2026, 3, 2, 10, tzinfo=UTC),
            level=Level.UNKNOWN,
            severity=Severity.HIGH,
            summary="errors has no data (empty)",
        ),
    )
    ((what, health, detail),) = await clinic.troubles()
    assert (what, health) == ("data of trips", Health.WARN)
    assert detail == "not being watched, told 2026-03-02 10:00 UTC: errors has no data (empty)"


@pytest.mark.parametrize(
    ("pulse", "health"),
    [
        (Pulse(passed=True, at=NOW, asked="TCP gateway:53", detail="connected"), Health.OK),
        (Pulse(passed=False, at=NOW, answered=True, asked="TCP gateway:53", detail="late"), Health.OK),
        (Pulse(passed=False, at=NOW, asked="TCP gateway:53", detail="refused"), Health.WARN),
        (Failed(reason=FailReason.UNABLE, asked="TCP gateway:53", detail="no route"), Health.WARN),
    ],
)
async def test_a_reference_that_does_not_answer_while_all_is_well_is_a_warning(
    clinic: Clinic, pulse: Pulse | Failed, health: Health
) -> None:
    class Gateway:
        async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
            return pulse

        async def aclose(self) -> None:
            return

    settings = ProviderSettings(timeout=timedelta(seconds=1))
    reference = Provider(kind="tcp", settings=settings, at=HERE)
    clinic.configuration = replace(clinic.configuration, self_check=(reference,))
    clinic.probes = {"tcp": Gateway()}
    (found,) = [one for one in await clinic.examine() if one.what == "self_check TCP gateway:53"]
    assert (found.health, found.detail) == (health, pulse.detail)


async def test_a_source_that_does_not_say_what_there_was_blames_nobody(clinic: Clinic) -> None:
    failed = Failed(reason=FailReason.TIMEOUT, detail="no answer")

    class Silent(Source):
        async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
            return failed if isinstance(question.form, Query) else parts(bad=(), total=())

    clinic.source = Silent()
    assert [what for what, _, _ in await clinic.troubles()] == ["data of trips"]


async def test_a_window_shorter_than_four_scrapes_is_told_with_what_to_write(clinic: Clinic) -> None:
    for every, told in ((15.5, []), (16.0, ["1m4s"]), (30.0, ["2m"]), (None, [])):
        clinic.source.every = every
        found = list((await rule_findings(clinic)).values())
        assert [f"write window: {better} " in detail for better, detail in zip(told, found, strict=True)] == [
            True for _ in told
        ]
    clinic.source.every = 30.0
    ((_, health, detail),) = await clinic.troubles()
    assert health is Health.WARN
    assert detail.startswith("its window of 1m is shorter than four scrape intervals of 30s;")


async def test_a_rule_with_match_is_looked_at_for_this_services_series(clinic: Clinic) -> None:
    shared = Rule(
        name="error-rate",
        form=Ratio(bad="errors", total='requests{path=~"/.*"}'),
        match=Match(labels={"team": "label.team"}),
        thresholds=Thresholds(critical=0.01),
        source="numbers",
    )
    clinic.configuration = replace(clinic.configuration, rules={"error-rate": shared})
    assert await clinic.troubles() == []
    other = Service(name="trips", labels={"team": "hotels"}, rules=("error-rate",))
    clinic.configuration = configuration(clinic.tmp_path, services=(other,), rules={"error-rate": shared})
    clinic.source.known = lambda selector: "hotels" not in selector
    found = await rule_findings(clinic)
    assert found == {
        "rule error-rate of trips": (
            'no series of requests has team="hotels", so requests{path=~"/.*",team="hotels"} never matched'
        )
    }


# Rights, room, clock


async def test_a_known_good_version_that_is_not_ready_is_bad_when_only_another_standby_is(
    clinic: Clinic,
) -> None:
    clinic.switch = FakeSwitch(
        {"blue": replace_struct(BLUE_READY, ready=0), "green": GREEN_LIVE, "red": BLUE_READY}
    )
    assert await clinic.troubles() == [
        ("rollback of trips", Health.BAD, "v1 is known good, but not ready: blue: 0 of 2 ready, 2 needed")
    ]


async def test_a_variant_that_carries_a_later_deployment_is_no_target_for_its_earlier_version(
    clinic: Clinic,
) -> None:
    later = replace_struct(SERVED, id="d9", version="v3", state=DeploymentState.PENDING, live_at=None)
    later = replace_struct(later, started_at=BAD.started_at, recorded_at=BAD.recorded_at)
    clinic.deployments = (SERVED, LIVE, later)
    clinic.switch = FakeSwitch({"blue": replace_struct(BLUE_READY, version=None), "green": GREEN_LIVE})
    ((_, health, detail),) = await clinic.troubles()
    assert health is Health.WARN
    assert detail.endswith("version v3 on blue was never stable (pending)")


async def test_a_clock_that_nobody_keeps_right_is_a_warning(clinic: Clinic) -> None:
    clinic.kernel = 0x2041
    assert [(what, health) for what, health, _ in await clinic.troubles()] == [("clock", Health.WARN)]
    clinic.kernel = None
    assert await clinic.troubles() == []


def test_the_kernel_says_whether_its_clock_is_kept() -> None:
    status = kernel_status()
    assert status is None or 0 <= status < 0x10000


async def test_a_configuration_that_everybody_may_change_is_bad(clinic: Clinic) -> None:
    file = clinic.configuration.path
    file.touch()
    file.chmod(0o646)
    ((what, health, detail),) = await clinic.troubles()
    assert (what, health) == ("rights", Health.BAD)
    assert detail == f"everybody on this machine may change {file}, and so what the daemon runs"


def test_a_secret_that_everybody_may_read_is_a_warning() -> None:
    # pytest's own folders let nobody else in, which is the other half of the answer.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "token"
        secret.write_text("s3cret")
        secret.chmod(0o644)
        (found,) = rights(configuration(Path(folder)), [secret])
        assert (found.health, found.detail) == (
            Health.WARN,
            f"everybody on this machine may read the secret in {secret}",
        )
        assert found.advice == f"chmod o-rwx {secret}"
        Path(folder).chmod(0o700)
        (found,) = rights(configuration(Path(folder)), [secret])
        assert found.health is Health.OK


async def test_little_room_for_the_store_is_told(clinic: Clinic, tmp_path: Path) -> None:
    (tmp_path / "watchdog.db").touch()
    told = [
        [(one.health, one.detail) for one in room(tmp_path / "watchdog.db", free=free, files=files)]
        for free, files in ((5 * 2**20, 10**6), (100 * 2**20, 10**6), (10 * 2**30, 50), (10 * 2**30, 10**6))
    ]
    assert told == [
        [(Health.BAD, f"only 5 MiB are free in {tmp_path}")],
        [(Health.WARN, f"only 100 MiB are free in {tmp_path}")],
        [(Health.WARN, f"only 50 more files fit into {tmp_path}")],
        [(Health.OK, f"10.0 GiB are free in {tmp_path}")],
    ]


async def visit(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(url):
                pass
