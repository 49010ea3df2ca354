from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.channels.fake_pagerduty import API_TOKEN, ROUTING_KEY, WEBHOOK_SECRET, FakePagerDuty, pagerduty
from tests.channels.messages import USUAL, message
from tests.eventually import Eventually
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Answer, Heard, Listening, Received, Receiving
from watchdog.channels.pagerduty import ASK_INTERVAL, LONGEST_PAUSE, PagerDutyChannel, PagerDutySettings
from watchdog.channels.pagerduty_events import PREFIX, key_of
from watchdog.channels.rendering import Rendering
from watchdog.core.request import RequestKind

NOW = datetime(2026, 1, 1, 12, 45, tzinfo=UTC)
KEY = key_of(USUAL)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def there(certificate: Certificate) -> AsyncIterator[FakePagerDuty]:
    async with pagerduty(certificate) as fake:
        yield fake


class Hurried(SystemClock):
    """Does not wait; remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0.001)


def channel(there: FakePagerDuty, clock: SystemClock | None = None, **written: Any) -> PagerDutyChannel:
    known = PagerDutySettings.model_validate(
        {
            "routing_key": SecretStr(ROUTING_KEY),
            "url": there.url,
            "ca_file": there.certificate.file,
            "timeout": "10s",
        }
        | written
    )
    return PagerDutyChannel(known, name="oncall", clock=clock or SystemClock(), rendering=Rendering())


# Callbacks


def receiving_at(there: FakePagerDuty) -> PagerDutyChannel:
    return channel(there, webhook_secret=SecretStr(WEBHOOK_SECRET))


def received(there: FakePagerDuty, body: bytes, *secrets: str) -> Received | None:
    headers = there.signed(body, *(secrets or (WEBHOOK_SECRET,)))
    return receiving_at(there).receive(headers, body, now=NOW)


def heard(there: FakePagerDuty, body: bytes) -> tuple[Heard, ...]:
    found = received(there, body)
    assert found is not None
    assert found.body == b""
    return found.heard


async def test_only_what_is_configured_receives_or_listens(there: FakePagerDuty) -> None:
    plain = channel(there)
    assert isinstance(plain, Receiving)
    assert isinstance(plain, Listening)
    assert (plain.receives, plain.listens) == (False, False)
    body = there.callback(KEY, "acknowledged")
    assert plain.receive(there.signed(body, WEBHOOK_SECRET), body, now=NOW) is None
    asking = channel(there, api_token=SecretStr(API_TOKEN))
    assert (asking.receives, asking.listens) == (False, True)
    both = channel(there, api_token=SecretStr(API_TOKEN), webhook_secret=SecretStr(WEBHOOK_SECRET))
    assert (both.receives, both.listens) == (True, False)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("acknowledged", [(RequestKind.ACKNOWLEDGE, "Earline Greenholt (PagerDuty)", "")]),
        ("resolved", [(RequestKind.ACKNOWLEDGE, "Earline Greenholt (PagerDuty)", "resolved in PagerDuty")]),
        ("unacknowledged", [(RequestKind.UNACKNOWLEDGE, "Earline Greenholt (PagerDuty)", "")]),
        ("triggered", []),
        ("escalated", []),
        ("reassigned", []),
        ("annotated", []),
        ("priority_updated", []),
        ("status_update_published", []),
    ],
)
async def test_every_event_has_its_meaning(
    there: FakePagerDuty, what: str, expected: list[tuple[RequestKind, str, str]]
) -> None:
    found = heard(there, there.callback(KEY, what))
    assert [(one.kind, one.by, one.reason) for one in found] == expected
    assert {(one.id, one.target, one.allowed) for one in found} <= {("pagerduty:01EVENT", "i-1", True)}


async def test_what_no_person_did_is_no_acknowledgement(there: FakePagerDuty) -> None:
    """Our own acknowledgement comes back as the integration's; a timeout resolves in the name of the service."""
    for agent in (
        {"id": "PINTEG", "summary": "Events API v2", "type": "inbound_integration_reference"},
        {"id": "PSERVICE", "summary": "trips", "type": "service_reference"},
        {"id": "PUSER", "type": "user_reference", "summary": ""} | {"id": ""},
        None,
    ):
        for what in ("acknowledged", "resolved"):
            assert heard(there, there.callback(KEY, what, agent=agent)) == ()
    (one,) = heard(there, there.callback(KEY, "unacknowledged", agent=None))
    assert (one.by, one.reason) == ("PagerDuty", "the acknowledgement in PagerDuty ran out")


async def test_others_alerts_are_none_of_ours(there: FakePagerDuty) -> None:
    for key in (None, "", "srv01/HTTP", f"{PREFIX}about/cut-off", f"{PREFIX}incident/"):
        assert heard(there, there.callback(key, "acknowledged")) == ()


async def test_only_what_is_signed_with_our_secret_is_read(there: FakePagerDuty) -> None:
    body = there.callback(KEY, "acknowledged")
    own = receiving_at(there)
    signature = there.signed(body, WEBHOOK_SECRET)["X-PagerDuty-Signature"]
    forged: list[dict[str, str]] = [
        {},
        {"X-PagerDuty-Signature": ""},
        {"X-PagerDuty-Signature": "v1="},
        {"X-PagerDuty-Signature": signature.removeprefix("v1=")},
        {"X-PagerDuty-Signature": signature.replace("v1=", "v2=")},
        {"X-PagerDuty-Signature": signature[:-1] + ("0" if signature[-1] != "0" else "1")},
        {"X-PagerDuty-Signature": signature.upper()},
        {"X-PagerDuty-Signature": "v1=\u00fc\ud800"},
        {"X-PagerDuty-Signature": ",".join(["v1=00"] * 5000)},
        there.signed(body, "another secret"),
        there.signed(body + b" ", WEBHOOK_SECRET),
    ]
    for headers in forged:
        assert own.receive(headers, body, now=NOW) is None, headers
    assert own.receive(there.signed(body, WEBHOOK_SECRET), body[:-1] + b" }", now=NOW) is None


async def test_while_a_secret_is_replaced_either_signature_will_do(there: FakePagerDuty) -> None:
    body = there.callback(KEY, "acknowledged")
    for secrets in (("the new one", WEBHOOK_SECRET), (WEBHOOK_SECRET, "the new one")):
        found = received(there, body, *secrets)
        assert found is not None
        assert len(found.heard) == 1


async def test_headers_are_asked_in_any_case(there: FakePagerDuty) -> None:
    body = there.callback(KEY, "acknowledged")
    headers = {name.upper(): value for name, value in there.signed(body, WEBHOOK_SECRET).items()}
    assert receiving_at(there).receive(headers, body, now=NOW) is not None


async def test_a_repeated_delivery_has_the_same_id(there: FakePagerDuty) -> None:
    body = there.callback(KEY, "acknowledged", identity="01F9QJ")
    assert [one.id for one in heard(there, body) + heard(there, body)] == ["pagerduty:01F9QJ"] * 2


@pytest.mark.parametrize("age", [timedelta(days=3), timedelta(hours=-1)])
async def test_what_is_stale_or_ahead_of_time_is_not_done(there: FakePagerDuty, age: timedelta) -> None:
    assert heard(there, there.callback(KEY, "acknowledged", at=NOW - age)) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"event": null}',
        b'{"event": {"id": 5}}',
        b'{"event": {"id": "x", "event_type": "pagey.ping", "data": {"message": "Hello from your friend Pagey!"}}}',
        b'{"event": {"id": "x", "event_type": "incident.acknowledged", "data": {"incident_key": {"a": 1}}}}',
        b'{"event": {"id": "x", "event_type": "incident.acknowledged", "occurred_at": "yesterday", "data": {}}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"event": {"id": "x", "event_type": "y", "other": ' + b"[" * 100_000 + b"(",
    ],
    ids=lambda body: repr(body[-40:]),
)
async def test_a_signed_body_that_makes_no_sense_asks_for_nothing(there: FakePagerDuty, body: bytes) -> None:
    assert heard(there, body) == ()


async def test_names_from_outside_stay_on_their_line(there: FakePagerDuty) -> None:
    agent = {"id": "P", "type": "user_reference", "summary": "Eve\r\n\x1b[31m" + "e" * 10_000}
    (one,) = heard(there, there.callback(KEY, "acknowledged", agent=agent, id="x" * 10_000))
    assert len(one.by) < 150
    assert len(one.id) < 150
    assert "\n" not in one.by


# Asking


class Desk:
    """Takes what was heard."""

    def __init__(self, done: bool = True) -> None:
        self.heard: list[Heard] = []
        self.outstanding: frozenset[str] = frozenset({"i-1"})
        self.done = done

    async def hear(self, one: Heard) -> Answer:
        self.heard.append(one)
        return Answer(done=self.done, text="")


@asynccontextmanager
async def listening(
    there: FakePagerDuty, desk: Desk, clock: Hurried, **written: Any
) -> AsyncIterator[PagerDutyChannel]:
    own = channel(there, clock, api_token=SecretStr(API_TOKEN), **written)
    task = asyncio.create_task(own.listen(desk.hear, outstanding=lambda: desk.outstanding))
    yield own
    assert not task.done(), "it listens until it is cancelled"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await own.aclose()


async def told(there: FakePagerDuty, incidents: Iterable[str] = ("i-1",)) -> None:
    sender = channel(there)
    for one in incidents:
        await sender.send(message(incident=one), key=one)


async def test_what_somebody_took_there_is_heard_once(there: FakePagerDuty, eventually: Eventually) -> None:
    await told(there)
    desk, clock = Desk(), Hurried()
    async with listening(there, desk, clock):
        await eventually(lambda: len(there.asked) >= 2, within=20)
        assert desk.heard == []
        there.act(KEY, "acknowledged")
        await eventually(lambda: len(desk.heard) == 1, within=20)
        asked = len(there.asked)
        await eventually(lambda: len(there.asked) >= asked + 3, within=20)
    (one,) = desk.heard
    assert (one.kind, one.target, one.by) == (
        RequestKind.ACKNOWLEDGE,
        "i-1",
        "Earline Greenholt (PagerDuty)",
    )
    assert one.id == f"pagerduty:{there.alerts[0].id}:acknowledged:2026-01-01T12:40:00Z"
    assert there.asked[0]["incident_key"] == [KEY]
    low, high = ASK_INTERVAL.total_seconds() * 0.8, ASK_INTERVAL.total_seconds() * 1.2
    assert all(low <= wait <= high for wait in clock.waits)


async def test_what_somebody_resolved_there_was_taken(there: FakePagerDuty, eventually: Eventually) -> None:
    await told(there)
    there.act(KEY, "resolved")
    desk = Desk()
    async with listening(there, desk, Hurried()):
        await eventually(lambda: len(desk.heard) == 1, within=20)
    assert (desk.heard[0].kind, desk.heard[0].reason) == (RequestKind.ACKNOWLEDGE, "resolved in PagerDuty")


async def test_what_pagerduty_did_itself_was_taken_by_nobody(
    there: FakePagerDuty, eventually: Eventually
) -> None:
    await told(there)
    desk = Desk()
    async with listening(there, desk, Hurried()):
        for status in ("acknowledged", "resolved"):
            there.act(KEY, status, by="trips", kind="service_reference")
            asked = len(there.asked)
            await eventually(lambda: len(there.asked) >= asked + 2, within=20)  # noqa: B023 - awaited here
    assert desk.heard == []


async def test_of_an_alert_that_was_opened_again_the_newest_counts(
    there: FakePagerDuty, eventually: Eventually
) -> None:
    await told(there)
    there.act(KEY, "resolved")
    await told(there)
    desk = Desk()
    async with listening(there, desk, Hurried()):
        await eventually(lambda: len(there.asked) >= 3, within=20)
        assert desk.heard == []
        there.act(KEY, "acknowledged")
        await eventually(lambda: len(desk.heard) == 1, within=20)


async def test_what_could_not_be_stored_is_heard_again(there: FakePagerDuty, eventually: Eventually) -> None:
    await told(there)
    there.act(KEY, "acknowledged")
    desk = Desk(done=False)
    async with listening(there, desk, Hurried()):
        await eventually(lambda: len(desk.heard) >= 3, within=20)
    assert len({one.id for one in desk.heard}) == 1


async def test_nothing_is_asked_while_nothing_is_outstanding(
    there: FakePagerDuty, eventually: Eventually
) -> None:
    desk, clock = Desk(), Hurried()
    desk.outstanding = frozenset()
    async with listening(there, desk, clock):
        await eventually(lambda: len(clock.waits) > 20, within=20)
    assert there.asked == []


async def test_of_many_some_are_asked_at_a_time_and_all_have_their_turn(
    there: FakePagerDuty, eventually: Eventually
) -> None:
    desk, clock = Desk(), Hurried()
    desk.outstanding = frozenset(f"i-{number}" for number in range(100))
    async with listening(there, desk, clock):
        await eventually(lambda: len(there.asked) >= 100, within=60)
        rounds = len(clock.waits)
    keys = [one["incident_key"][0] for one in there.asked]
    assert len(set(keys)) == 100
    assert len(set(keys[:100])) == 100, "nobody is asked twice before all were"
    assert rounds >= 2


async def test_while_it_fails_it_asks_less_and_less_and_says_so_once(
    there: FakePagerDuty, eventually: Eventually
) -> None:
    await told(there)
    there.act(KEY, "acknowledged")
    there.answer = web.Response(status=503, text="maintenance")
    desk, clock = Desk(), Hurried()
    with capture_logs() as log:
        async with listening(there, desk, clock):
            await eventually(lambda: len(clock.waits) > 8, within=20)
            assert max(clock.waits) > LONGEST_PAUSE.total_seconds() * 0.7
            there.answer = None
            await eventually(lambda: len(desk.heard) == 1, within=20)
            await eventually(lambda: any(one["event"] == "pagerduty_asked_again" for one in log), within=20)
    events = [one["event"] for one in log]
    assert events == ["pagerduty_not_asked", "pagerduty_asked_again"]
    assert API_TOKEN not in repr(log)


async def test_a_wish_for_time_is_granted(there: FakePagerDuty, eventually: Eventually) -> None:
    there.answer = web.Response(status=429, headers={"ratelimit-reset": "200"}, text=json.dumps({}))
    desk, clock = Desk(), Hurried()
    async with listening(there, desk, clock):
        await eventually(lambda: len(clock.waits) >= 2, within=20)
    assert clock.waits[1] >= 200 * 0.8


@pytest.mark.parametrize("body", ["", "{", "[]", '{"incidents": null}', '{"incidents": [{"status": 5}]}'])
async def test_an_answer_that_makes_no_sense_says_nothing(
    there: FakePagerDuty, eventually: Eventually, body: str
) -> None:
    there.answer = web.Response(status=200, text=body)
    desk, clock = Desk(), Hurried()
    async with listening(there, desk, clock):
        await eventually(lambda: len(there.asked) >= 2, within=20)
    assert desk.heard == []
