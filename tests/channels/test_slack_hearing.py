"""Buttons: who may press them, over which road a press comes, and that it acts once."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.channels.fake_slack import (
    APP_TOKEN,
    CHANNEL,
    NAME,
    SIGNING_SECRET,
    TOKEN,
    FakeSlack,
    Posted,
    answer,
    error,
    hang,
    signed,
    slack,
)
from tests.channels.messages import USUAL, message
from tests.contracts.leaks import nothing_left
from tests.eventually import Eventually, eventually
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Answer, Delivered, Heard, Listening, Received, Receiving, Vetting
from watchdog.channels.slack import SlackChannel
from watchdog.channels.slack_actions import presses
from watchdog.channels.slack_api import Api
from watchdog.channels.slack_socket import Socket
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.telemetry.redact import Mask

Connect = Callable[..., SlackChannel]
Listen = Callable[..., Any]


class Hasty(SystemClock):
    """Pauses are noted and not made."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)


class Ear:
    """What the engine would hear."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answer = Answer(done=True, text="Acknowledged: <b>done</b>")

    async def __call__(self, heard: Heard) -> Answer:
        self.heard.append(heard)
        return self.answer if heard.allowed else Answer(done=False, text="You may not do that here")


@pytest.fixture
async def workspace() -> AsyncIterator[FakeSlack]:
    async with slack() as fake:
        yield fake


@pytest.fixture
def clock() -> Hasty:
    return Hasty()


@pytest.fixture
async def connect(workspace: FakeSlack, clock: Hasty) -> AsyncIterator[Connect]:
    made: list[SlackChannel] = []

    def make(*, name: str = "ops", **settings: Any) -> SlackChannel:
        written: dict[str, Any] = {
            "url": workspace.url,
            "timeout": "10s",
            "token": SecretStr(TOKEN),
            "channel": NAME,
            "app_token": SecretStr(APP_TOKEN),
            "users": ["U0ALLOWED"],
            **settings,
        }
        channel = SlackChannel(SlackChannel.Settings.model_validate(written), name=name, clock=clock)
        made.append(channel)
        return channel

    yield make
    for channel in made:
        await channel.aclose()


def by_http(**settings: Any) -> dict[str, Any]:
    return {"app_token": None, "signing_secret": SecretStr(SIGNING_SECRET), **settings}


async def posted(workspace: FakeSlack, channel: SlackChannel, **changes: Any) -> Posted:
    assert isinstance(await channel.send(message(**changes), key=f"{len(workspace.posts)}"), Delivered)
    return workspace.posts[-1]


@asynccontextmanager
async def listening(channel: SlackChannel, ear: Ear) -> AsyncIterator[None]:
    task = asyncio.create_task(channel.listen(ear, outstanding=frozenset))
    try:
        yield
        assert not task.done(), "it hears until it is cancelled"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def connected(workspace: FakeSlack, *, opened: int = 1) -> None:
    await eventually(lambda: workspace.opened >= opened and len(workspace.sockets) == 1, within=20)


def test_a_slack_channel_can_do_all_of_it() -> None:
    assert issubclass(SlackChannel, Vetting)
    settings = SlackChannel.Settings.model_validate({"token": SecretStr("xoxb-1"), "channel": "#ops"})
    channel = SlackChannel(settings, name="ops", clock=SystemClock())
    assert isinstance(channel, Listening)
    assert isinstance(channel, Receiving)
    assert (channel.listens, channel.receives) == (False, False)


# Socket Mode


async def test_a_press_is_acknowledged_heard_and_answered(workspace: FakeSlack, connect: Connect) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    async with listening(channel, ear):
        await connected(workspace)
        envelope = await workspace.press(post, "Acknowledge")
        await eventually(lambda: workspace.told)
    assert workspace.acknowledged == [envelope]
    (heard,) = ear.heard
    assert (heard.kind, heard.target, heard.by) == (RequestKind.ACKNOWLEDGE, "i-1", "slack:U0ALLOWED (ana)")
    assert heard.allowed
    (told,) = workspace.told
    assert told["response_type"] == "ephemeral"
    assert told["replace_original"] is False
    assert told["text"] == "✅ Acknowledged: &lt;b&gt;done&lt;/b&gt;"


KINDS = {
    "Acknowledge": (RequestKind.ACKNOWLEDGE, "i-1", ""),
    "Approve rollback": (RequestKind.APPROVE, "i-1", ""),
    "Reject": (RequestKind.REJECT, "i-1", ""),
    "Pause automation": (RequestKind.PAUSE, "trips", ""),
    "Resume automation": (RequestKind.RESUME, "trips", ""),
    "Roll back": (RequestKind.ROLLBACK, "trips", "v1.4.2"),
}
SHOWN = {
    "Approve rollback": MessageKind.APPROVAL_WANTED,
    "Reject": MessageKind.APPROVAL_WANTED,
    "Resume automation": MessageKind.PAUSED,
}


@pytest.mark.parametrize("label", KINDS)
async def test_every_button_asks_for_its_own(workspace: FakeSlack, connect: Connect, label: str) -> None:
    channel = connect(**by_http())
    kind = SHOWN.get(label, MessageKind.INCIDENT_OPENED)
    post = await posted(workspace, channel, kind=kind)
    received = channel.receive(*signed(workspace.payload(post, label)), now=datetime.now(UTC))
    assert received is not None
    (heard,) = received.heard
    assert (heard.kind, heard.target, heard.version) == KINDS[label]
    assert heard.reason == ("asked in Slack by ana" if label == "Roll back" else "")


async def test_rolling_back_and_approving_ask_again_before_they_are_sent(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    opened = await posted(workspace, channel)
    wanted = await posted(workspace, channel, kind=MessageKind.APPROVAL_WANTED)
    buttons = {**opened.buttons, **wanted.buttons}
    assert {label for label, button in buttons.items() if "confirm" in button} == {
        "Roll back",
        "Approve rollback",
    }
    assert "v1.4.2" in buttons["Roll back"]["confirm"]["text"]["text"]


async def test_one_who_may_not_is_told_so(workspace: FakeSlack, connect: Connect) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    async with listening(channel, ear):
        await connected(workspace)
        await workspace.press(post, "Roll back", user="U0STRANGER", name="eve")
        await eventually(lambda: workspace.told)
    assert [heard.allowed for heard in ear.heard] == [False]
    assert workspace.told[0]["text"] == "⚠️ You may not do that here"


async def test_the_same_press_is_heard_once_however_often_it_comes(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    payload = workspace.payload(post, "Acknowledge")
    async with listening(channel, ear):
        await connected(workspace)
        for _ in range(3):
            await workspace.push(payload)
        await eventually(lambda: len(workspace.acknowledged) == 3)
        await eventually(lambda: workspace.told)
        again = await workspace.press(post, "Acknowledge")
        await eventually(lambda: again in workspace.acknowledged)
        await eventually(lambda: len(ear.heard) == 2)
    assert len({heard.id for heard in ear.heard}) == 2


async def test_what_is_no_press_of_ours_is_acknowledged_and_left(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    good = workspace.payload(post, "Acknowledge")
    async with listening(channel, ear):
        await connected(workspace)
        await workspace.push(good, kind="events_api")
        await workspace.push(good, kind="slash_commands")
        strange: Any
        for strange in (None, [], 7, "text", {}, {"type": "view_submission"}, {**good, "user": None}):
            await workspace.push(strange)
        await workspace.sockets[0].send_str("{")
        await workspace.sockets[0].send_bytes(b"\x00")
        await eventually(lambda: len(workspace.acknowledged) == 9)
        await workspace.press(post, "Acknowledge")
        await eventually(lambda: ear.heard)
    assert len(ear.heard) == 1


async def test_a_slow_answer_holds_up_no_acknowledgement(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect()
    post = await posted(workspace, channel)
    waits = asyncio.Event()

    class Slow(Ear):
        async def __call__(self, heard: Heard) -> Answer:
            await waits.wait()
            return await super().__call__(heard)

    ear = Slow()
    async with listening(channel, ear):
        await connected(workspace)
        for _ in range(5):
            await workspace.press(post, "Acknowledge")
        await eventually(lambda: len(workspace.acknowledged) == 5)
        assert ear.heard == []
        waits.set()
        await eventually(lambda: len(workspace.told) == 5)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled", "too_many_websockets"])
async def test_slack_may_ask_for_another_connection_at_any_time(
    workspace: FakeSlack, connect: Connect, clock: Hasty, reason: str
) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    async with listening(channel, ear):
        await connected(workspace)
        await workspace.disconnect(reason)
        await connected(workspace, opened=2)
        await workspace.press(post, "Acknowledge")
        await eventually(lambda: workspace.told)
    renewed = reason in {"warning", "refresh_requested"}
    assert bool(clock.pauses) is not renewed, "who is asked to come back comes at once"


async def test_a_connection_that_breaks_is_made_again_with_growing_pauses(
    workspace: FakeSlack, connect: Connect, clock: Hasty
) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    with capture_logs() as told:
        async with listening(channel, ear):
            await connected(workspace)
            workspace.always("apps.connections.open", error("internal_error"))
            await workspace.sockets[0].close()
            await eventually(lambda: len(clock.pauses) >= 8)
            workspace.always("apps.connections.open", None)
            await connected(workspace, opened=2)
            await workspace.press(post, "Acknowledge")
            await eventually(lambda: workspace.told)
    growing = clock.pauses[:8]
    assert all(0.5 <= pause / 2**number <= 1.0 for number, pause in enumerate(growing[:6]))
    assert max(clock.pauses) <= 60.0
    events = [line["event"] for line in told]
    assert events.count("socket_connected") == 1
    assert events.count("socket_lost") <= 3, "told when it changes, not every time"
    assert APP_TOKEN not in repr(told)


@pytest.mark.parametrize(
    "trick",
    [
        error("invalid_auth"),
        error("too_many_websockets"),
        answer(500, "oops"),
        answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "5"}),
        answer(200, {"ok": True}),
        answer(200, {"ok": True, "url": "http://127.0.0.1:9/"}),
        answer(200, {"ok": True, "url": "ws://127.0.0.1:9/"}),
        answer(200, "<html>"),
    ],
    ids=["token", "too many", "broken", "busy", "no address", "no socket", "nobody there", "a proxy"],
)
async def test_whatever_keeps_it_from_connecting_it_goes_on_trying(
    workspace: FakeSlack, connect: Connect, clock: Hasty, trick: Any
) -> None:
    workspace.trick("apps.connections.open", trick, trick)
    async with listening(connect(), Ear()):
        await connected(workspace)
    assert len(clock.pauses) >= 2


async def test_a_socket_without_tls_is_not_opened_where_the_api_has_tls(
    workspace: FakeSlack, connect: Connect, clock: Hasty
) -> None:
    class Away(Api):
        async def call(self, *_: Any, **__: Any) -> dict[str, Any]:
            ticket = workspace._apps_connections_open({})  # noqa: SLF001 - one that would do
            return {"ok": True, "url": ticket["url"]}

    tls = ssl.create_default_context()
    for plain, opened in ((False, 0), (True, 1)):
        api = Away(base=workspace.url, tls=tls, mask=Mask(), timeout=timedelta(seconds=10), clock=clock)
        socket = Socket(
            api, APP_TOKEN, name="ops", tls=tls, plain=plain, timeout=timedelta(seconds=10), clock=clock
        )
        before = len(clock.pauses)
        task = asyncio.create_task(socket.run(lambda _: None))
        await eventually(partial(_went_on, workspace, clock, opened, before), within=20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.aclose()
        assert workspace.opened == opened


def _went_on(workspace: FakeSlack, clock: Hasty, opened: int, pauses: int) -> bool:
    return workspace.opened == opened and (bool(opened) or len(clock.pauses) >= pauses + 3)


async def test_two_channels_of_one_app_share_the_one_connection(
    workspace: FakeSlack, connect: Connect
) -> None:
    ops, other = connect(name="ops"), connect(name="other", users=["U0OTHER"])
    ears = Ear(), Ear()
    first, second = await posted(workspace, ops), await posted(workspace, other)
    async with listening(ops, ears[0]), listening(other, ears[1]):
        await connected(workspace)
        await workspace.press(first, "Acknowledge", user="U0OTHER")
        await workspace.press(second, "Acknowledge", user="U0OTHER")
        await eventually(lambda: ears[0].heard and ears[1].heard)
        assert (workspace.opened, len(workspace.sockets)) == (1, 1)
    assert [ear.heard[0].allowed for ear in ears] == [False, True], "each by its own settings"


async def test_one_that_takes_the_place_of_another_waits_until_that_has_gone(
    workspace: FakeSlack, connect: Connect
) -> None:
    """A reload: the settings are new, the app is the same."""
    before, after, ear = connect(), connect(users=["U0NEW"]), Ear()
    post = await posted(workspace, before)
    async with AsyncExitStack() as stack:
        async with listening(before, Ear()):
            await connected(workspace)
            await stack.enter_async_context(listening(after, ear))
            assert len(workspace.sockets) == 1
        await connected(workspace, opened=2)
        await workspace.press(post, "Acknowledge", user="U0NEW")
        await eventually(lambda: ear.heard)
        assert ear.heard[0].allowed


async def test_nothing_is_left_behind(workspace: FakeSlack, connect: Connect) -> None:
    channel, ear = connect(), Ear()
    post = await posted(workspace, channel)
    async with nothing_left(), listening(channel, ear):
        await connected(workspace)
        await workspace.press(post, "Acknowledge")
        await eventually(lambda: workspace.told)


# Who may


@pytest.mark.parametrize(
    ("settings", "who", "allowed"),
    [
        ({"users": ["U0ALLOWED"]}, {"user": "U0ALLOWED"}, True),
        ({"users": ["U0ALLOWED"]}, {"user": "U0ALLOWED2"}, False),
        ({"users": ["U0ALLOWED"]}, {"user": "U0STRANGER", "name": "U0ALLOWED"}, False),
        ({"users": "anybody"}, {"user": "U0STRANGER"}, True),
        (
            {"users": "anybody"},
            {"user": "U0X", "team": {"id": "T0ELSEWHERE"}},
            False,
        ),
        ({"users": [], "groups": ["S0ONCALL"]}, {"user": "U0GROUPED"}, True),
        ({"users": [], "groups": ["S0ONCALL"]}, {"user": "U0STRANGER"}, False),
        ({"users": [], "groups": ["S0GONE", "S0ONCALL"]}, {"user": "U0GROUPED"}, True),
        ({"users": [], "groups": ["S0GONE"]}, {"user": "U0GROUPED"}, False),
    ],
)
async def test_the_settings_say_who_may(
    workspace: FakeSlack, connect: Connect, settings: dict[str, Any], who: dict[str, Any], allowed: bool
) -> None:
    channel = connect(**by_http(**settings))
    post = await posted(workspace, channel)
    payload = workspace.payload(post, "Acknowledge", **who)
    received = channel.receive(*signed(payload), now=datetime.now(UTC))
    assert received is not None
    assert (await channel.vetted(received.heard[0])).allowed is allowed


async def test_a_groups_members_are_looked_up_once_in_five_minutes(
    workspace: FakeSlack, connect: Connect, clock: Hasty
) -> None:
    channel = connect(**by_http(users=[], groups=["S0ONCALL"]))
    post = await posted(workspace, channel)

    async def may(user: str) -> bool:
        payload = workspace.payload(post, "Acknowledge", user=user)
        received = channel.receive(*signed(payload), now=datetime.now(UTC))
        assert received is not None
        return (await channel.vetted(received.heard[0])).allowed

    assert [await may("U0GROUPED"), await may("U0GROUPED"), await may("U0STRANGER")] == [True, True, False]
    assert len(workspace.called("usergroups.users.list")) == 1
    workspace.groups["S0ONCALL"] = ["U0NEXT"]
    clock.ahead += 301
    assert [await may("U0GROUPED"), await may("U0NEXT")] == [False, True]
    assert len(workspace.called("usergroups.users.list")) == 2
    clock.ahead += 301
    workspace.always("usergroups.users.list", error("internal_error"))
    assert await may("U0NEXT") is False, "what cannot be looked up lets nobody through"


async def test_a_look_up_that_hangs_lets_nobody_through(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect(**by_http(users=[], groups=["S0ONCALL"], timeout="500ms"))
    workspace.always("usergroups.users.list", hang)
    heard = Heard(
        id="slack:U0GROUPED:1:acknowledge",
        kind=RequestKind.ACKNOWLEDGE,
        target="i-1",
        by="x",
        allowed=False,
    )
    assert not (await channel.vetted(heard)).allowed


# Signed HTTP


async def test_a_signed_press_is_recognised(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect(**by_http())
    assert (channel.listens, channel.receives) == (False, True)
    post = await posted(workspace, channel)
    payload = workspace.payload(post, "Acknowledge")
    headers, body = signed(payload)
    first = channel.receive(headers, body, now=datetime.now(UTC))
    lowered = {name.lower(): value for name, value in headers.items()}
    again = channel.receive(lowered, body, now=datetime.now(UTC))
    assert first is not None
    assert first == again, "a delivery that comes twice has one id"
    assert first.heard[0].allowed
    assert first.body == b""


FORGED: dict[str, Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]] = {
    "another body": lambda headers, body: (headers, body + b"&x=1"),
    "no signature": lambda headers, body: (
        {name: value for name, value in headers.items() if name != "X-Slack-Signature"},
        body,
    ),
    "an empty signature": lambda headers, body: ({**headers, "X-Slack-Signature": ""}, body),
    "a strange signature": lambda headers, body: ({**headers, "X-Slack-Signature": "v0=ключ\ud800"}, body),
    "half a signature": lambda headers, body: (
        {**headers, "X-Slack-Signature": headers["X-Slack-Signature"][:-1]},
        body,
    ),
    "another version": lambda headers, body: (
        {**headers, "X-Slack-Signature": headers["X-Slack-Signature"].replace("v0", "v1")},
        body,
    ),
    "no time": lambda headers, body: (
        {name: value for name, value in headers.items() if name != "X-Slack-Request-Timestamp"},
        body,
    ),
    "another time": lambda headers, body: (
        {**headers, "X-Slack-Request-Timestamp": str(int(headers["X-Slack-Request-Timestamp"]) + 1)},
        body,
    ),
    "a time in words": lambda headers, body: ({**headers, "X-Slack-Request-Timestamp": "now"}, body),
    "a time without end": lambda headers, body: ({**headers, "X-Slack-Request-Timestamp": "9" * 5000}, body),
    "a time below zero": lambda headers, body: ({**headers, "X-Slack-Request-Timestamp": "-5"}, body),
}


@pytest.mark.parametrize("how", FORGED)
async def test_what_is_forged_is_recognised_by_nobody(
    workspace: FakeSlack, connect: Connect, how: str
) -> None:
    channel = connect(**by_http())
    post = await posted(workspace, channel)
    headers, body = FORGED[how](*signed(workspace.payload(post, "Roll back")))
    assert channel.receive(headers, body, now=datetime.now(UTC)) is None


@pytest.mark.parametrize("off", [-302, 302, -86400, 86400])
async def test_what_is_not_of_now_is_recognised_by_nobody(
    workspace: FakeSlack, connect: Connect, off: float
) -> None:
    channel = connect(**by_http())
    post = await posted(workspace, channel)
    at = time.time() + off
    headers, body = signed(workspace.payload(post, "Roll back"), at=at)
    assert channel.receive(headers, body, now=datetime.now(UTC)) is None
    assert channel.receive(headers, body, now=datetime.fromtimestamp(at, UTC)) is not None


async def test_another_secret_signs_nothing(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect(**by_http())
    post = await posted(workspace, channel)
    for secret in ("", "another", SIGNING_SECRET + "x"):
        headers, body = signed(workspace.payload(post, "Acknowledge"), secret=secret)
        assert channel.receive(headers, body, now=datetime.now(UTC)) is None


async def test_a_press_is_left_to_the_channel_whose_button_it_was(
    workspace: FakeSlack, connect: Connect
) -> None:
    ops, other = connect(**by_http()), connect(**by_http(), name="other")
    post = await posted(workspace, other)
    headers, body = signed(workspace.payload(post, "Acknowledge"))
    now = datetime.now(UTC)
    assert ops.receive(headers, body, now=now) is None
    assert other.receive(headers, body, now=now) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"ssl_check=1&token=x",
        b"payload=",
        b"payload=%ff",
        b"payload={",
        b"payload=[]&payload=[]",
        b"\xff\xfe",
        b"payload=" + b"[" * 100_000,
        b"&".join(b"a=1" for _ in range(1000)),
        urlencode({"payload": json.dumps({"type": "view_submission", "user": {"id": "U1"}})}).encode(),
    ],
    ids=range(10),
)
async def test_what_slack_signed_and_is_no_press_asks_for_nothing(connect: Connect, raw: bytes) -> None:
    channel = connect(**by_http())
    headers, body = signed(None, raw=raw)
    if raw:
        assert channel.receive(headers, body, now=datetime.now(UTC)) == Received()


BUTTON = {
    "action_id": "rollback_watchdog.acknowledge",
    "value": '{"c":"ops","t":"i-1"}',
    "action_ts": "1.1",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"action_id": "acknowledge"},
        {"action_id": "rollback_watchdog.close"},
        {"action_id": "rollback_watchdog.deployment"},
        {"action_id": "rollback_watchdog."},
        {"action_id": ""},
        {"value": ""},
        {"value": "i-1"},
        {"value": "{}"},
        {"value": '{"c":"ops","t":""}'},
        {"value": '{"c":1,"t":2}'},
        {"action_ts": ""},
    ],
    ids=range(11),
)
def test_a_button_that_is_not_ours_is_no_press(changes: dict[str, str]) -> None:
    payload = {"type": "block_actions", "user": {"id": "U1"}, "actions": [BUTTON | changes]}
    assert presses(json.dumps(payload).encode()) == ()
    assert len(presses(json.dumps({**payload, "actions": [BUTTON]}).encode())) == 1


def test_a_name_from_outside_stays_one_line() -> None:
    user = {"id": "U1", "username": "ana\nroot: <!channel>\u202e" + "x" * 500}
    (press,) = presses(json.dumps({"type": "block_actions", "user": user, "actions": [BUTTON]}).encode())
    assert press.heard.by.startswith("slack:U1 (ana root: <!channel>\\u202e")
    assert len(press.heard.by) < 120


# Answers

ADDRESSES = {
    "https://hooks.slack.com/actions/T0/1/x": True,
    "http://hooks.slack.com/actions/T0/1/x": False,
    "https://hooks.slack.com:8443/x": False,
    "https://evil.example.com/x": False,
    "https://hooks.slack.com.evil.example.com/x": False,
    "https://evilslack.com/x": False,
    "https://hooks.slack.com@evil.example.com/x": False,
    "https://user@hooks.slack.com/x": False,
    "https://169.254.169.254/latest/meta-data": False,
    "http://127.0.0.1:1/x": False,
    "file:///etc/passwd": False,
    "": False,
    "https://": False,
    "https://hooks.slack.com:999999/x": False,
}


@pytest.mark.parametrize("address", ADDRESSES, ids=range(len(ADDRESSES)))
def test_only_slack_is_answered(connect: Connect, address: str) -> None:
    channel = connect()
    assert channel._is_slack(address) is ADDRESSES[address]  # noqa: SLF001 - nothing may be tried out here


async def test_an_answer_goes_nowhere_else(connect: Connect) -> None:
    async with slack() as elsewhere:
        heard = Heard(
            id="slack:U1:1:acknowledge",
            kind=RequestKind.ACKNOWLEDGE,
            target="i-1",
            by="x",
            back=f"http://127.0.0.1:{elsewhere.port}/actions/T0/1/answer",
        )
        await connect().answered(heard, Answer(done=True, text="done"))
        assert elsewhere.told == []


async def test_an_answer_that_does_not_arrive_is_left(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    workspace.trick("response", answer(404, "expired_url"), answer(500, "oops"))
    channel = connect(**by_http())
    post = await posted(workspace, channel)
    received = channel.receive(*signed(workspace.payload(post, "Acknowledge")), now=datetime.now(UTC))
    assert received is not None
    with capture_logs() as told:
        for _ in range(3):
            await channel.answered(received.heard[0], Answer(done=False, text="no"))
    assert [line["what"] for line in told] == ["answer", "answer"]
    assert len(workspace.told) == 1


async def test_the_channel_of_the_message_is_known_by_its_id(workspace: FakeSlack, connect: Connect) -> None:
    post = await posted(workspace, connect())
    assert post.channel == CHANNEL
    assert USUAL.headline in post.shown.replace("&gt;", ">")
