"""Rules with a baseline, from the first sight of a service to the end of a rollback."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.core.history import PER_VERSION, History, Measured, baseline
from tests.core.scenario import T0, of_service
from watchdog.core.audit import AuditRecord
from watchdog.core.baseline import Earlier
from watchdog.core.check import Reason
from watchdog.core.comparing import Comparison, compared, comparison
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Reference, Value
from watchdog.core.replay import replay
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Against, Level, Query, Rule, Severity, Thresholds

HALF_AN_HOUR = timedelta(minutes=30)
#: A rule of the whole service that nothing here breaches.
LOAD = of_service("load", thresholds=Thresholds(rollback=10_000.0))


class Requests:
    """Requests per second: 530 on whatever is live, 212 on green (60 % fewer) while `bad` holds."""

    def __init__(self, *, usual: float = 530.0, low: float = 212.0) -> None:
        self.usual, self.low = usual, low
        self.bad: list[tuple[datetime, datetime | None]] = []

    def falls(self, at: datetime) -> None:
        self.bad.append((at, None))

    def recovers(self, at: datetime) -> None:
        self.bad[-1] = (self.bad[-1][0], at)

    def __call__(self, version: str, at: datetime) -> float | None:
        if version == "green":
            return self.low
        if version == "blue":
            return self.usual
        fallen = any(since < at and (until is None or at < until) for since, until in self.bad)
        return self.low if fallen else self.usual


def stable_blue(*rules: Rule, measured: Measured | None = None, **policy: Any) -> History:
    """Blue was adopted and proved itself by every rule; green stands by."""
    story = History(*(rules or (baseline(),)), measured=measured or Requests(), **policy)
    story.traffic(blue=1, green=0)
    story.live_for("11m")
    return story


def test_requests_fall_after_a_deployment_and_it_is_rolled_back_and_they_recover() -> None:
    requests = Requests()
    story = stable_blue(measured=requests)
    assert story.on("blue").state is DeploymentState.STABLE  # compared with what was before the first sight

    requests.falls(story.now)
    story.deployed()
    for _ in range(2):
        story.after("10s").poll()
    story.rollback_is(RollbackState.INTENDED)
    said = "212 is 60% below 530, the median in the 30m before the deployment, beyond the limit of 238.5"
    assert story.rollback.reason == said
    facts = dict(story.message(MessageKind.INCIDENT_OPENED).facts)
    assert facts["requests"].startswith("critical, 212 (limit 265) since ")
    facts = dict(story.message(MessageKind.INCIDENT_WORSENED).facts)
    assert facts["requests"].startswith("rollback, 212 (limit 238.5) since ")

    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    requests.recovers(story.now)
    story.after("2s").traffic().after("5s")
    asked = len(story.asked)
    for _ in range(3):
        story.after("5s").poll()
    assert len(story.asked) == asked, "the breach's own reference is known"
    story.after("1m").traffic().tick()

    story.rollback_is(RollbackState.COMPLETED)
    assert story.rollback.references["requests"].value == 530
    assert IncidentKind.BREACH not in {one.kind for one in story.service.incidents.values()}


def test_what_was_decided_on_a_reference_replays_from_its_record_alone() -> None:
    requests = Requests()
    story = stable_blue(measured=requests)
    requests.falls(story.now)
    story.deployed()
    for _ in range(2):
        story.after("10s").poll()

    decided = [draft for draft in story.audit if draft.kind in ("incident_opened", "rollback_intended")]
    assert len(decided) == 2
    for number, draft in enumerate(decided):
        record = AuditRecord(
            seq=number,
            at=draft.at,
            kind=draft.kind,
            subject=draft.subject,
            body=draft.body,
            previous="",
            hash="",
        )
        again = replay(record)
        assert again is not None
        assert again.faithful
        assert again.again is not None
        assert "530, the median" in again.again.explanation
        tampered = {**draft.body, "observation": {**draft.body["observation"], "reference": None}}
        other = replay(
            AuditRecord(seq=9, at=draft.at, kind=draft.kind, subject="", body=tampered, previous="", hash="")
        )
        assert other is not None
        assert not other.faithful
        assert other.again is not None
        assert other.again.reason is Reason.NO_REFERENCE


def test_a_version_is_compared_with_the_one_that_it_replaced() -> None:
    story = stable_blue(baseline(form=PER_VERSION)).deployed()
    verdict = story.poll(on="green")

    assert verdict.level is Level.ROLLBACK
    assert "the median of blue in the 30m before the deployment" in verdict.explanation
    asked = story.asked[-1]
    assert asked.form == Query(query='requests{version="blue"}')
    assert (asked.at, asked.version) == (story.on("green").started_at, "blue")
    assert asked.median_over == timedelta(minutes=30)


def test_a_rule_that_names_the_deployment_asks_for_the_one_before() -> None:
    story = stable_blue(baseline(form=Query(query='requests{deployment="$deployment"}')))
    before = story.on("blue").id
    story.deployed().poll()

    assert story.asked[-1].form == Query(query=f'requests{{deployment="{before}"}}')


def test_a_reference_is_asked_for_until_it_is_settled_and_then_known() -> None:
    story = stable_blue()
    story.after("5s").traffic(blue=0, green=1)  # 5 s after the last read: that is when it began
    story.asked.clear()
    story.after("35s").poll()
    story.after("10s").poll()
    assert len(story.asked) == 2  # the newest samples before the deployment may not be there yet
    story.after("30s").poll()
    assert len(story.asked) == 3
    story.after("30s").poll()
    story.restart().after("30s").poll()

    assert len(story.asked) == 3
    assert story.remembers().verdict is not None
    story.live_for("20m").deployed(blue=1, green=0)
    story.poll()
    assert story.asked[-1].at == story.on("blue").started_at


@pytest.mark.parametrize(
    ("value", "samples", "why"),
    [
        (0.0, 100.0, "the median in the 30m before the deployment is 0, of which no share is worse"),
        (-3.0, 100.0, "the median in the 30m before the deployment is -3, of which no share is worse"),
        (530.0, 9.0, "the median in the 30m before the deployment has 9 samples of the 10 it takes"),
        (530.0, math.nan, "the median in the 30m before the deployment has 0 samples of the 10 it takes"),
        (None, 0.0, "the median in the 30m before the deployment has 0 samples of the 10 it takes"),
        (float("nan"), 10.0, "the median in the 30m before the deployment does not exist"),
        (float("inf"), 10.0, "the median in the 30m before the deployment is infinite"),
    ],
)
def test_without_enough_to_compare_with_nothing_is_known(
    value: float | None, samples: float, why: str
) -> None:
    story = stable_blue().deployed()
    story.samples = samples
    story.measured = lambda version, at: (
        value if at < story.on("green").started_at + timedelta(seconds=30) else 1.0
    )
    verdict = story.poll()

    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert verdict.explanation == f"there is nothing to compare it with: {why}"
    assert story.remembers().blind_since is None


def test_ten_samples_are_enough() -> None:
    story = stable_blue(samples=10.0).deployed()
    assert story.poll().level is Level.OK


def test_what_is_wrong_with_the_value_itself_is_told_first() -> None:
    story = stable_blue().deployed()
    needed = comparison(story.service, story.check(), story.rules[0], now=story.now)
    nothing = Answer(parts={"value": (), "reference": (float("nan"),)}, evaluated_at=story.now)
    seen = compared(story.rules[0], nothing, needed, now=story.now)
    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.EMPTY

    away = Failed(reason=FailReason.TIMEOUT)
    assert compared(story.rules[0], away, needed, now=story.now) is away

    parts = {"value": (5.0,), "newest": (story.now.timestamp(),), "reference": (1.0, 2.0)}
    seen = compared(story.rules[0], Answer(parts=parts, evaluated_at=story.now), needed, now=story.now)
    assert isinstance(seen, NoData)
    assert (seen.reason, seen.detail) == (NoDataReason.NO_REFERENCE, "2 values where one was asked for")


def test_long_after_a_deployment_what_was_before_it_says_nothing() -> None:
    requests = Requests()
    story = stable_blue(measured=requests, armed_for=HALF_AN_HOUR).deployed().live_for("31m")
    assert story.on("green").state is DeploymentState.STABLE

    requests.falls(story.now)  # the night
    story.live_for("26h", every="10m")
    verdict = story.poll()
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)
    assert "green is stable, and what was before it says no more about now" in verdict.explanation
    assert story.told.count(MessageKind.INCIDENT_OPENED) == 0


def test_a_breach_is_judged_until_it_is_over_however_long_that_takes() -> None:
    requests = Requests()
    pages = baseline(margins=Thresholds(critical=0.5))
    story = stable_blue(pages, measured=requests, armed_for=HALF_AN_HOUR).deployed().live_for("25m")
    requests.falls(story.now)
    story.live_for("3h", every="1m")
    assert story.incident.level is Level.CRITICAL
    requests.recovers(story.now)
    story.live_for("2m")

    assert IncidentKind.BREACH not in {one.kind for one in story.service.incidents.values()}


def test_the_first_deployment_after_a_comparison_can_be_rolled_back_though_nothing_was_known_before() -> None:
    story = History(baseline(form=PER_VERSION), LOAD, measured=Requests())
    story.samples = 0  # a scrape source has seen nothing of the time before the first sight
    story.traffic(blue=1, green=0)
    story.live_for("11m")
    assert "requests" not in story.service.known
    story.samples = 100
    story.deployed()
    for _ in range(2):
        story.after("10s").poll("requests")

    story.rollback_is(RollbackState.INTENDED)


def test_what_was_known_to_be_bad_before_is_not_rolled_back() -> None:
    requests = Requests()
    story = stable_blue(measured=requests)
    requests.falls(story.now)
    story.live_for("2m")  # blue itself, of which it is known
    story.deployed()
    story.measured = lambda version, at: 40.0 if at > story.on("green").started_at else 212.0
    for _ in range(2):
        story.after("10s").poll()

    assert ("not_already_bad", "already_bad") in story.vetoes


def test_two_live_versions_are_compared_and_only_the_newer_one_is_judged() -> None:
    story = stable_blue(LOAD, baseline(Against.PREVIOUS_VERSION, form=PER_VERSION))
    alone = story.poll("requests")
    assert alone.reason is Reason.NO_REFERENCE
    assert "no earlier version takes traffic beside it" in alone.explanation

    story.deployed(blue=1, green=1)
    story.after("10s").poll("requests", on="green")
    story.after("10s")
    assert story.poll("requests", on="blue").reason is Reason.NO_REFERENCE
    verdict = story.poll("requests", on="green")
    assert verdict.level is Level.ROLLBACK
    assert f"530, the value of blue at {story.now:%H:%M:%SZ}" in verdict.explanation
    assert story.asked[-1] == Earlier(form=Query(query='requests{version="blue"}'), version="blue")
    story.rollback_is(RollbackState.INTENDED)
    assert story.rollback.from_version == "green"

    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    story.after("2s").traffic().after("5s")
    for _ in range(3):
        story.after("5s").poll("requests", on="blue")
    story.after("1m").traffic().tick()
    story.rollback_is(RollbackState.COMPLETED, "blue is as good as it was when green was found bad")


def test_versions_seen_together_at_first_have_no_order() -> None:
    story = History(baseline(Against.PREVIOUS_VERSION, form=PER_VERSION), measured=Requests())
    story.traffic(blue=1, green=1).after("30s")

    assert {story.poll(on=variant).reason for variant in ("blue", "green")} == {Reason.NO_REFERENCE}


def test_the_same_version_on_two_variants_is_no_other_version() -> None:
    story = stable_blue(baseline(Against.PREVIOUS_VERSION, form=Query(query='requests{on="$variant"}')))
    story.post(story.on("blue").version, "green")
    story.deployed(blue=1, green=1)

    assert story.poll(on="green").reason is Reason.NO_REFERENCE


def test_a_day_ago_is_asked_of_what_was_live_then() -> None:
    story = History(baseline(Against.EARLIER, ago="24h", form=PER_VERSION), measured=Requests())
    story.traffic(blue=1, green=0)
    story.live_for("25h", every="10m")
    story.deployed()
    assert "the value of blue 1d before" in story.poll(on="green").explanation
    assert story.asked[-1].version == "blue"
    assert story.asked[-1].ago == timedelta(hours=24)
    story.live_for("25h", every="10m")
    story.poll(on="green")
    assert story.asked[-1].version == "green"


def test_what_has_no_past_yet_pages_nobody_and_what_never_has_is_told_in_a_low_voice() -> None:
    def nothing_before(version: str, at: datetime) -> float | None:
        return 530.0 if at >= story.now else None

    story = History(baseline(Against.EARLIER, ago="6h"), measured=lambda version, at: 530.0)
    story.measured = nothing_before
    story.traffic(blue=1, green=0)
    story.live_for("6h", every="1m")
    assert story.told == []

    story.live_for("1h", every="1m")
    told = story.message(MessageKind.INCIDENT_OPENED)
    assert told.severity is Severity.LOW
    assert "requests has nothing to compare with (no_reference)" in told.headline
    story.measured = lambda version, at: 530.0
    story.live_for("2m")
    assert not story.service.incidents


def test_an_armed_deployment_without_a_reference_is_told_and_one_that_was_there_is_not() -> None:
    story = History(LOAD, baseline(), measured=lambda version, at: 1.0, samples=3)
    story.traffic(blue=1, green=0)
    story.live_for("20m")
    assert story.told == []
    story.deployed().live_for("5m")
    told = story.message(MessageKind.INCIDENT_OPENED)
    assert told.severity is Severity.LOW

    story.live_for("1h", every="1m")  # it is stable, armed no more, and would not be judged any more
    assert story.told == [MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED]


def test_a_check_that_loses_its_data_too_is_told_aloud() -> None:
    story = History(baseline(), measured=lambda version, at: 1.0, samples=3)
    story.traffic(blue=1, green=0)
    story.live_for("1m")
    story.deployed().live_for("5m")
    (quiet,) = [one for one in story.messages if "has nothing to compare with" in one.headline]
    assert quiet.severity is Severity.LOW
    story.measured = lambda version, at: None
    story.live_for("5m")

    told = [one for one in story.messages if one.incident == quiet.incident]
    assert [one.severity for one in told] == [Severity.LOW, Severity.HIGH]
    assert {one.kind for one in told} == {MessageKind.INCIDENT_OPENED}


def test_a_person_who_closes_it_hears_of_it_as_late_again() -> None:
    story = stable_blue(LOAD, baseline())
    story.samples = 3
    story.measured = lambda version, at: 1.0
    story.deployed().live_for("5m")
    incident = story.message(MessageKind.INCIDENT_OPENED).incident
    assert incident is not None
    story.ask(RequestKind.CLOSE, incident)
    story.live_for("2m")
    assert story.told.count(MessageKind.INCIDENT_OPENED) == 1
    story.live_for("2m")
    assert story.told.count(MessageKind.INCIDENT_OPENED) == 2


def test_a_rule_without_a_baseline_is_compared_with_nothing() -> None:
    story = History(measured=Requests()).traffic(blue=1)
    assert comparison(story.service, story.check(), story.rules[0], now=T0) is None
    seen = compared(story.rules[0], Answer(parts={"value": (5.0,)}, evaluated_at=T0), None, now=T0)
    assert isinstance(seen, Value)
    assert seen.reference is None


def test_a_known_reference_is_used_as_it_is() -> None:
    reference = Reference(value=530.0, samples=30, at=T0, learnt_at=T0)
    answer = Answer(parts={"value": (100.0,), "newest": (T0.timestamp(),)}, evaluated_at=T0)
    seen = compared(baseline(), answer, Comparison(known=reference), now=T0)

    assert isinstance(seen, Value)
    assert seen.reference == reference
