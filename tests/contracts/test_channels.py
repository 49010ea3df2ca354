"""What every channel promises, asked of all of them: real ones over loopback, and the fake that tests rely on.

A new channel adds a rig here: how to build it, and how to make its outside answer, refuse, hang or vanish.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.channels.fake_pagerduty import (
    API_TOKEN,
    ROUTING_KEY,
    WEBHOOK_SECRET,
    FakePagerDuty,
    pagerduty,
)
from tests.channels.fake_slack import slack
from tests.channels.messages import AWKWARD, USUAL
from tests.channels.receiver import SECRET, Receiver, close, hang, receiving
from tests.contracts.people_rigs import NEEDED, RIGS
from tests.contracts.slack_rig import SlackRig
from tests.eventually import Eventually
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Channel, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.log import LogChannel
from watchdog.channels.pagerduty import PagerDutyChannel
from watchdog.channels.registry import KINDS
from watchdog.channels.rendering import Rendering
from watchdog.channels.webhook import WebhookChannel
from watchdog.settings.registry import load
from watchdog.testing.channels import FakeChannel

TIMEOUT = timedelta(milliseconds=300)
#: What the loop of a busy machine may add to a timeout.
SLACK = 2.0


class Rig(Protocol):
    """A channel and the power over its outside."""

    channel: Channel
    secrets: tuple[str, ...]

    def behave(self, outside: str) -> type[Delivery]:
        """Make the outside `answer`, be `busy`, `refuse`, `vanish` or `hang`; answers what must follow."""
        ...

    def calls(self) -> int:
        """How many calls the outside has seen."""
        ...


class LogRig:
    def __init__(self) -> None:
        self.channel: Channel = LogChannel(LogChannel.Settings(timeout=TIMEOUT), name="log")
        self.secrets: tuple[str, ...] = ()

    def behave(self, outside: str) -> type[Delivery]:
        return Delivered  # nothing outside can keep a line out of the log

    def calls(self) -> int:
        return 0


class FakeRig:
    def __init__(self) -> None:
        self.fake = FakeChannel(timeout=TIMEOUT)
        self.channel: Channel = self.fake
        self.secrets: tuple[str, ...] = ()

    def behave(self, outside: str) -> type[Delivery]:
        self.fake.release()
        if outside == "hang":
            self.fake.hang()
            return Unclear
        outcomes: dict[str, Delivery] = {
            "answer": Delivered(),
            "busy": Later(reason="busy", after=timedelta(seconds=7)),
            "refuse": Refused(reason="no"),
            "vanish": Unclear(reason="gone"),
        }
        self.fake.always(outcomes[outside])
        return type(outcomes[outside])

    def calls(self) -> int:
        return len(self.fake.attempts)


class WebhookRig:
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.secrets: tuple[str, ...] = (SECRET, "canary-url-password", "canary-url-token", "canary-header")
        host = f"me:{self.secrets[1]}@127.0.0.1:{receiver.port}"
        settings = WebhookChannel.Settings.model_validate(
            {
                "url": f"http://{host}/hook?token={self.secrets[2]}",
                "secret": SecretStr(SECRET),
                "headers": {"X-Token": SecretStr(self.secrets[3])},
                "timeout": TIMEOUT,
            }
        )
        self.channel: Channel = WebhookChannel(settings, name="hook", clock=SystemClock())

    def behave(self, outside: str) -> type[Delivery]:
        receiver = self.receiver
        receiver.status, receiver.headers, receiver.after_reading = 200, {}, None
        receiver.body = " ".join(self.secrets).encode()
        match outside:
            case "busy":
                receiver.status, receiver.headers = 429, {"Retry-After": "7"}
                return Later
            case "refuse":
                receiver.status = 403
                return Refused
            case "vanish":
                receiver.after_reading = close
                return Unclear
            case "hang":
                receiver.after_reading = hang
                return Unclear
            case _:
                return Delivered

    def calls(self) -> int:
        return len(self.receiver.received)


class PagerDutyRig:
    #: A handshake must fit in, also on a busy machine.
    timeout = timedelta(seconds=3)

    def __init__(self, there: FakePagerDuty) -> None:
        self.there = there
        self.secrets: tuple[str, ...] = (ROUTING_KEY, API_TOKEN, WEBHOOK_SECRET)
        settings = PagerDutyChannel.Settings.model_validate(
            {
                "url": there.url,
                "ca_file": there.certificate.file,
                "routing_key": SecretStr(ROUTING_KEY),
                "api_token": SecretStr(API_TOKEN),
                "webhook_secret": SecretStr(WEBHOOK_SECRET),
                "timeout": self.timeout,
            }
        )
        self.channel: Channel = PagerDutyChannel(settings, name="oncall", clock=SystemClock())

    def behave(self, outside: str) -> type[Delivery]:
        self.there.misbehave, self.there.answer = "", None
        said = " ".join(self.secrets)
        match outside:
            case "busy":
                self.there.answer = web.Response(status=429, headers={"Retry-After": "7"}, text=said)
                return Later
            case "refuse":
                self.there.answer = web.Response(status=400, text=said)
                return Refused
            case "vanish":
                self.there.misbehave = "close"
                return Unclear
            case "hang":
                self.there.misbehave = "hang"
                return Unclear
            case _:
                return Delivered

    def calls(self) -> int:
        return self.there.calls


@pytest.fixture(params=["log", "webhook", "fake", "slack", "slack-webhook", "pagerduty", *RIGS])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with contextlib.AsyncExitStack() as stack:
        made: dict[str, Callable[[], Rig]] = {"log": LogRig, "fake": FakeRig}
        if request.param == "webhook":
            receiver = await stack.enter_async_context(receiving(Receiver()))
            rig: Rig = WebhookRig(receiver)
        elif request.param in RIGS:
            rig = await stack.enter_async_context(RIGS[request.param]())
        elif request.param == "pagerduty":
            rig = PagerDutyRig(await stack.enter_async_context(pagerduty(Certificate(tmp_path))))
        elif request.param.startswith("slack"):
            workspace = await stack.enter_async_context(slack())
            rig = SlackRig(workspace, webhook=request.param == "slack-webhook")
        else:
            rig = made[request.param]()
        yield rig
        await rig.channel.aclose()


OUTSIDES = ["answer", "busy", "refuse", "vanish", "hang"]


@pytest.mark.parametrize("outside", OUTSIDES)
async def test_each_outside_has_its_outcome_within_the_timeout(rig: Rig, outside: str) -> None:
    outcome = rig.behave(outside)
    timeout: timedelta = getattr(rig, "timeout", TIMEOUT)
    async with asyncio.timeout(timeout.total_seconds() + SLACK):
        delivery = await rig.channel.send(USUAL, key="k")
    assert isinstance(delivery, outcome)
    if outside == "busy" and isinstance(delivery, Later):
        assert delivery.after == getattr(rig, "wish", timedelta(seconds=7))
    if not isinstance(delivery, Delivered):
        assert 0 < len(delivery.reason) <= 300


@pytest.mark.parametrize("name", AWKWARD)
async def test_awkward_text_is_delivered(rig: Rig, name: str) -> None:
    rig.behave("answer")
    assert isinstance(await rig.channel.send(AWKWARD[name], key=AWKWARD[name].key), Delivered)


@pytest.mark.parametrize("outside", OUTSIDES)
async def test_no_secret_is_in_an_outcome_a_log_or_a_repr(rig: Rig, outside: str) -> None:
    rig.behave(outside)
    with capture_logs() as told:
        seen: list[Any] = [await rig.channel.send(USUAL, key="k"), await rig.channel.inspect(), rig.channel]
    text = repr((seen, told, str(rig.channel), vars(rig.channel).get("_settings")))
    assert [secret for secret in rig.secrets if secret in text] == []


@pytest.mark.parametrize(
    "rig", ["webhook", "fake", "slack", "slack-webhook", "pagerduty", *RIGS], indirect=True
)
async def test_a_send_can_be_cancelled_and_the_channel_goes_on(rig: Rig, eventually: Eventually) -> None:
    rig.behave("hang")
    task = asyncio.create_task(rig.channel.send(USUAL, key="k"))
    await eventually(lambda: rig.calls() == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rig.behave("answer")
    assert isinstance(await rig.channel.send(USUAL, key="k"), Delivered)


async def test_one_that_failed_can_be_tried_again(rig: Rig) -> None:
    outcome = rig.behave("vanish")
    assert isinstance(await rig.channel.send(USUAL, key="k"), outcome)
    rig.behave("answer")
    assert isinstance(await rig.channel.send(USUAL, key="k"), Delivered)


async def test_two_sends_at_once_are_fine(rig: Rig) -> None:
    rig.behave("answer")
    deliveries = await asyncio.gather(*(rig.channel.send(USUAL, key=f"k{number}") for number in range(5)))
    assert all(isinstance(delivery, Delivered) for delivery in deliveries)


async def test_inspect_finds_nothing_wrong_and_sends_nothing(rig: Rig) -> None:
    rig.behave("answer")
    with capture_logs() as told:
        assert await rig.channel.inspect() is None
    assert rig.calls() == 0
    assert told == []


async def test_closing_is_idempotent_before_and_after_use(rig: Rig) -> None:
    rig.behave("answer")
    await rig.channel.send(USUAL, key="k")
    for _ in range(3):
        await rig.channel.aclose()


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_kind_can_be_built_and_takes_a_timeout(kind: str) -> None:
    provider = load("channel", KINDS, kind)
    assert provider.__module__ == f"watchdog.channels.{kind}"
    needed: dict[str, dict[str, Any]] = {
        "pagerduty": {"routing_key": SecretStr("a" * 32)},
        "slack": {"token": SecretStr("xoxb-1"), "channel": "#ops"},
        "webhook": {"url": "https://example.com/"},
        **NEEDED,
    }
    written = {"timeout": "3s"} | needed.get(kind, {})
    settings = provider.Settings.model_validate(written)
    assert settings.timeout == timedelta(seconds=3)
    shared = {"rendering": Rendering()} if "rendering" in getattr(provider, "WANTS", ()) else {}
    built: Channel = provider(settings, name="any", clock=SystemClock(), **shared)
    assert callable(built.send)
