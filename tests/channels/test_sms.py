from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.fake_twilio import ACCOUNT, ONE, SENDER, THREE, TOKEN, TWO, Said, Twilio
from tests.channels.messages import AWKWARD, USUAL, message
from tests.channels.receiver import receiving
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Chart, Delivered, Later, Refused, Unclear
from watchdog.channels.rendering import Rendered, Rendering
from watchdog.channels.sms import NEVER_SENT, SmsChannel, body_of, hide_numbers
from watchdog.core.message import MessageKind

RENDERING = Rendering()
GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)


@pytest.fixture
async def twilio() -> AsyncIterator[Twilio]:
    async with receiving(Twilio()) as running:
        assert isinstance(running, Twilio)
        yield running


Connect = Callable[..., SmsChannel]


def channel_to(url: str, **settings: Any) -> SmsChannel:
    written = {
        "url": url,
        "account": ACCOUNT,
        "token": SecretStr(TOKEN),
        "from": SENDER,
        "to": [ONE],
        "timeout": "10s",
    } | settings
    known = SmsChannel.Settings.model_validate({k: v for k, v in written.items() if v is not None})
    return SmsChannel(known, name="lead", clock=SystemClock(), rendering=RENDERING)


@pytest.fixture
async def connect(twilio: Twilio) -> AsyncIterator[Connect]:
    made: list[SmsChannel] = []

    def make(**settings: Any) -> SmsChannel:
        made.append(channel_to(twilio.url, **settings))
        return made[-1]

    yield make
    for channel in made:
        await channel.aclose()


async def test_each_number_gets_one_text(twilio: Twilio, connect: Connect) -> None:
    delivery = await connect(to=[ONE, TWO]).send(USUAL, key="k", chart=Chart(png=b"png", alt="a line"))
    assert isinstance(delivery, Delivered)
    assert delivery.reference.startswith("SM")
    assert sorted(to for to, _ in twilio.texts) == [ONE, TWO]
    [text] = {text for _, text in twilio.texts}
    assert text.startswith(f"CRITICAL {USUAL.headline}")
    assert len(text) <= 320
    assert {form["From"] for form in twilio.forms} == {SENDER}


async def test_a_messaging_service_chooses_the_number(twilio: Twilio, connect: Connect) -> None:
    channel = connect(**{"from": None, "messaging_service": "MG" + "a" * 32})
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert twilio.forms[0]["MessagingServiceSid"] == "MG" + "a" * 32


ANSWERS = [
    (Said(200, 0), Delivered),
    (Said(202, 0), Delivered),
    (Said(201, 30007), Refused),
    (Said(201, 30001), Later),
    (Said(301), Refused),
    (Said(307), Refused),
    (Said(400), Refused),
    (Said(400, 14107), Later),
    (Said(400, 20001), Refused),
    (Said(401, 20003), Refused),
    (Said(401), Refused),
    (Said(403, 20005), Refused),
    (Said(404, 20404), Refused),
    (Said(405, 20004), Refused),
    (Said(408), Later),
    (Said(400, 21211), Refused),
    (Said(400, 21408), Refused),
    (Said(400, 21602), Refused),
    (Said(400, 21606), Refused),
    (Said(400, 21608), Refused),
    (Said(400, 21610), Refused),
    (Said(400, 21611), Later),
    (Said(400, 21612), Refused),
    (Said(400, 21614), Refused),
    (Said(400, 21617), Refused),
    (Said(400, 30001), Later),
    (Said(400, 30022), Later),
    (Said(429, 20429, after="7"), Later),
    (Said(429, after="7"), Later),
    (Said(500, 20500), Later),
    (Said(500), Later),
    (Said(502), Later),
    (Said(503, 20503, after="7"), Later),
    (Said(504), Later),
    ("close", Unclear),
]


@pytest.mark.parametrize(("answer", "outcome"), ANSWERS, ids=lambda one: str(one)[:44])
async def test_every_answer_has_its_outcome(
    twilio: Twilio, connect: Connect, answer: Said | str, outcome: type[Any]
) -> None:
    twilio.always = answer
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, outcome), delivery
    if isinstance(answer, Said) and answer.code:
        assert isinstance(delivery, Later | Refused)
        assert f"answered {answer.status}: code {answer.code}" in delivery.reason
    if isinstance(delivery, Later):
        assert delivery.after == (timedelta(seconds=7) if isinstance(answer, Said) and answer.after else None)


async def test_no_answer_is_unclear(twilio: Twilio, connect: Connect) -> None:
    twilio.always = "hang"
    delivery = await connect(timeout="1s").send(USUAL, key="k")
    assert delivery == Unclear(reason="sent, but no answer: nothing within 1s")


async def test_nobody_listening_is_certainly_not_delivered(free_port: Callable[[], int]) -> None:
    channel = channel_to(f"http://127.0.0.1:{free_port()}")
    assert isinstance(await channel.send(USUAL, key="k"), Later)
    assert "no connection" in (await channel.inspect() or "")
    await channel.aclose()


async def test_who_has_it_is_not_sent_it_again(twilio: Twilio, connect: Connect) -> None:
    twilio.answers = {TWO: Said(429, 20429, after="7"), THREE: Said(400, 21610)}
    channel = connect(to=[ONE, TWO, THREE])
    with capture_logs() as told:
        assert await channel.send(USUAL, key="k") == Later(
            reason="1 of 3 numbers: answered 429: code 20429 The 'To' number ***222 has a problem",
            after=timedelta(seconds=7),
        )
    assert [(one["event"], one["channel"], one["recipient"]) for one in told] == [
        ("recipient_refused", "lead", "***333")
    ]
    twilio.answers = {}
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert [to for to, _ in twilio.texts] == [ONE, TWO]
    assert isinstance(await channel.send(message(key="x"), key="x"), Delivered)
    assert len(twilio.texts) == 5


async def test_a_lost_answer_is_tried_again_and_the_others_are_not(twilio: Twilio, connect: Connect) -> None:
    twilio.answers = {TWO: "close", THREE: Said(503)}
    channel = connect(to=[ONE, TWO, THREE])
    delivery = await channel.send(USUAL, key="k")
    assert isinstance(delivery, Unclear)
    assert delivery.reason.startswith("1 of 3 numbers: sent, but no answer")
    twilio.answers = {}
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert twilio.texts[0][0] == ONE
    assert sorted(to for to, _ in twilio.texts) == [ONE, TWO, THREE]


async def test_refused_by_all_is_refused_and_may_be_sent_again(twilio: Twilio, connect: Connect) -> None:
    twilio.always = Said(400, 21211)
    channel = connect(to=[ONE, TWO])
    assert isinstance(await channel.send(USUAL, key="k"), Refused)
    twilio.always = None
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert len(twilio.texts) == 2


async def test_refused_by_some_is_delivered_and_told(twilio: Twilio, connect: Connect) -> None:
    twilio.answers = {TWO: Said(400, 21614)}
    with capture_logs() as told:
        assert isinstance(await connect(to=[ONE, TWO]).send(USUAL, key="k"), Delivered)
    [event] = told
    assert event["log_level"] == "warning"
    assert event["recipient"] == "***222"
    assert "21614" in event["reason"]
    assert TWO not in repr(told)


async def test_no_token_and_no_number_is_in_an_outcome_a_log_or_a_repr(
    twilio: Twilio, connect: Connect
) -> None:
    basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    channel = connect(to=[ONE, TWO])
    seen: list[Any] = [channel, vars(channel).get("_settings")]
    with capture_logs() as told:
        for said in (
            Said(400, 21211, f"{TOKEN} {basic} +1 (202) 555-0111 12025550111 {{to}} %2B12025550222"),
            Said(500, 0),
            "close",
        ):
            twilio.always = said
            seen += [await channel.send(USUAL, key="k"), await channel.inspect()]
    seen += [
        told,
        channel.Settings.model_validate(
            {"account": ACCOUNT, "token": SecretStr(TOKEN), "from": SENDER, "to": [ONE, TWO]}
        ),
    ]
    text = repr(seen)
    for secret in (TOKEN, basic, ONE, TWO, SENDER, ONE[1:], TWO[1:], "555-0111"):
        assert secret not in text


async def test_a_wrong_token_is_refused_and_seen_by_inspect(twilio: Twilio, connect: Connect) -> None:
    channel = connect(token=SecretStr("canary-wrong-token"))
    delivery = await channel.send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert delivery.reason.startswith("answered 401: code 20003 Authenticate")
    inspected = await channel.inspect() or ""
    assert inspected.startswith("answered 401")
    assert "canary-wrong-token" not in repr((delivery, inspected))


async def test_inspect_asks_for_the_account_and_sends_nothing(twilio: Twilio, connect: Connect) -> None:
    assert await connect().inspect() is None
    assert (twilio.asked_for_account, twilio.forms) == (1, [])


async def test_a_provider_without_that_page_is_fine(twilio: Twilio, connect: Connect) -> None:
    twilio.always = Said(404)
    assert await connect().inspect() is None


@pytest.mark.parametrize("kind", MessageKind)
async def test_nobody_is_woken_for_what_is_good_to_know(
    twilio: Twilio, connect: Connect, kind: MessageKind
) -> None:
    assert isinstance(await connect().send(message(kind=kind), key="k"), Delivered)
    assert bool(twilio.texts) == (kind not in NEVER_SENT)


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("limit", [70, 320, 1600])
async def test_awkward_text_fits_into_a_text(twilio: Twilio, connect: Connect, name: str, limit: int) -> None:
    assert isinstance(await connect(limit=limit).send(AWKWARD[name], key=AWKWARD[name].key), Delivered)
    [(_, text)] = twilio.texts
    assert 0 < len(text) <= limit
    assert "\n" not in text


def rendered(short: str) -> Rendered:
    return Rendered(headline="h", text="t", short=short, html="", colour="#000000")


def test_our_own_punctuation_costs_no_second_segment() -> None:
    text = body_of(USUAL, rendered("“error-rate” ≥ 1.5 % – it’s v1 → v2… 3 × `x`"), limit=320)
    assert text == "\"error-rate\" >= 1.5 % - it's v1 -> v2... 3 x 'x'"
    assert set(text) <= GSM
    assert body_of(USUAL, rendered("träffic 漢字 💥"), limit=320) == "träffic 漢字 💥"


def test_a_text_that_is_too_long_ends_where_that_is_seen() -> None:
    text = body_of(USUAL, rendered("word " * 100), limit=100)
    assert len(text) <= 100
    assert text.endswith("...")


@given(st.text(max_size=400), st.integers(70, 1600))
def test_any_text_fits(short: str, limit: int) -> None:
    text = body_of(USUAL, rendered(short), limit=limit)
    assert 0 < len(text) <= limit
    assert text.encode()


def test_numbers_are_shown_by_their_last_digits() -> None:
    assert hide_numbers("to +15550001234 and (555) 000-5678.") == "to ***234 and ***678."
    assert hide_numbers("answered 400: code 21211") == "answered 400: code 21211"


async def test_a_cancelled_send_keeps_who_has_it(
    twilio: Twilio, connect: Connect, eventually: Eventually
) -> None:
    twilio.answers = {TWO: "hang"}
    channel = connect(to=[ONE, TWO])
    task = asyncio.create_task(channel.send(USUAL, key="k"))
    await eventually(lambda: len(twilio.forms) == 2 and len(twilio.texts) == 1)
    # The fake has answered; the channel must have read it before it is stopped.
    await eventually(lambda: vars(channel)["_recipients"].left("k") == (TWO,))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    twilio.answers = {}
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert [to for to, _ in twilio.texts] == [ONE, TWO]


async def test_a_closed_channel_says_so(connect: Connect) -> None:
    channel = connect()
    await channel.aclose()
    await channel.aclose()
    assert await channel.send(USUAL, key="k") == Later(reason="the channel is being closed")


GOOD = {"account": ACCOUNT, "token": SecretStr(TOKEN), "from": SENDER, "to": [ONE]}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"account": ""}, "is not an account's SID"),
        ({"account": "a/b"}, "is not an account's SID"),
        ({"token": "open"}, "!env NAME"),
        ({"token": SecretStr(" ")}, "is empty"),
        ({"to": []}, "to"),
        ({"to": [15550001111]}, "without quotes"),
        ({"to": [ONE, "5550001111"]}, "the 2. is not a number"),
        ({"to": ["+0123456789"]}, "the 1. is not a number"),
        ({"to": ["+1555000111122223333"]}, "the 1. is not a number"),
        ({"to": [ONE] * 21}, "to"),
        ({"messaging_service": "MG" + "a" * 32}, "either `from` or"),
        ({"from": None}, "either `from` or"),
        ({"from": "x" * 12}, "`from` is not a number"),
        ({"from": None, "messaging_service": "MG a"}, "is not a SID"),
        ({"url": "api.twilio.com"}, "url"),
        ({"url": "https://api.twilio.com?x=y"}, "is not an address"),
        ({"limit": 1601}, "limit"),
        ({"limit": 69}, "limit"),
        ({"timeout": "0s"}, "timeout"),
        ({"tokn": "x"}, "tokn"),
    ],
    ids=str,
)
def test_mistakes_in_settings_are_named_and_never_shown_back(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        SmsChannel.Settings.model_validate(
            {name: value for name, value in (GOOD | settings).items() if value is not None}
        )
    assert ONE not in str(caught.value)
