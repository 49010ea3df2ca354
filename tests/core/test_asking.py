"""Every request is answered, with a status and a sentence."""

from __future__ import annotations

import pytest

from tests.core.scenario import CRITICAL, Scenario
from watchdog.core.asking import about_incident
from watchdog.core.message import MessageKind
from watchdog.core.request import Request, RequestKind


def test_a_pause_is_recorded_told_and_undone() -> None:
    scenario = Scenario()

    paused = scenario.ask(RequestKind.PAUSE, reason="freeze")
    assert paused.status == 200
    assert paused.body["paused"]["by"] == "alice"
    assert scenario.last.services, "it is stored"
    message = scenario.message(MessageKind.PAUSED)
    assert message.headline == "trips: automation paused by alice: freeze"
    assert message.next_step == "Nothing is rolled back by itself until: watchdog resume trips"
    assert message.undo == "watchdog resume trips"

    resumed = scenario.after("1m").ask(RequestKind.RESUME, by="bob")
    assert (resumed.status, resumed.body["paused"]) == (200, None)
    over = scenario.message(MessageKind.RESUMED)
    assert (over.headline, dict(over.facts)["lasted"]) == ("trips: automation resumed by bob", "1m")
    assert over.conversation == message.conversation
    assert scenario.recorded == ["paused", "resumed"]


def test_pausing_twice_keeps_the_first_and_tells_once() -> None:
    scenario = Scenario()
    scenario.ask(RequestKind.PAUSE, reason="freeze")

    again = scenario.after("1m").ask(RequestKind.PAUSE, by="bob", reason="mine")

    assert (again.status, again.body["paused"]["reason"]) == (200, "freeze")
    assert scenario.told == [MessageKind.PAUSED]


def test_resuming_what_is_not_paused_changes_nothing() -> None:
    scenario = Scenario()

    assert scenario.ask(RequestKind.RESUME).status == 200
    assert scenario.told == []
    assert scenario.recorded == []


def test_an_alert_is_recorded_and_judges_nothing() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    before = scenario.service

    heard = scenario.ask(RequestKind.ALERT, by="alertmanager", alert="HighErrorRate", fingerprint="f00d")

    assert (heard.status, heard.body) == (200, {"service": "trips"})
    (note,) = scenario.last.audit
    assert (note.kind, note.subject) == ("alert_heard", "trips")
    assert note.body == {"by": "alertmanager", "alert": "HighErrorRate", "fingerprint": "f00d"}
    assert scenario.service == before
    assert scenario.told == []


@pytest.mark.parametrize(
    "kind", [kind for kind in RequestKind if kind not in (RequestKind.SILENCE, RequestKind.RESEND)]
)
def test_a_target_that_nobody_knows_is_404(kind: RequestKind) -> None:
    scenario = Scenario().traffic(blue=1, green=0)

    reply = scenario.ask(kind, "nowhere", version="v1", variant="blue")

    assert reply.status == 404
    assert "nowhere" in reply.detail


@pytest.mark.parametrize("kind", list(RequestKind))
def test_a_request_is_about_a_service_or_an_incident(kind: RequestKind) -> None:
    request = Request(id="1", kind=kind, target="x", by="alice", at=Scenario().now)

    about = {"acknowledge", "unacknowledge", "approve", "reject", "close"}
    assert about_incident(request) is (kind.value in about)


def test_without_services_the_answer_says_so() -> None:
    scenario = Scenario()
    scenario.world = type(scenario.world)(services={})

    assert scenario.ask(RequestKind.PAUSE).detail == "there is no service 'trips'; known: none"


def test_an_answer_shows_the_record() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s").observe(value=CRITICAL)

    reply = scenario.ask(RequestKind.ACKNOWLEDGE, scenario.incident.id)

    assert reply.body["id"] == scenario.incident.id
    assert reply.body["breaches"]["trips/errors@blue"]["level"] == "critical"
