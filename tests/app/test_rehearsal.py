from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.channels.fake_pagerduty import ROUTING_KEY, pagerduty
from tests.channels.receiver import SECRET, Receiver, close, receiving
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.app.rehearsal import send_tests, trial
from watchdog.channels.log import LogChannel
from watchdog.channels.pagerduty import PagerDutyChannel
from watchdog.channels.webhook import WebhookChannel
from watchdog.config.loaded import Configuration, Position, Provider, Server
from watchdog.core.errors import ConfigError
from watchdog.core.message import MessageKind
from watchdog.core.rule import Severity
from watchdog.core.service import Intervals, Limits

HERE = Position(file=Path("watchdog.yaml"), line=3, column=5)
BY = "ana on host-1"


def configuration(**channels: Provider) -> Configuration:
    return Configuration(
        path=Path("watchdog.yaml"),
        store_url="sqlite:////nowhere/watchdog.db",
        pause_file=None,
        server=Server(),
        intervals=Intervals(),
        limits=Limits(),
        rules={},
        services={},
        sources={},
        channels=channels,
        routes=(),
    )


def log() -> Provider:
    return Provider(kind="log", settings=LogChannel.Settings(), at=HERE)


def hook(receiver: Receiver, **written: Any) -> Provider:
    known = {"url": receiver.url, "secret": SecretStr(SECRET), "timeout": "5s"} | written
    return Provider(kind="webhook", settings=WebhookChannel.Settings.model_validate(known), at=HERE)


def test_a_test_says_that_it_is_one_and_needs_nobody() -> None:
    message = trial("ops", by=BY, clock=SystemClock())
    assert (message.kind, message.severity, message.needs_human) == (MessageKind.TEST, Severity.LOW, False)
    assert message.headline == "a test of channel ops: whoever reads this is reached"
    assert ("asked by", BY) in message.facts
    assert message.incident is None
    assert not message.ends


async def test_only_the_named_channels_are_sent_to() -> None:
    async with receiving(Receiver()) as one, receiving(Receiver()) as other:
        known = configuration(one=hook(one), other=hook(other), log=log())
        with capture_logs() as told:
            tried = await send_tests(known, ["one", "log"], by=BY)
    assert [(it.channel, it.kind, it.outcome, it.ok) for it in tried] == [
        ("one", "webhook", "ok", True),
        ("log", "log", "ok", True),
    ]
    assert (len(one.received), len(other.received)) == (1, 0)
    assert b"a test of channel one" in one.received[0].body
    assert any("a test of channel log" in repr(event) for event in told)


@pytest.mark.parametrize(
    ("status", "headers", "outcome", "detail"),
    [
        (200, {}, "ok", "taken"),
        (429, {"Retry-After": "60"}, "retry", "answered 429: ok (asks to be left alone for 1m)"),
        (403, {}, "permanent", "answered 403: ok"),
    ],
)
async def test_what_became_of_it_is_said_with_what_to_do(
    status: int, headers: dict[str, str], outcome: str, detail: str
) -> None:
    async with receiving(Receiver(status=status, headers=headers)) as receiver:
        (tried,) = await send_tests(configuration(one=hook(receiver)), ["one"], by=BY)
    assert (tried.outcome, tried.detail, tried.ok) == (outcome, detail, outcome == "ok")
    assert tried.advice
    assert len(receiver.received) == 1, "nothing is tried twice"


async def test_an_answer_that_was_lost_is_not_taken_for_either() -> None:
    async with receiving(Receiver(after_reading=close)) as receiver:
        (tried,) = await send_tests(configuration(one=hook(receiver)), ["one"], by=BY)
    assert (tried.outcome, tried.ok) == ("unknown", False)
    assert "may have been sent" in tried.advice


async def test_no_secret_is_in_what_is_said() -> None:
    async with receiving(Receiver(status=400, body=f"wrong: {SECRET}".encode())) as receiver:
        tried = await send_tests(configuration(one=hook(receiver)), ["one"], by=BY)
    assert SECRET not in repr(tried)


async def test_a_name_that_no_channel_has_is_told_with_the_nearest() -> None:
    known = configuration(log=log(), oncall=log())
    with pytest.raises(ConfigError, match="there is no channel 'on-call'; did you mean 'oncall'\\?"):
        await send_tests(known, ["log", "on-call"], by=BY)
    with pytest.raises(ConfigError, match="there is no channel 'x' \\(known: log, oncall\\)"):
        await send_tests(known, ["x"], by=BY)


async def test_a_test_of_pagerduty_opens_an_alert_at_info_and_closes_it(tmp_path: Path) -> None:
    async with pagerduty(Certificate(tmp_path)) as there:
        settings = PagerDutyChannel.Settings.model_validate(
            {
                "routing_key": SecretStr(ROUTING_KEY),
                "url": there.url,
                "ca_file": there.certificate.file,
                "timeout": timedelta(seconds=10),
            }
        )
        oncall = Provider(kind="pagerduty", settings=settings, at=HERE)
        (tried,) = await send_tests(configuration(oncall=oncall), ["oncall"], by=BY)
        (again,) = await send_tests(replace(configuration(oncall=oncall)), ["oncall"], by=BY)
    assert (tried.ok, again.ok) == (True, True)
    assert [alert.status for alert in there.alerts] == ["resolved", "resolved"], "each is an alert of its own"
    assert tried.detail == f"taken: {there.alerts[0].key}"
    payload = there.events[0]["payload"]
    assert payload["severity"] == "info"
    assert payload["custom_details"]["asked by"] == BY
