from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.fake_slack import (
    APP_TOKEN,
    CHANNEL,
    NAME,
    SIGNING_SECRET,
    TOKEN,
    WEBHOOK_SECRET,
    FakeSlack,
    Trick,
    answer,
    close,
    error,
    faults,
    hang,
    slack,
)
from tests.channels.messages import AWKWARD, USUAL, message
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.slack import SlackChannel
from watchdog.channels.slack_api import ADVICE, PASSING, SHAPE, THREAD
from watchdog.core.message import Message, MessageKind, Thread
from watchdog.core.rule import Severity

CHART = Chart(png=b"\x89PNG" + b"x" * 1000, alt="error-rate rose from 0% to 21%")
Connect = Callable[..., SlackChannel]


@pytest.fixture
async def workspace() -> AsyncIterator[FakeSlack]:
    async with slack() as fake:
        yield fake


@pytest.fixture
async def connect(workspace: FakeSlack) -> AsyncIterator[Connect]:
    made: list[SlackChannel] = []

    def make(*, webhook: bool = False, name: str = "ops", **settings: Any) -> SlackChannel:
        where: dict[str, Any] = (
            {"webhook_url": SecretStr(workspace.webhook)}
            if webhook
            else {"token": SecretStr(TOKEN), "channel": NAME}
        )
        written = {"url": workspace.url, "timeout": "10s", **where, **settings}
        channel = SlackChannel(SlackChannel.Settings.model_validate(written), name=name, clock=SystemClock())
        made.append(channel)
        return channel

    yield make
    for channel in made:
        await channel.aclose()


BUTTONS: dict[str, Any] = {"signing_secret": SecretStr(SIGNING_SECRET), "users": ["U0ALLOWED"]}


def later(kind: MessageKind, **changes: Any) -> Message:
    return message(**{"key": f"{kind}:i-1", "kind": kind, **changes})


async def began(channel: SlackChannel, first: Message = USUAL) -> Thread:
    sent = await channel.send(first, key=first.key)
    assert isinstance(sent, Delivered)
    return Thread(reference=sent.reference, message=first)


# What is sent


async def test_a_first_message_says_everything_at_once(workspace: FakeSlack, connect: Connect) -> None:
    sent = await connect().send(USUAL, key="k")
    (post,) = workspace.posts
    assert sent == Delivered(reference=f"{CHANNEL}:{post.ts}")
    assert post.blocks[0]["type"] == "header"
    assert USUAL.headline in post.blocks[0]["text"]["text"]
    assert post.body["attachments"][0]["color"].startswith("#")
    shown = post.shown.replace("&gt;", ">")
    for part in ("trips", "production", "v1.4.2", "2026-01-01 12:30:05 UTC", "critical", USUAL.next_step):
        assert part in shown
    assert "*error-rate*\n21%, held for 2 samples" in shown
    assert f"<{USUAL.runbook}|Runbook>" in shown
    assert "nobody has to act" in shown
    assert post.body["text"].startswith("[critical] trips: error-rate is 21%")
    assert post.buttons == {}


async def test_commands_can_be_copied(workspace: FakeSlack, connect: Connect) -> None:
    told = message(
        undo="watchdog rollback trips --to v1.4.2 --reason 'a<b'",
        explain="watchdog explain r-1",
        next_step="Take it: watchdog ack i-1",
        needs_human=True,
        dashboard="https://watchdog.example.com/?a=1&b=2",
    )
    await connect().send(told, key="k")
    (post,) = workspace.posts
    assert "Undo: `watchdog rollback trips --to v1.4.2 --reason 'a&lt;b'`" in post.shown
    assert "Why: `watchdog explain r-1`" in post.shown
    assert "`watchdog ack i-1`" in post.shown
    assert "*Needs you:*" in post.shown
    assert "<https://watchdog.example.com/?a=1&amp;b=2|Dashboard>" in post.shown


async def test_who_is_mentioned_is_said_by_the_settings_alone(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect(mention={"critical": ["here", "U012AB", "S012CD"]})
    thread = await began(channel)
    await channel.send(later(MessageKind.ROLLBACK_SWITCHED), key="2", thread=thread)
    await channel.send(later(MessageKind.ESCALATED), key="3", thread=thread)
    await channel.send(message(severity=Severity.HIGH, incident="i-2"), key="4")
    called = ["<!here> <@U012AB> <!subteam^S012CD>" in post.shown for post in workspace.posts]
    assert called == [True, False, True, False]


async def test_what_comes_later_goes_into_the_thread_and_what_is_louder_to_everybody(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    thread = await began(channel)
    root = workspace.posts[0]
    quiet = [
        later(MessageKind.INCIDENT_ACKNOWLEDGED),
        later(MessageKind.ROLLBACK_SWITCHED),
        later(MessageKind.INCIDENT_CLOSED),
        later(MessageKind.INCIDENT_WORSENED, severity=Severity.HIGH),
        later(MessageKind.ROLLBACK_ENDED, needs_human=False),
    ]
    loud = [
        later(MessageKind.ESCALATED),
        later(MessageKind.ROLLBACK_BLOCKED),
        later(MessageKind.APPROVAL_WANTED),
        later(MessageKind.INCIDENT_WORSENED, severity=Severity.CRITICAL),
        later(MessageKind.ROLLBACK_ENDED, needs_human=True),
    ]
    for number, one in enumerate(quiet + loud):
        sent = await channel.send(one, key=f"{number}", thread=thread)
        assert isinstance(sent, Delivered)
    replies = workspace.thread(root.ts)
    assert len(replies) == len(quiet) + len(loud)
    assert [post.body["reply_broadcast"] for post in replies] == [False] * len(quiet) + [True] * len(loud)


async def test_the_first_message_shows_what_became_of_it(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect(**BUTTONS)
    thread = await began(channel)
    root = workspace.posts[0]
    assert list(root.buttons) == ["Acknowledge", "Roll back", "Pause automation"]
    before = root.body["attachments"][0]["color"]

    taken = later(MessageKind.INCIDENT_ACKNOWLEDGED, headline="trips: acknowledged by slack:U1 (ana)")
    await channel.send(taken, key="2", thread=thread)
    await eventually(lambda: "acknowledged by slack:U1 (ana)" in root.shown)
    assert list(root.buttons) == ["Un-acknowledge", "Roll back", "Pause automation"]

    moved = later(MessageKind.ROLLBACK_SWITCHED, headline="trips: traffic moved back")
    await channel.send(moved, key="3", thread=thread)
    await eventually(lambda: "traffic moved back" in root.shown)
    assert "acknowledged by" in root.shown
    assert list(root.buttons) == ["Un-acknowledge", "Pause automation"]
    assert root.body["attachments"][0]["color"] == before

    over = later(MessageKind.INCIDENT_CLOSED, headline="trips: closed: all checks are ok")
    await channel.send(over, key="4", thread=thread)
    await eventually(lambda: "closed: all checks are ok" in root.shown)
    assert root.buttons == {}
    assert root.body["attachments"][0]["color"] == "#2e7d32"
    assert USUAL.headline in root.blocks[0]["text"]["text"], "what it was stays readable"


async def test_an_acknowledgement_that_was_taken_back_offers_to_acknowledge_again(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect(**BUTTONS)
    thread = await began(channel)
    root = workspace.posts[0]
    await channel.send(later(MessageKind.INCIDENT_ACKNOWLEDGED), key="2", thread=thread)
    await eventually(lambda: "Un-acknowledge" in root.buttons)
    await channel.send(
        later(MessageKind.INCIDENT_UNACKNOWLEDGED, headline="nobody has it"), key="3", thread=thread
    )
    await eventually(lambda: "Acknowledge" in root.buttons)
    assert "nobody has it" in root.shown


async def test_approval_is_asked_for_in_the_thread_and_at_the_first_message(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect(**BUTTONS)
    thread = await began(channel)
    await channel.send(later(MessageKind.APPROVAL_WANTED, rollback="r-1"), key="2", thread=thread)
    (reply,) = workspace.thread(workspace.posts[0].ts)
    assert list(reply.buttons)[:2] == ["Approve rollback", "Reject"]
    confirm = reply.buttons["Approve rollback"]["confirm"]
    assert confirm["style"] == "danger"
    await eventually(lambda: "Approve rollback" in workspace.posts[0].buttons)


async def test_a_failing_update_never_makes_a_message_fail(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect()
    thread = await began(channel)
    workspace.always("chat.update", error("cant_update_message"))
    with capture_logs() as told:
        for number in range(3):
            sent = await channel.send(later(MessageKind.ESCALATED), key=f"{number}", thread=thread)
            assert isinstance(sent, Delivered)
            await eventually(partial(_tried, workspace, number + 1))
        await channel.aclose()
    assert [line["event"] for line in told] == ["slack_left_out"], "once, not every time"


async def test_an_update_waits_while_slack_is_busy(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect()
    thread = await began(channel)
    workspace.trick("chat.update", answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "0"}))
    await channel.send(later(MessageKind.ESCALATED, headline="told the manager"), key="2", thread=thread)
    await eventually(lambda: "told the manager" in workspace.posts[0].shown)
    assert len(workspace.called("chat.update")) == 2


async def test_news_that_come_while_the_first_message_is_updated_are_shown_too(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    goes_on = asyncio.Event()

    async def slow(request: Any) -> Any:
        await goes_on.wait()
        return await answer(200, {"ok": True})(request)

    channel = connect()
    thread = await began(channel)
    workspace.trick("chat.update", slow)
    await channel.send(later(MessageKind.ESCALATED, headline="told the manager"), key="2", thread=thread)
    await eventually(partial(_tried, workspace, 1))
    await channel.send(later(MessageKind.INCIDENT_CLOSED, headline="it is over"), key="3", thread=thread)
    goes_on.set()
    await eventually(lambda: "it is over" in workspace.posts[0].shown)
    assert len(workspace.called("chat.update")) == 2


async def test_what_is_said_again_changes_nothing_at_the_first_message(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    thread = await began(channel)
    with capture_logs() as told:
        for kind in (MessageKind.INCIDENT_REPEATED, MessageKind.ACKNOWLEDGEMENT_REMINDER):
            assert isinstance(await channel.send(later(kind), key=kind, thread=thread), Delivered)
        await channel.aclose()
    assert workspace.called("chat.update") == []
    assert told == []


async def test_a_chart_is_uploaded_to_slack_and_nowhere_else(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect()
    async with slack() as elsewhere:
        seen: list[Any] = []
        elsewhere.always("upload", partial(_seen, seen))
        away = {"ok": True, "file_id": "F1", "upload_url": f"http://127.0.0.1:{elsewhere.port}/upload/v1/F1"}
        workspace.trick("files.getUploadURLExternal", answer(200, away))
        with capture_logs() as told:
            assert isinstance(await channel.send(USUAL, key="k", chart=CHART), Delivered)
            await channel.aclose()
    assert seen == []
    assert told[0]["reason"] == "the address to upload to is not Slack's"


async def _seen(seen: list[Any], request: Any) -> Any:
    seen.append(request)
    return await answer(200, "OK")(request)


def _tried(workspace: FakeSlack, times: int) -> bool:
    return len(workspace.called("chat.update")) == times


async def test_a_thread_that_is_gone_costs_the_thread_and_not_the_message(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    thread = Thread(reference=f"{CHANNEL}:1.1", message=USUAL)
    for name in sorted(THREAD):
        workspace.trick("chat.postMessage", error(name))
        sent = await channel.send(later(MessageKind.ESCALATED), key=name, thread=thread)
        post = workspace.posts[-1]
        assert sent == Delivered(reference=f"{CHANNEL}:{post.ts}")
        assert not post.thread_ts
    assert len(workspace.posts) == len(THREAD)


async def test_the_thread_of_another_channel_is_still_its_own(workspace: FakeSlack, connect: Connect) -> None:
    """The channel in the settings was changed while an incident is open: its thread is where it was."""
    thread = Thread(reference="C0ELSEWHERE:1.1", message=USUAL)
    sent = await connect().send(later(MessageKind.ESCALATED), key="2", thread=thread)
    assert isinstance(sent, Refused)
    assert workspace.called("chat.postMessage")[0]["channel"] == "C0ELSEWHERE"


async def test_a_chart_follows_into_the_thread(
    workspace: FakeSlack, connect: Connect, eventually: Eventually
) -> None:
    channel = connect()
    sent = await channel.send(USUAL, key="k", chart=CHART)
    assert isinstance(sent, Delivered)
    await eventually(lambda: len(workspace.files) == 1)
    (shared,) = workspace.files
    assert shared["content"] == CHART.png
    assert f"{shared['channel']}:{shared['thread_ts']}" == sent.reference
    assert workspace.called("files.getUploadURLExternal")[0]["alt_txt"] == CHART.alt
    thread = Thread(reference=sent.reference, message=USUAL)
    await channel.send(later(MessageKind.INCIDENT_WORSENED), key="2", thread=thread, chart=CHART)
    await eventually(lambda: len(workspace.files) == 2)
    assert workspace.files[1]["thread_ts"] == workspace.posts[0].ts


@pytest.mark.parametrize(
    ("method", "trick"),
    [
        ("files.getUploadURLExternal", error("missing_scope", needed="files:write")),
        ("files.getUploadURLExternal", close),
        ("files.getUploadURLExternal", answer(200, {"ok": True, "upload_url": "https://evil.example.com/x"})),
        ("files.getUploadURLExternal", answer(200, {"ok": True})),
        ("upload", answer(500, "oops")),
        ("upload", answer(302, "", {"Location": "http://127.0.0.1:9/"})),
        ("upload", close),
        ("files.completeUploadExternal", error("internal_error")),
    ],
    ids=["no right", "gone", "elsewhere", "nowhere", "broken", "redirected", "lost", "not shared"],
)
async def test_a_failing_upload_never_makes_a_message_fail(
    workspace: FakeSlack, connect: Connect, method: str, trick: Trick
) -> None:
    workspace.trick(method, trick)
    channel = connect()
    with capture_logs() as told:
        sent = await channel.send(USUAL, key="k", chart=CHART)
        assert isinstance(sent, Delivered)
        await channel.aclose()
    assert workspace.files == []
    assert [line["what"] for line in told] == ["chart"]
    assert TOKEN not in repr(told)


async def test_a_webhook_takes_single_messages_without_threads_or_buttons(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect(webhook=True)
    thread = Thread(reference=f"{CHANNEL}:1.1", message=USUAL)
    sent = await channel.send(later(MessageKind.ESCALATED), key="k", thread=thread, chart=CHART)
    assert sent == Delivered(reference="")
    (body,) = workspace.hooked
    assert set(body) == {"text", "blocks", "attachments"}
    assert [method for method, _ in workspace.calls] == ["webhook"]


# Limits and injection


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
@pytest.mark.parametrize("name", AWKWARD)
async def test_awkward_text_is_taken_as_it_is(
    workspace: FakeSlack, connect: Connect, name: str, webhook: bool
) -> None:
    settings = {} if webhook else BUTTONS
    channel = connect(webhook=webhook, **settings)
    for one in (AWKWARD[name], message(**_everything(AWKWARD[name]))):
        sent = await channel.send(one, key=one.key)
        assert isinstance(sent, Delivered)
    shapes = workspace.hooked if webhook else [post.body for post in workspace.posts]
    assert all("blocks" in body for body in shapes), "nothing had to be said plainly"
    assert len(shapes) == 2


def _everything(awkward: Message) -> dict[str, Any]:
    """The same text wherever text can be."""
    text = awkward.headline
    return {
        "headline": text,
        "service": text,
        "environment": text,
        "version": text,
        "incident": text,
        "rollback": text,
        "facts": ((text, text),) * 30,
        "next_step": text,
        "runbook": text,
        "dashboard": f"https://example.com/{text}",
        "undo": text,
        "explain": text,
        "audit_head": text,
        "needs_human": True,
        "key": f"{awkward.key} everywhere",
    }


async def test_what_must_be_known_is_there_however_much_there_is(
    workspace: FakeSlack, connect: Connect
) -> None:
    long = message(
        headline="HEAD " + "h" * 10_000,
        facts=tuple((f"fact {number}", "&" * 10_000) for number in range(100)),
        next_step="STEP " + "n" * 10_000,
        needs_human=True,
        undo="watchdog undo",
    )
    await connect(**BUTTONS).send(long, key="k")
    (post,) = workspace.posts
    assert "HEAD hhh" in post.blocks[0]["text"]["text"]
    assert "*Needs you:* STEP nnn" in post.shown
    assert "`watchdog undo`" in post.shown
    assert "more" in post.shown
    assert list(post.buttons) == ["Acknowledge", "Roll back", "Pause automation"]


HOSTILE = [
    "<!channel>",
    "<!here|x>",
    "<@U012AB>",
    "<!subteam^S012AB>",
    "<https://evil.example.com|your bank>",
    "&lt;!channel&gt;",
    "`<!channel>`",
    "*<!channel>*",
    "@here @channel @everyone #general",
    "</text><script>alert(1)</script>",
    'x","blocks":[{"type":"divider"}]',
    "a\n*Needs you:* send money",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_text_from_outside_mentions_nobody_and_links_nowhere(
    workspace: FakeSlack, connect: Connect, hostile: str, eventually: Eventually
) -> None:
    channel = connect(**BUTTONS)
    told = message(**_everything(message(headline=hostile)), labels={hostile: hostile})
    told = message(
        **{**_everything(told), "runbook": f"https://example.com/|{hostile}", "dashboard": hostile}
    )
    thread = await began(channel, told)
    news = later(MessageKind.INCIDENT_ACKNOWLEDGED, headline=hostile, facts=((hostile, hostile),))
    await channel.send(news, key="2", thread=thread)
    await eventually(lambda: "👀" in workspace.posts[0].shown)
    for post in workspace.posts:
        for block in post.blocks:
            for text in _objects(block):
                if text["type"] == "mrkdwn":
                    assert text["verbatim"] is True, "nothing is turned into a mention or a link by itself"
                    rest = text["text"].replace("|Runbook>", "")
                    for address in ("<https://example.com/", f"<{USUAL.runbook}"):
                        rest = rest.replace(address, "")
                    assert "<" not in rest
                    assert ">" not in rest
                    assert "\n*Needs you:* send" not in rest
        assert "<" not in post.body["text"]
        assert post.body.get("link_names") is None
        assert post.body.get("parse") is None


def _objects(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, dict):
        own = [part] if isinstance(part.get("text"), str) else []
        return own + [text for one in part.values() for text in _objects(one)]
    if isinstance(part, list):
        return [text for one in part for text in _objects(one)]
    return []


async def test_what_slack_does_not_like_goes_out_plainly_in_the_same_attempt(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect(**BUTTONS)
    thread = await began(channel)
    news = later(MessageKind.ESCALATED, next_step="Call somebody", needs_human=True)
    for name in sorted(SHAPE):
        workspace.trick("chat.postMessage", error(name))
        with capture_logs() as told:
            sent = await channel.send(news, key=name, thread=thread)
        assert isinstance(sent, Delivered)
        post = workspace.posts[-1]
        assert post.thread_ts == workspace.posts[0].ts
        assert "blocks" not in post.body
        assert USUAL.headline.replace(">", "&gt;") in post.body["text"]
        assert "Needs you: Call somebody" in post.body["text"]
        assert [line["reason"] for line in told] == [name]


async def test_a_webhook_says_it_plainly_too(workspace: FakeSlack, connect: Connect) -> None:
    workspace.trick("webhook", answer(400, "invalid_blocks"))
    sent = await connect(webhook=True).send(USUAL, key="k")
    assert sent == Delivered()
    assert set(workspace.hooked[0]) == {"text"}


async def test_what_is_refused_plainly_too_is_refused(workspace: FakeSlack, connect: Connect) -> None:
    workspace.always("chat.postMessage", error("invalid_blocks"))
    sent = await connect().send(USUAL, key="k")
    assert isinstance(sent, Refused)
    assert len(workspace.called("chat.postMessage")) == 2


# What Slack answers

ERRORS: dict[str, type[Delivery]] = {
    **dict.fromkeys(PASSING, Later),
    **dict.fromkeys(ADVICE, Refused),
    **dict.fromkeys(
        [
            "access_denied",
            "as_user_not_supported",
            "deprecated_endpoint",
            "duplicate_channel_not_found",
            "ekm_access_denied",
            "enterprise_is_restricted",
            "messages_tab_disabled",
            "no_permission",
            "restricted_action",
            "restricted_action_read_only_channel",
            "restricted_action_thread_only_channel",
            "team_access_not_granted",
            "team_not_found",
            "two_factor_setup_required",
            "an_error_of_tomorrow",
        ],
        Refused,
    ),
}


async def test_every_error_has_its_outcome(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect()
    for name, wanted in ERRORS.items():
        workspace.trick("chat.postMessage", error(name))
        sent = await channel.send(USUAL, key="k")
        assert not isinstance(sent, Delivered)
        assert type(sent) is wanted, name
        assert name in sent.reason
        assert ADVICE.get(name, "") in sent.reason or name == "missing_scope"
    assert len(workspace.called("chat.postMessage")) == len(ERRORS), "each was tried once"


STATUSES: dict[int, type[Delivery]] = {
    **dict.fromkeys([400, 401, 403, 404, 405, 410, 413, 422], Refused),
    **dict.fromkeys([408, 425, 429], Later),
    **dict.fromkeys([301, 302, 303, 307, 308], Refused),
    **dict.fromkeys([500, 502, 503, 504, 520], Later),
    200: Unclear,
}


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
@pytest.mark.parametrize("text", ["<html>a proxy</html>", "{", ""], ids=["html", "half", "empty"])
async def test_every_status_has_its_outcome(
    workspace: FakeSlack, connect: Connect, webhook: bool, text: str
) -> None:
    channel = connect(webhook=webhook)
    for status, usual in STATUSES.items():
        where = {"Location": "http://127.0.0.1:9/"} if 300 <= status < 400 else {}
        workspace.trick("webhook" if webhook else "chat.postMessage", answer(status, text, where))
        sent = await channel.send(USUAL, key="k")
        wanted: type[Delivery] = Refused if webhook and status == 200 and text else usual
        assert type(sent) is wanted, (status, sent)
        workspace.always("conversations.history", error("missing_scope"))


WEBHOOK_ERRORS: dict[tuple[int, str], type[Delivery]] = {
    (400, "invalid_token"): Refused,
    (403, "action_prohibited"): Refused,
    (404, "channel_not_found"): Refused,
    (404, "no_service"): Refused,
    (410, "channel_is_archived"): Refused,
    (500, "rollup_error"): Later,
}


async def test_every_error_of_a_webhook_has_its_outcome(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect(webhook=True)
    for (status, name), wanted in WEBHOOK_ERRORS.items():
        workspace.trick("webhook", answer(status, name))
        sent = await channel.send(USUAL, key="k")
        assert not isinstance(sent, Delivered)
        assert type(sent) is wanted, name
        assert name in sent.reason
        assert WEBHOOK_SECRET not in sent.reason


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
async def test_slack_says_how_long_it_wants_to_be_left_alone(
    workspace: FakeSlack, connect: Connect, webhook: bool
) -> None:
    busy = answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"})
    workspace.trick("webhook" if webhook else "chat.postMessage", busy)
    sent = await connect(webhook=webhook).send(USUAL, key="k")
    assert isinstance(sent, Later)
    assert sent.after == timedelta(seconds=30)


async def test_two_messages_within_a_second_are_one_too_many(workspace: FakeSlack, connect: Connect) -> None:
    workspace.rate = 3600.0
    channel = connect()
    assert isinstance(await channel.send(USUAL, key="1"), Delivered)
    sent = await channel.send(USUAL, key="2")
    assert isinstance(sent, Later)
    assert sent.after == timedelta(seconds=1)


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
@pytest.mark.parametrize("trick", [hang, close])
async def test_a_lost_answer_is_unclear(
    workspace: FakeSlack, connect: Connect, trick: Trick, webhook: bool
) -> None:
    workspace.trick("webhook" if webhook else "chat.postMessage", trick)
    sent = await connect(webhook=webhook, timeout="2s").send(USUAL, key="k")
    assert isinstance(sent, Unclear)


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
async def test_nobody_at_the_other_end_is_certainly_not_delivered(connect: Connect, webhook: bool) -> None:
    port = (
        {"webhook_url": SecretStr("http://127.0.0.1:9/x")} if webhook else {"url": "http://127.0.0.1:9/api/"}
    )
    channel = connect(webhook=webhook, **port)
    assert isinstance(await channel.send(USUAL, key="k"), Later)
    assert str(await channel.inspect()).startswith("no connection: ")


async def test_a_redirect_takes_the_token_nowhere(workspace: FakeSlack, connect: Connect) -> None:
    async with slack() as elsewhere:
        away = {"Location": f"{elsewhere.url}chat.postMessage"}
        workspace.trick("chat.postMessage", answer(307, "", away))
        sent = await connect().send(USUAL, key="k")
        assert isinstance(sent, Refused)
        assert elsewhere.calls == []


async def test_a_message_whose_answer_was_lost_is_not_posted_twice(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    await began(channel)  # by now it knows the id of the channel
    workspace.trick("chat.postMessage", workspace.take_and_go)
    assert isinstance(await channel.send(message(incident="i-2"), key="k"), Unclear)
    sent = await channel.send(message(incident="i-2"), key="k")
    _, post = workspace.posts
    thread = Thread(reference=f"{CHANNEL}:{post.ts}", message=USUAL)
    assert sent == Delivered(reference=thread.reference)
    workspace.trick("chat.postMessage", workspace.take_and_go)
    assert isinstance(await channel.send(later(MessageKind.ESCALATED), key="2", thread=thread), Unclear)
    assert isinstance(await channel.send(later(MessageKind.ESCALATED), key="2", thread=thread), Delivered)
    assert len(workspace.posts) == 3
    assert isinstance(await channel.send(later(MessageKind.ESCALATED), key="3", thread=thread), Delivered)
    assert len(workspace.posts) == 4


async def test_without_the_right_to_look_a_duplicate_comes_rather_than_nothing(
    workspace: FakeSlack, connect: Connect
) -> None:
    workspace.scopes = frozenset({"chat:write"})
    workspace.trick("chat.postMessage", close)
    channel = connect()
    assert isinstance(await channel.send(USUAL, key="k"), Unclear)
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert len(workspace.posts) == 1


# Inspection


@pytest.mark.parametrize("webhook", [False, True], ids=["bot", "webhook"])
async def test_inspection_finds_nothing_wrong_and_posts_nothing(
    workspace: FakeSlack, connect: Connect, webhook: bool
) -> None:
    more = {} if webhook else {"channel": CHANNEL, "app_token": SecretStr(APP_TOKEN), "groups": ["S0ONCALL"]}
    assert await connect(webhook=webhook, **more).inspect() is None
    assert (workspace.posts, workspace.hooked) == ([], [])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scopes": frozenset({"files:write", "usergroups:read"})}, "the app lacks the scope chat:write"),
        ({"scopes": frozenset({"chat:write"})}, "the app lacks the scopes files:write, usergroups:read"),
        ({"archived": True}, f"the channel {CHANNEL} is archived"),
        ({"member": False}, "invite the bot"),
    ],
)
async def test_inspection_says_what_is_wrong(
    workspace: FakeSlack, connect: Connect, wrong: dict[str, Any], said: str
) -> None:
    for name, value in wrong.items():
        setattr(workspace, name, value)
    channel = connect(channel=CHANNEL, app_token=SecretStr(APP_TOKEN), groups=["S0ONCALL"])
    assert said in str(await channel.inspect())


async def test_inspection_says_which_token_is_wrong(workspace: FakeSlack, connect: Connect) -> None:
    wrong = connect(token=SecretStr("xoxb-wrong"))
    assert "the token is not valid" in str(await wrong.inspect())
    wrong = connect(app_token=SecretStr("xapp-wrong"), users=["U0ALLOWED"])
    assert str(await wrong.inspect()).startswith("the app token does not open Socket Mode")


# Settings

GOOD: dict[str, Any] = {"token": SecretStr("xoxb-1"), "channel": "#ops"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "needs `token` and `channel`, or `webhook_url`"),
        ({**GOOD, "webhook_url": SecretStr("https://hooks.slack.com/x")}, "one of both, not both"),
        ({"token": SecretStr("xoxb-1")}, "`token` needs `channel`"),
        ({"webhook_url": SecretStr("https://hooks.slack.com/x"), "channel": "#ops"}, "knows its channel"),
        (
            {"webhook_url": SecretStr("https://x.y/z"), "app_token": SecretStr("xapp-1")},
            "buttons need `token`",
        ),
        ({"webhook_url": SecretStr("nonsense")}, "is not an address"),
        ({**GOOD, "token": SecretStr("xoxp-1")}, "must begin with xoxb-"),
        ({**GOOD, "app_token": SecretStr("xoxb-1"), "users": ["U012"]}, "must begin with xapp-"),
        ({**GOOD, "token": SecretStr(" ")}, "is empty"),
        ({**GOOD, "token": SecretStr("xoxb-1 2")}, "is no token"),
        ({**GOOD, "app_token": SecretStr("xapp-1")}, "who may press the buttons?"),
        ({**GOOD, "users": ["U012"]}, "need `app_token` or `signing_secret`"),
        ({**GOOD, "app_token": SecretStr("xapp-1"), "users": ["ana"]}, "users"),
        ({**GOOD, "app_token": SecretStr("xapp-1"), "groups": ["oncall"]}, "groups"),
        ({**GOOD, "channel": "two words"}, "is no channel"),
        ({**GOOD, "url": "slack.com/api"}, "url"),
        ({**GOOD, "url": "https:///api/"}, "is not an address"),
        ({**GOOD, "mention": {"critical": ["everyone"]}}, "mention"),
        ({**GOOD, "token": "xoxb-in-the-open"}, "a secret is not written here"),
    ],
)
def test_a_mistake_in_the_settings_is_said(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SlackChannel.Settings.model_validate(written)
    assert said in str(caught.value)
    assert "in-the-open" not in str(caught.value)


@pytest.mark.parametrize(
    "written", ["http://proxy.example.com:8080/api", "http://proxy.example.com:8080/api/"]
)
def test_the_address_of_the_api_may_end_with_a_slash_or_without(written: str) -> None:
    settings = SlackChannel.Settings.model_validate({**GOOD, "url": written})
    assert settings.url == "http://proxy.example.com:8080/api/"


def test_anybody_may_be_allowed_on_purpose() -> None:
    settings = SlackChannel.Settings.model_validate(
        {**GOOD, "signing_secret": SecretStr("s"), "users": "anybody"}
    )
    assert settings.users == ("anybody",)


# Golden messages

GOLDEN = Path(__file__).parent / "golden"
_ACTED = {"incident": "i-1", "rollback": "r-1", "explain": "watchdog explain r-1"}
PAGES = {
    "opened": message(needs_human=True, rollback=None, next_step="Look at it: watchdog incidents show i-1"),
    "blocked": later(
        MessageKind.ROLLBACK_BLOCKED,
        headline="trips v1.4.2 should be rolled back and was NOT: no version is known good",
        facts=(("why", "error-rate 21%"), ("guard known_good_target", "v1.4.1 is tainted")),
        needs_human=True,
        **_ACTED,
    ),
    "approval": later(
        MessageKind.APPROVAL_WANTED,
        headline="trips: approve the rollback from v1.4.2 to v1.4.1?",
        next_step="Answer within 15m: watchdog approve i-1",
        needs_human=True,
        **_ACTED,
    ),
    "switched": later(
        MessageKind.ROLLBACK_SWITCHED,
        headline="trips: traffic moved back from v1.4.2 to v1.4.1",
        undo="watchdog rollback trips --to v1.4.2 --reason TEXT",
        **_ACTED,
    ),
    "closed": later(
        MessageKind.INCIDENT_CLOSED, headline="trips: closed: all checks are ok", severity=Severity.CRITICAL
    ),
    "paused": message(
        kind=MessageKind.PAUSED,
        severity=Severity.MEDIUM,
        headline="trips: automation paused by ana",
        incident=None,
        rollback=None,
        facts=(),
        next_step="watchdog resume trips",
    ),
}


@pytest.mark.parametrize("name", PAGES)
async def test_the_usual_messages_look_as_they_were_shown(
    workspace: FakeSlack, connect: Connect, name: str
) -> None:
    """To accept a change on purpose: delete the file and run the test twice."""
    await connect(**BUTTONS).send(PAGES[name], key="k")
    (post,) = workspace.posts
    seen = {part: post.body[part] for part in ("text", "blocks", "attachments")}
    golden = GOLDEN / f"slack_{name}.json"
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")
        pytest.fail(f"{golden.name} was missing; it is written now")
    assert seen == json.loads(golden.read_text())


# Closing


async def test_a_closed_channel_sends_nothing(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect()
    await channel.aclose()
    assert isinstance(await channel.send(USUAL, key="k"), Later)
    assert workspace.calls == []


async def test_closing_waits_a_moment_for_what_is_beside_a_message(
    workspace: FakeSlack, connect: Connect
) -> None:
    channel = connect()
    await channel.send(USUAL, key="k", chart=CHART)
    await channel.aclose()
    assert len(workspace.files) == 1


async def test_many_at_once_are_fine(workspace: FakeSlack, connect: Connect) -> None:
    channel = connect()
    sent = await asyncio.gather(*(channel.send(USUAL, key=f"{number}") for number in range(20)))
    assert all(isinstance(one, Delivered) for one in sent)
    assert not any(faults(post.body) for post in workspace.posts)
