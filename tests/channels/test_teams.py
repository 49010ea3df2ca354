from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.fake_teams import FLOW, SIGNATURE, Teams, checked, texts_of
from tests.channels.messages import AWKWARD, USUAL, message
from tests.channels.receiver import Handler, close, garbage, hang, receiving, reset
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Chart, Delivered, Later, Refused, Unclear
from watchdog.channels.rendering import Rendering
from watchdog.channels.teams import TeamsChannel
from watchdog.channels.teams_card import LIMIT, card, escape
from watchdog.core.check import CheckId
from watchdog.core.message import Evidence, MessageKind
from watchdog.core.rule import Direction, Level, Severity, Unit

RENDERING = Rendering()


@pytest.fixture
async def teams() -> AsyncIterator[Teams]:
    async with receiving(Teams()) as running:
        assert isinstance(running, Teams)
        yield running


Connect = Callable[..., TeamsChannel]


@pytest.fixture
async def connect(teams: Teams) -> AsyncIterator[Connect]:
    made: list[TeamsChannel] = []

    def make(**settings: Any) -> TeamsChannel:
        written = {"url": SecretStr(teams.url), "timeout": "10s"} | settings
        known = TeamsChannel.Settings.model_validate(written)
        made.append(TeamsChannel(known, name="teams", clock=SystemClock(), rendering=RENDERING))
        return made[-1]

    yield make
    for channel in made:
        await channel.aclose()


def made(told: Any, rendering: Rendering = RENDERING) -> dict[str, Any]:
    body = card(told, rendering.of(told))
    assert len(body) <= LIMIT
    return checked(json.loads(body))


async def test_a_card_says_everything_that_matters(teams: Teams, connect: Connect) -> None:
    evidence = Evidence(
        check=CheckId(service="trips", rule="error-rate"),
        unit=Unit.RATIO,
        direction=Direction.ABOVE,
        level=Level.ROLLBACK,
        since=datetime(2026, 1, 1, 12, 29, 31, tzinfo=UTC),
        value=0.21,
        limit=0.015,
    )
    told = message(
        needs_human=True,
        evidence=evidence,
        next_step="Look at v1.4.2.",
        undo="watchdog rollback trips --to v1.4.2",
        explain="watchdog explain r-1",
        dashboard="https://dash.example.com/trips",
        facts=(("guard cooldown", "it ran 5 minutes ago"), ("asked_by", "watchdog")),
    )
    assert await connect().send(told, key="k", chart=Chart(png=b"png", alt="a line")) == Delivered()
    [seen] = teams.cards
    assert texts_of(seen) == [
        "trips: error-rate is 21% (rollback above 1.5%); traffic goes back to v1.4.1",
        "critical, service trips, version v1.4.2, environment production, 2026-01-01 12:30:05 UTC",
        "Needs you: Look at v1.4.2.",
        "error-rate: 21% (limit 1.5%) since 2026-01-01 12:29:31 UTC",
        "guard cooldown: it ran 5 minutes ago",
        r"asked\_by: watchdog",
        "To take it back: watchdog rollback trips --to v1.4.2",
        "Why, in full: watchdog explain r-1",
        "incident i-1, rollback r-1",
    ]
    assert [(one["title"], one["url"]) for one in seen["actions"]] == [
        ("Runbook", USUAL.runbook),
        ("Dashboard", "https://dash.example.com/trips"),
    ]
    assert seen["body"][1]["color"] == "Attention"


def test_each_severity_has_its_colour_and_what_is_over_is_green() -> None:
    seen = [made(message(severity=severity))["body"][0]["style"] for severity in Severity]
    assert len(set(seen)) == len(Severity)
    assert made(message(kind=MessageKind.INCIDENT_CLOSED))["body"][0]["style"] == "good"
    assert made(message(kind=MessageKind.ROLLBACK_COMPLETED))["body"][0]["style"] == "good"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[click](https://evil.example.com)", r"\[click\](https://evil.example.com)"),
        ("**bold** _it_ ~no~ `code`", r"\*\*bold\*\* \_it\_ \~no\~ \`code\`"),
        ("<at>everyone</at>", r"\<at\>everyone\</at\>"),
        ("# title", r"\# title"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("1.5% is fine", "1.5% is fine"),
        ("{{DATE(2026-01-01T00:00:00Z)}}", "{\u200b{DATE(2026-01-01T00:00:00Z)}}"),
        ("![i](https://evil.example.com/i.png)", r"\!\[i\](https://evil.example.com/i.png)"),
        ("a\\*b", r"a\\\*b"),
        ("two\r\nlines\x00", "two  lines\\\\x00"),
    ],
)
def test_markup_from_outside_is_shown_and_not_obeyed(written: str, shown: str) -> None:
    assert escape(written) == shown


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "msteams://x",
        "https://",
        "https://exa mple.com",
        "https://[::1",
        "//example.com",
        'https://example.com/" onclick="x',
    ],
)
def test_only_addresses_of_the_web_become_buttons(address: str) -> None:
    assert made(message(runbook=address, dashboard=address))["actions"] == []


@pytest.mark.parametrize("name", AWKWARD)
async def test_awkward_text_makes_a_card(teams: Teams, connect: Connect, name: str) -> None:
    assert await connect().send(AWKWARD[name], key=AWKWARD[name].key) == Delivered()
    assert len(teams.received[0].body) <= LIMIT


@pytest.mark.parametrize("sign", ["x", "é", "漢", "💥", "*", '"', "\x01", "\ud83d"], ids=ascii)
def test_however_long_it_is_it_fits_and_says_what_to_do(sign: str) -> None:
    long = sign * 10_000
    told = message(
        headline=f"trips: broken {long}",
        service=long,
        version=long,
        environment=long,
        facts=tuple((f"{number}{long}", long) for number in range(100)),
        next_step=f"Look at it. {long}",
        needs_human=True,
        undo=long,
        explain=long,
        incident=long,
        rollback=long,
        runbook=f"https://example.com/{long}",
    )
    headline, _, step, *_ = texts_of(made(told))
    assert headline.startswith("trips: broken ")
    assert step.startswith("Needs you: Look at it. ")


def test_facts_are_cut_from_the_end_and_counted() -> None:
    told = message(facts=tuple((f"fact {number}", "v" * 900) for number in range(40)))
    texts = texts_of(made(told))
    kept = [text for text in texts if text.startswith("fact ")]
    assert 10 < len(kept) < 40
    assert f"and: {40 - len(kept)} more" in texts
    assert "incident i-1, rollback r-1" in texts


def test_a_text_of_the_users_is_shown_in_place_of_facts() -> None:
    rendering = Rendering(
        {"text": "{{ headline }}\n{{ labels.team | default('nobody') }} says *hello*\n- second"}
    )
    texts = texts_of(made(USUAL, rendering))
    assert "booking says \\*hello\\*\n\n\\- second" in texts
    assert not any(text.startswith("guards") for text in texts)
    assert [text for text in texts if USUAL.headline in text] == [USUAL.headline]
    long = Rendering({"text": "{{ headline }}\n" + ("line " * 60 + "\n") * 150})
    assert any("more lines" in text for text in texts_of(made(USUAL, long)))


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=50))
def test_any_text_makes_a_card(headline: str, value: str, name: str) -> None:
    made(message(headline=headline, facts=((name, value),), next_step=value, needs_human=True, service=name))


FLOW_ERROR = b'{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"Could not execute workflow"}}'
GONE = b"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error %d with ContextId x"
ANSWERS = [
    (200, b"1", Delivered),
    (200, b"", Delivered),
    (200, b'{"status":"ok, no error"}', Delivered),
    (200, b"queued", Delivered),
    (201, b"", Delivered),
    (202, b"", Delivered),
    (204, b"", Delivered),
    (200, GONE % 403, Refused),
    (200, GONE % 413, Refused),
    (200, GONE % 429, Later),
    (200, GONE % 503, Later),
    (200, b"Summary or Text is required. error", Refused),
    (200, b"<!DOCTYPE html><html>sign in</html>", Refused),
    (200, b"\n<html>", Refused),
    (301, b"", Refused),
    (308, b"", Refused),
    (400, FLOW_ERROR, Refused),
    (401, FLOW_ERROR, Refused),
    (403, b"", Refused),
    (404, FLOW_ERROR, Refused),
    (405, b"", Refused),
    (408, b"", Later),
    (410, b"connector is gone", Refused),
    (413, b"", Refused),
    (429, b"", Later),
    (500, b"", Later),
    (502, FLOW_ERROR, Later),
    (503, b"", Later),
    (504, b"", Later),
]


@pytest.mark.parametrize(("status", "body", "outcome"), ANSWERS, ids=lambda one: ascii(one)[-40:])
async def test_every_answer_has_its_outcome(
    teams: Teams, connect: Connect, status: int, body: bytes, outcome: type[Any]
) -> None:
    teams.status, teams.body, teams.headers = status, body, {"Retry-After": "7"}
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, outcome), delivery
    if isinstance(delivery, Later):
        assert delivery.after == timedelta(seconds=7)
    if isinstance(delivery, Refused):
        assert f"answered {status}" in delivery.reason


@pytest.mark.parametrize("after", [close, reset, garbage], ids=lambda one: one.__name__)
async def test_a_lost_answer_is_unclear(teams: Teams, connect: Connect, after: Handler) -> None:
    teams.after_reading = after
    assert isinstance(await connect().send(USUAL, key="k"), Unclear)


async def test_no_answer_in_time_is_unclear(teams: Teams, connect: Connect) -> None:
    teams.after_reading = hang
    delivery = await connect(timeout="1s").send(USUAL, key="k")
    assert delivery == Unclear(reason="sent, but no answer: nothing within 1s")


async def test_nothing_of_the_address_is_in_an_outcome_a_log_or_a_repr(
    teams: Teams, connect: Connect
) -> None:
    channel = connect()
    token = "canary-token-of-the-path-1234567890"
    connector = f"{teams.url.partition('/workflows')[0]}/webhookb2/a@b/IncomingWebhook/{token}/owner"
    old = connect(url=SecretStr(f" {connector}\n"))
    seen: list[Any] = [channel, old]
    with capture_logs() as told:
        for status in (400, 200):
            teams.status, teams.body = (
                status,
                f"error: {teams.url} {SIGNATURE} {FLOW} {connector} {token}".encode(),
            )
            seen += [
                await channel.send(USUAL, key="k"),
                await old.send(USUAL, key="k"),
                await channel.inspect(),
            ]
        teams.after_reading = close
        seen += [await channel.send(USUAL, key="k")]
    with pytest.raises(ValidationError) as caught:
        channel.Settings.model_validate({"url": teams.url})
    seen += [told, str(caught.value), channel.Settings.model_validate({"url": SecretStr(teams.url)})]
    for secret in (SIGNATURE, FLOW, token, "webhookb2", teams.url):
        assert secret not in repr(seen), secret


async def test_inspect_connects_and_posts_nothing(teams: Teams, connect: Connect) -> None:
    assert await connect().inspect() is None
    assert teams.received == []


async def test_a_closed_channel_says_so(connect: Connect) -> None:
    channel = connect()
    await channel.aclose()
    await channel.aclose()
    assert await channel.send(USUAL, key="k") == Later(reason="the channel is being closed")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": "https://x.logic.azure.com/canary"}, "!env NAME"),
        ({"url": SecretStr("x.logic.azure.com/canary")}, "is not an address"),
        ({"url": SecretStr("ftp://x/canary")}, "is not an address"),
        ({"url": SecretStr("")}, "is not an address"),
        ({}, "url"),
        ({"url": SecretStr("https://x/canary"), "timeout": "0s"}, "timeout"),
        ({"url": SecretStr("https://x/canary"), "channel": "x"}, "channel"),
    ],
    ids=range(7),
)
def test_mistakes_in_settings_are_named_and_never_shown_back(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        TeamsChannel.Settings.model_validate(settings)
    assert not re.search("canary", str(caught.value))
