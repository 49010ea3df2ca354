from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.fake_pagerduty import API_TOKEN, ROUTING_KEY, WEBHOOK_SECRET, FakePagerDuty, pagerduty
from tests.channels.messages import AWKWARD, USUAL, message
from tests.channels.receiver import Receiver, close, garbage, hang, receiving, reset
from tests.contracts.leaks import nothing_left
from tests.eventually import Eventually
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.pagerduty import PagerDutyChannel, PagerDutySettings
from watchdog.channels.pagerduty_call import AT_ONCE
from watchdog.channels.pagerduty_events import PREFIX, Does, alert, does, incident_of, key_of
from watchdog.channels.rendering import Rendering
from watchdog.channels.specimens import specimens
from watchdog.core.check import CheckId
from watchdog.core.message import Evidence, Message, MessageKind
from watchdog.core.rule import Direction, Level, Severity, Unit

KEY = f"{PREFIX}incident/i-1"
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def there(certificate: Certificate) -> AsyncIterator[FakePagerDuty]:
    async with pagerduty(certificate) as fake:
        yield fake


def settings(url: str, **written: Any) -> PagerDutySettings:
    return PagerDutySettings.model_validate({"routing_key": SecretStr(ROUTING_KEY), "url": url} | written)


Connect = Callable[..., PagerDutyChannel]


@pytest.fixture
async def connect(there: FakePagerDuty, certificate: Certificate) -> AsyncIterator[Connect]:
    made: list[PagerDutyChannel] = []

    def build(url: str = "", **written: Any) -> PagerDutyChannel:
        chosen = {"timeout": "10s", "ca_file": certificate.file} | written
        made.append(
            PagerDutyChannel(
                settings(url or there.url, **chosen),
                name="oncall",
                clock=SystemClock(),
                rendering=Rendering(),
            )
        )
        return made[-1]

    yield build
    for one in made:
        await one.aclose()


async def send(channel: PagerDutyChannel, sent: Message = USUAL) -> Delivery:
    return await channel.send(sent, key=sent.key)


# What a message comes to


_KINDS: list[tuple[MessageKind, bool, Does]] = [
    (MessageKind.INCIDENT_OPENED, True, Does.TRIGGER),
    (MessageKind.INCIDENT_OPENED, False, Does.TRIGGER),
    (MessageKind.INCIDENT_WORSENED, True, Does.TRIGGER),
    (MessageKind.INCIDENT_CLOSED, False, Does.RESOLVE),
    (MessageKind.INCIDENT_ACKNOWLEDGED, False, Does.ACKNOWLEDGE),
    (MessageKind.INCIDENT_UNACKNOWLEDGED, True, Does.TRIGGER),
    (MessageKind.INCIDENT_REPEATED, True, Does.TRIGGER),
    (MessageKind.ESCALATED, True, Does.TRIGGER),
    (MessageKind.ACKNOWLEDGEMENT_REMINDER, True, Does.NOTHING),
    (MessageKind.WEEKLY_REPORT, False, Does.NOTHING),
    (MessageKind.ROLLBACK_BLOCKED, True, Does.TRIGGER),
    (MessageKind.APPROVAL_WANTED, True, Does.TRIGGER),
    (MessageKind.ROLLBACK_SWITCHED, False, Does.CHANGE),
    (MessageKind.ROLLBACK_SWITCHED, True, Does.TRIGGER),
    (MessageKind.ROLLBACK_COMPLETED, False, Does.CHANGE),
    (MessageKind.ROLLBACK_ENDED, True, Does.TRIGGER),
    (MessageKind.ROLLBACK_ENDED, False, Does.CHANGE),
    (MessageKind.SWITCH_UNDONE, True, Does.TRIGGER),
    (MessageKind.BREAKER_OPEN, True, Does.TRIGGER),
    (MessageKind.BREAKER_CLOSED, False, Does.RESOLVE),
    (MessageKind.CUT_OFF, True, Does.TRIGGER),
    (MessageKind.REACHABLE_AGAIN, False, Does.RESOLVE),
    (MessageKind.STORE_FAILED, True, Does.TRIGGER),
    (MessageKind.PAUSED, False, Does.CHANGE),
    (MessageKind.RESUMED, False, Does.CHANGE),
    (MessageKind.CHANNEL_FAILED, True, Does.TRIGGER),
    (MessageKind.CHANNEL_LATE, True, Does.TRIGGER),
    (MessageKind.CONFIG_BROKEN, True, Does.TRIGGER),
    (MessageKind.CONFIG_REPAIRED, False, Does.RESOLVE),
    (MessageKind.CONFIG_NEEDS_RESTART, False, Does.CHANGE),
    (MessageKind.DEPLOYMENT_WATCHED, False, Does.CHANGE),
    (MessageKind.DEPLOYMENT_STABLE, False, Does.CHANGE),
    (MessageKind.GROUPED, True, Does.TRIGGER),
    (MessageKind.TEST, False, Does.TRY),
]


@pytest.mark.parametrize(("kind", "needs_human", "expected"), _KINDS)
async def test_every_kind_of_message_has_its_event(
    connect: Connect, there: FakePagerDuty, kind: MessageKind, needs_human: bool, expected: Does
) -> None:
    sent = message(kind=kind, needs_human=needs_human)
    assert does(sent) is expected
    delivery = await send(connect(), sent)
    assert isinstance(delivery, Delivered)
    actions = [event["event_action"] for event in there.events]
    match expected:
        case Does.NOTHING:
            assert there.calls == 0
        case Does.CHANGE:
            assert (len(there.changes), actions) == (1, [])
            assert delivery.reference == ""
        case Does.TRY:
            assert actions == ["trigger", "resolve"]
            assert there.events[0]["payload"]["severity"] == "info"
        case _:
            assert (actions, there.changes) == ([expected.value], [])
            assert delivery.reference == KEY
    assert {event["dedup_key"] for event in there.events} <= {KEY}


def test_no_kind_of_message_is_forgotten() -> None:
    assert {kind for kind, _, _ in _KINDS} == set(MessageKind)


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.CRITICAL, "critical"),
        (Severity.HIGH, "error"),
        (Severity.MEDIUM, "warning"),
        (Severity.LOW, "info"),
    ],
)
async def test_each_severity_has_its_own_there(
    connect: Connect, there: FakePagerDuty, severity: Severity, expected: str
) -> None:
    await send(connect(), message(severity=severity))
    assert there.events[0]["payload"]["severity"] == expected


async def test_one_incident_is_one_alert_from_its_beginning_to_its_end(
    connect: Connect, there: FakePagerDuty
) -> None:
    channel = connect()
    for kind in (
        MessageKind.INCIDENT_OPENED,
        MessageKind.INCIDENT_WORSENED,
        MessageKind.ROLLBACK_SWITCHED,
        MessageKind.ESCALATED,
        MessageKind.INCIDENT_ACKNOWLEDGED,
        MessageKind.ROLLBACK_COMPLETED,
        MessageKind.INCIDENT_CLOSED,
    ):
        await send(channel, message(kind=kind, key=f"{kind}:i-1"))
    (alert,) = there.alerts
    assert (alert.status, alert.told, len(there.changes)) == ("resolved", 3, 2)


async def test_what_is_still_open_after_pagerduty_resolved_it_is_opened_once_more_by_its_repeat(
    connect: Connect, there: FakePagerDuty
) -> None:
    channel = connect()
    await send(channel)
    there.act(KEY, "resolved", by="auto", kind="service_reference")
    await send(channel, message(kind=MessageKind.INCIDENT_REPEATED, key="repeat:1"))
    assert len(there.alerts) == 2
    assert len(there.open(KEY)) == 1


async def test_the_end_of_what_nobody_heard_of_is_accepted_and_dropped(
    connect: Connect, there: FakePagerDuty
) -> None:
    assert isinstance(await send(connect(), message(kind=MessageKind.INCIDENT_CLOSED)), Delivered)
    assert there.alerts == []


async def test_changes_can_be_left_out(connect: Connect, there: FakePagerDuty) -> None:
    switched = message(kind=MessageKind.ROLLBACK_SWITCHED)
    assert isinstance(await send(connect(changes=False), switched), Delivered)
    orchestration = connect(routing_key=SecretStr("R" + "0" * 31))
    assert isinstance(await send(orchestration, switched), Delivered)
    assert there.calls == 0


def test_keys_are_stable_plain_and_say_which_incident() -> None:
    assert key_of(USUAL) == KEY == key_of(message(key="another", kind=MessageKind.INCIDENT_CLOSED))
    assert incident_of(KEY) == "i-1"
    about = message(incident=None, about="cut-off")
    assert key_of(about) == f"{PREFIX}about/cut-off"
    for foreign in (key_of(about), "incident/i-1", "", None, 5, f"{PREFIX}incident/", f"{PREFIX}sha256/00"):
        assert incident_of(foreign) is None
    awkward = [message(incident=None, key="k" * 300), message(incident="i 1\n"), message(incident="\ud800")]
    for one in awkward:
        key = key_of(one)
        assert len(key) <= 255
        assert key.startswith(f"{PREFIX}sha256/")
        assert key == key_of(one)
    assert len({key_of(one) for one in awkward}) == 3


# What it looks like

_EVIDENCE = Evidence(
    check=CheckId(service="trips", rule="error-rate", version="v1.4.2", variant="green"),
    unit=Unit.RATIO,
    direction=Direction.ABOVE,
    level=Level.ROLLBACK,
    since=USUAL.created_at,
    value=0.21,
    limit=0.015,
)
EXAMPLES = {
    "incident_opened": message(
        needs_human=True,
        next_step="Look at it: watchdog incidents show i-1. Take it: watchdog ack i-1",
        evidence=_EVIDENCE,
        explain="watchdog explain i-1",
        dashboard="https://grafana.example.com/d/trips",
    ),
    "incident_acknowledged": message(kind=MessageKind.INCIDENT_ACKNOWLEDGED),
    "incident_closed": message(kind=MessageKind.INCIDENT_CLOSED),
    "rollback_switched": message(
        kind=MessageKind.ROLLBACK_SWITCHED,
        headline="trips: traffic moved back from v1.4.2 to v1.4.1: 21% of 412 events were bad in 1m, above 1.5%",
        undo="watchdog mark-good trips v1.4.2 --reason TEXT",
        explain="watchdog explain r-1",
    ),
    "deployment_watched": message(
        kind=MessageKind.DEPLOYMENT_WATCHED,
        severity=Severity.LOW,
        headline="trips v1.4.2 in production: watched from now on",
        incident=None,
        rollback=None,
        facts=(),
        next_step="",
        runbook=None,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_events_look_as_they_are_kept(connect: Connect, there: FakePagerDuty, name: str) -> None:
    """`GOLDEN=write` keeps what they look like now."""
    await send(connect(), EXAMPLES[name])
    (event,) = there.events + there.changes
    assert event.pop("routing_key") == ROUTING_KEY
    path = GOLDEN / f"pagerduty_{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(event, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert event == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("kind", [MessageKind.INCIDENT_OPENED, MessageKind.DEPLOYMENT_STABLE])
async def test_awkward_text_is_never_refused(
    connect: Connect, there: FakePagerDuty, name: str, kind: MessageKind
) -> None:
    sent = AWKWARD[name]
    awkward = Message(**{field: getattr(sent, field) for field in sent.__struct_fields__} | {"kind": kind})
    assert isinstance(await send(connect(), awkward), Delivered)
    (event,) = there.events + there.changes
    assert 0 < len(event["payload"]["summary"]) <= 1024
    assert "\n" not in event["payload"]["summary"]


async def test_however_much_there_is_to_tell_headline_need_and_next_step_come_first(
    connect: Connect, there: FakePagerDuty
) -> None:
    loud = "💥" * 10_000
    sent = message(
        headline=f"trips is down {loud}",
        facts=tuple((f"name {number} {loud}", f"{loud} {number}") for number in range(2000)),
        next_step=f"Take it {loud}",
        needs_human=True,
        service=loud,
        version=loud,
        environment=loud,
        undo=loud,
        explain=loud,
        audit_head=loud,
    )
    assert isinstance(await send(connect(), sent), Delivered)
    payload = there.events[0]["payload"]
    assert payload["summary"].startswith("trips is down ")
    assert payload["summary"].endswith("…")
    details = payload["custom_details"]
    assert next(iter(details)) == "needs you"
    assert details["needs you"].startswith("Take it ")
    assert details["and more"] == "1936 facts; see the incident"


async def test_facts_of_the_same_name_are_all_there_and_take_no_place_of_ours(
    connect: Connect, there: FakePagerDuty
) -> None:
    facts = (("why", "one"), ("why", "two"), ("severity", "none at all"), ("next", "nothing"))
    await send(connect(), message(facts=facts))
    details = there.events[0]["payload"]["custom_details"]
    assert details["next"] == USUAL.next_step
    assert (details["why"], details["why (2)"], details["next (2)"]) == ("one", "two", "nothing")
    assert details["severity (2)"] == "critical"


async def test_only_addresses_become_links(connect: Connect, there: FakePagerDuty) -> None:
    await send(connect(), message(runbook="javascript:alert(1)", dashboard="see the wiki"))
    assert "links" not in there.events[0]
    assert "client_url" not in there.events[0]


# What becomes of it

_ANSWERS: list[tuple[int, dict[str, str], type[Delivery]]] = [
    (200, {}, Refused),
    (201, {}, Refused),
    (202, {}, Delivered),
    (204, {}, Refused),
    (301, {"Location": "https://example.com/"}, Refused),
    (307, {"Location": "https://example.com/"}, Refused),
    (400, {}, Refused),
    (401, {}, Refused),
    (402, {}, Refused),
    (403, {}, Refused),
    (404, {}, Refused),
    (405, {}, Refused),
    (408, {}, Later),
    (413, {}, Refused),
    (422, {}, Refused),
    (425, {}, Later),
    (429, {}, Later),
    (429, {"Retry-After": "7"}, Later),
    (429, {"ratelimit-reset": "7"}, Later),
    (500, {}, Later),
    (502, {}, Later),
    (503, {"Retry-After": "7"}, Later),
    (504, {}, Later),
    (599, {}, Later),
]


@pytest.mark.parametrize(("status", "headers", "expected"), _ANSWERS)
async def test_each_status_has_its_outcome_and_is_asked_for_once(
    connect: Connect, there: FakePagerDuty, status: int, headers: dict[str, str], expected: type[Delivery]
) -> None:
    errors = ["Length of 'routing_key' is incorrect (should be 32 characters)"]
    body = json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": errors})
    there.answer = web.Response(status=status, headers=headers, text=body if status != 204 else None)
    async with asyncio.timeout(30):
        for kind in (MessageKind.INCIDENT_OPENED, MessageKind.ROLLBACK_SWITCHED):
            delivery = await send(connect(timeout="20s"), message(kind=kind))
            assert isinstance(delivery, expected)
            if isinstance(delivery, Later):
                assert (delivery.after is None) == (not headers)
            if not isinstance(delivery, Delivered):
                assert delivery.reason.startswith(f"answered {status}")
            if status == 400 and isinstance(delivery, Refused):
                assert errors[0] in delivery.reason
    assert (len(there.events), len(there.changes)) == (1, 1), "nothing is tried twice"


async def test_beyond_the_rate_it_waits(connect: Connect, there: FakePagerDuty) -> None:
    there.limited = True
    channel = connect()
    deliveries = [await send(channel) for _ in range(121)]
    assert [type(one) for one in deliveries] == [Delivered] * 120 + [Later]


@pytest.mark.parametrize("trouble", [hang, close, reset, garbage])
async def test_an_answer_that_gets_lost_is_unclear(
    connect: Connect, certificate: Certificate, trouble: Any
) -> None:
    lost = Receiver(after_reading=trouble)
    async with nothing_left(), receiving(lost, certificate=certificate.file, key=certificate.key) as server:
        url = f"https://127.0.0.1:{server.port}"
        delivery = await send(connect(url, timeout="3s"))  # a handshake must fit in
        assert isinstance(delivery, Unclear)
        assert len(server.received) == 1


async def test_a_lost_answer_and_the_second_try_are_one_alert(connect: Connect, there: FakePagerDuty) -> None:
    channel = connect(timeout="3s")
    there.misbehave = "hang"
    assert isinstance(await send(channel), Unclear)
    there.misbehave = "close"
    assert isinstance(await send(channel), Unclear)
    there.misbehave = ""
    assert isinstance(await send(connect()), Delivered)
    assert [alert.told for alert in there.alerts] == [3]


async def test_no_connection_is_certainly_not_delivered(
    connect: Connect, certificate: Certificate, free_port: Callable[[], int]
) -> None:
    nobody = await send(connect(f"https://127.0.0.1:{free_port()}"))
    assert nobody == Later(reason="no connection: ConnectionRefusedError: Connection refused")
    for untrusted in (connect(ca_file=None), connect("https://localhost:1")):
        delivery = await send(untrusted)
        assert isinstance(delivery, Later)
        assert delivery.reason.startswith("no connection: ")


async def test_a_handshake_that_hangs_is_no_connection(connect: Connect) -> None:
    silent = Receiver(misbehave=hang)
    async with nothing_left(), receiving(silent) as server:
        delivery = await send(connect(f"https://127.0.0.1:{server.port}", timeout="300ms"))
        assert delivery == Later(reason="no connection: nothing within 300ms")


async def test_an_answer_whose_text_breaks_off_counts(connect: Connect, certificate: Certificate) -> None:
    async def half(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Oops\r\nContent-Length: 1000\r\n\r\nmaint")
        await writer.drain()

    broken = Receiver(after_reading=half)
    async with receiving(broken, certificate=certificate.file, key=certificate.key) as server:
        delivery = await send(connect(f"https://127.0.0.1:{server.port}", timeout="5s"))
    assert delivery == Later(reason="answered 503: maint")


# Threads


def threads() -> int:
    return sum(one.name == "pagerduty" for one in threading.enumerate())


async def test_calls_that_hang_are_ended_and_never_many(
    connect: Connect, there: FakePagerDuty, eventually: Eventually
) -> None:
    there.misbehave = "hang"
    channel = connect(timeout="20s")
    hanging = [asyncio.create_task(send(channel)) for _ in range(AT_ONCE)]
    await eventually(lambda: len(there.events) == AT_ONCE, within=20)
    crowded = await send(channel)
    assert crowded == Later(reason=f"{AT_ONCE} earlier calls still hang")
    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    await eventually(lambda: threads() == 0, within=20)
    there.misbehave = ""
    assert isinstance(await send(channel), Delivered)


async def test_a_send_can_be_cancelled_at_any_moment(
    connect: Connect, there: FakePagerDuty, eventually: Eventually
) -> None:
    channel = connect()
    async with nothing_left():
        for turns in range(0, 40, 4):
            task = asyncio.create_task(send(channel))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: threads() == 0, within=20)
    assert isinstance(await send(channel), Delivered)


# Secrets


async def test_no_secret_is_in_an_outcome_a_log_or_a_repr(connect: Connect, there: FakePagerDuty) -> None:
    secrets = (ROUTING_KEY, API_TOKEN, WEBHOOK_SECRET)
    channel = connect(
        api_token=SecretStr(API_TOKEN), webhook_secret=SecretStr(WEBHOOK_SECRET), api_url=there.url
    )
    there.answer = web.Response(status=400, text=" ".join(secrets))
    with capture_logs() as told:
        seen: list[Any] = [await send(channel), await channel.inspect(), channel, vars(channel)]
    seen.append(settings(there.url, api_token=SecretStr(API_TOKEN)))
    assert [one for one in secrets if one in repr((seen, told))] == []


# What is configured


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ({"routing_key": SecretStr(" ")}, "is no integration key"),
        ({"routing_key": SecretStr("too short")}, "is no integration key"),
        ({"routing_key": SecretStr("a" * 31 + "é")}, "is no integration key"),
        ({"routing_key": "a" * 32}, "a secret is not written here"),
        ({"url": "http://events.pagerduty.com"}, "pattern"),
        ({"url": "https://me:secret@events.pagerduty.com"}, "pattern"),
        ({"url": "https://events.pagerduty.com/v2/enqueue"}, "pattern"),
        ({"api_token": SecretStr(" ")}, "is empty"),
        ({"webhook_secret": SecretStr("two\nlines")}, "characters"),
        ({"api_url": "api.pagerduty.com"}, "pattern"),
        ({"region": "eu"}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(written: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong) as caught:
        settings(**{"url": "https://events.pagerduty.com"} | written)
    assert "short" not in str(caught.value)


def test_a_key_from_a_file_may_end_in_a_line_break() -> None:
    known = settings("https://events.pagerduty.com", routing_key=SecretStr(ROUTING_KEY + "\n"))
    assert known.routing_key.get_secret_value() == ROUTING_KEY


async def test_inspecting_sends_nothing_and_asks_with_the_token_where_there_is_one(
    connect: Connect, there: FakePagerDuty, free_port: Callable[[], int]
) -> None:
    assert await connect().inspect() is None
    assert there.seen == []
    with_token = {"api_url": there.url, "api_token": SecretStr(API_TOKEN)}
    assert await connect(**with_token).inspect() is None
    wrong = await connect(**with_token | {"api_token": SecretStr("canary-another-token")}).inspect()
    assert wrong is not None
    assert "api_token is not accepted" in wrong
    there.answer = web.Response(status=500, text="oops")
    assert await connect(**with_token).inspect() == "REST API: answered 500: oops"
    unreachable = await connect(f"https://127.0.0.1:{free_port()}").inspect()
    assert unreachable is not None
    assert unreachable.startswith("no connection: ")
    assert there.calls == 0


async def test_a_closed_channel_sends_nothing(connect: Connect, there: FakePagerDuty) -> None:
    channel = connect()
    await channel.aclose()
    await channel.aclose()
    assert isinstance(await send(channel), Later)
    assert there.calls == 0


def test_the_numbers_stand_in_the_details_where_no_fact_says_them() -> None:
    message = specimens()[MessageKind.ROLLBACK_BLOCKED]
    details = alert(message, Rendering().of(message))["payload"]["custom_details"]
    assert details["error-rate"] == "8.25% (limit 1.5%) since 2026-01-31 12:29:31 UTC"


async def test_a_key_of_another_length_is_told_of_where_pagerduty_itself_is_asked(connect: Connect) -> None:
    key = SecretStr("a" * 31)
    theirs = connect("https://events.eu.pagerduty.com", routing_key=key)
    assert theirs.doubts == "routing_key has 31 characters, an integration key of PagerDuty 32"
    assert connect(routing_key=key).doubts == ""


async def test_a_proxy_on_this_machine_needs_no_tls(there: FakePagerDuty, connect: Connect) -> None:
    runner = web.AppRunner(there.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        channel = connect(f"http://127.0.0.1:{runner.addresses[0][1]}")
        assert await channel.inspect() is None
        assert isinstance(await send(channel), Delivered)
        assert len(there.alerts) == 1
    finally:
        await runner.cleanup()
