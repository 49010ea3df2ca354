from __future__ import annotations

import asyncio
import json
import math
import random
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.messages import AWKWARD, USUAL, message
from tests.channels.receiver import (
    SECRET,
    Handler,
    Receiver,
    close,
    garbage,
    half_an_answer,
    hang,
    receiving,
    reset,
)
from tests.eventually import Eventually
from watchdog import __version__
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Chart, Delivered, Later, Refused, Unclear
from watchdog.channels.webhook import WebhookChannel, encode, sign, verify
from watchdog.core.check import CheckId
from watchdog.core.errors import ConfigError
from watchdog.core.message import Evidence
from watchdog.core.rule import Direction, Level, Unit

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class Noon:
    """A clock that stands at noon."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a channel does not sleep")


def channel_to(url: str, **settings: Any) -> WebhookChannel:
    written = {"url": url, "secret": SecretStr(SECRET), "timeout": "2s"} | settings
    return WebhookChannel(WebhookChannel.Settings.model_validate(written), name="hook", clock=Noon())


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as running:
        yield running


@pytest.fixture
async def connect(receiver: Receiver) -> AsyncIterator[Callable[..., WebhookChannel]]:
    made: list[WebhookChannel] = []

    def make(**settings: Any) -> WebhookChannel:
        made.append(channel_to(receiver.url, **settings))
        return made[-1]

    yield make
    for channel in made:
        await channel.aclose()


Connect = Callable[..., WebhookChannel]


async def test_the_body_is_the_documented_contract(receiver: Receiver, connect: Connect) -> None:
    assert await connect().send(USUAL, key="key-1") == Delivered()
    [request] = receiver.received
    assert (request.method, request.path) == ("POST", "/hook")
    body = json.loads(request.body)
    text = body.pop("text")
    assert text.startswith("[critical] trips")
    assert body == {
        "version": 1,
        "key": "key-1",
        "kind": "incident_opened",
        "severity": "critical",
        "headline": USUAL.headline,
        "created_at": "2026-01-01T12:30:05.250000Z",
        "service": "trips",
        "environment": "production",
        "service_version": "v1.4.2",
        "labels": {"team": "booking"},
        "incident": "i-1",
        "rollback": "r-1",
        "facts": [
            {"name": "error-rate", "value": "21%, held for 2 samples"},
            {"name": "guards", "value": "all allow"},
        ],
        "next_step": USUAL.next_step,
        "needs_human": False,
        "runbook": USUAL.runbook,
        "audit_head": USUAL.audit_head,
        "conversation": "i-1",
        "evidence": None,
        "undo": "",
        "explain": "",
        "dashboard": None,
    }


async def test_numbers_commands_and_the_dashboard_are_in_the_body(
    receiver: Receiver, connect: Connect
) -> None:
    evidence = Evidence(
        check=CheckId(service="trips", rule="error-rate", version="v1.4.2"),
        unit=Unit.RATIO,
        direction=Direction.ABOVE,
        level=Level.ROLLBACK,
        since=NOW,
        value=0.21,
        limit=math.nan,
        rollback=0.015,
    )
    telling = message(
        incident=None,
        about="storm",
        evidence=evidence,
        undo="watchdog rollback trips --to v1.4.2",
        explain="watchdog explain r-1",
        dashboard="https://dash.example.com/trips",
    )
    assert await connect().send(telling, key="k", chart=Chart(png=b"png", alt="a line")) == Delivered()
    body = json.loads(receiver.received[0].body)
    assert body["evidence"] == {
        "check": "trips/error-rate@v1.4.2",
        "unit": "ratio",
        "direction": "above",
        "level": "rollback",
        "since": "2026-01-01T12:00:00Z",
        "value": 0.21,
        "limit": None,
        "warning": None,
        "critical": None,
        "rollback": 0.015,
    }
    assert (body["conversation"], body["dashboard"]) == ("storm", "https://dash.example.com/trips")
    assert (body["undo"], body["explain"]) == ("watchdog rollback trips --to v1.4.2", "watchdog explain r-1")
    assert b"png" not in receiver.received[0].body


async def test_the_headers_let_a_receiver_trust_and_deduplicate(receiver: Receiver, connect: Connect) -> None:
    channel = connect(headers={"X-Team": "booking", "Authorization": SecretStr("Bearer canary-1d2e-header")})
    await channel.send(USUAL, key="key-1")
    [request] = receiver.received
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"rollback-watchdog/{__version__}"
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["x-team"] == "booking"
    assert request.headers["authorization"] == "Bearer canary-1d2e-header"
    timestamp = request.headers["x-watchdog-timestamp"]
    assert timestamp == str(int(NOW.timestamp()))
    signature = request.headers["x-watchdog-signature"]
    assert verify(SECRET, timestamp, request.body, signature, NOW)
    assert not verify(SECRET, timestamp, request.body + b" ", signature, NOW)


async def test_without_a_secret_nothing_is_signed(receiver: Receiver, connect: Connect) -> None:
    assert await connect(secret=None).send(USUAL, key="k") == Delivered()
    assert "x-watchdog-signature" not in receiver.received[0].headers


@pytest.mark.parametrize("key", ["k" * 256, "ключ", "two\r\nX-Evil: 1", "with blank", ""], ids=ascii)
async def test_a_key_that_no_header_can_carry_is_sent_as_its_hash(
    receiver: Receiver, connect: Connect, key: str
) -> None:
    assert await connect().send(USUAL, key=key) == Delivered()
    sent = receiver.received[0].headers["idempotency-key"]
    assert sent.startswith("sha256:")
    assert len(sent) == 7 + 64
    assert "x-evil" not in receiver.received[0].headers
    assert json.loads(receiver.received[0].body)["key"] == key


STATUSES = {
    **dict.fromkeys([200, 201, 202, 203, 204, 206, 226, 299], Delivered),
    **dict.fromkeys([300, 301, 302, 303, 304, 307, 308], Refused),
    **dict.fromkeys([400, 401, 402, 403, 404, 405, 406, 407], Refused),
    408: Later,
    **dict.fromkeys([409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424], Refused),
    425: Later,
    **dict.fromkeys([426, 428], Refused),
    429: Later,
    **dict.fromkeys([431, 451, 499], Refused),
    **dict.fromkeys([500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 599], Later),
}


async def test_every_status_has_its_outcome(receiver: Receiver, connect: Connect) -> None:
    channel = connect()
    receiver.headers = {"Location": "/elsewhere"}
    seen = {}
    for status in STATUSES:
        receiver.status = status
        seen[status] = type(await channel.send(USUAL, key="k"))
    assert seen == STATUSES
    assert {request.path for request in receiver.received} == {"/hook"}


async def test_a_redirect_is_not_followed_and_not_repeated_in_the_reason(
    receiver: Receiver, connect: Connect
) -> None:
    receiver.status = 307
    receiver.headers = {"Location": f"{receiver.url}?token=abc"}
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert "redirects are not followed" in delivery.reason
    assert "token" not in delivery.reason
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_the_receivers_wish_for_time_is_passed_on(
    receiver: Receiver, connect: Connect, status: int
) -> None:
    receiver.status, receiver.headers = status, {"Retry-After": "17"}
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Later)
    assert delivery.after == timedelta(seconds=17)


async def test_nobody_listening_is_certainly_not_delivered(free_port: Callable[[], int]) -> None:
    channel = channel_to(f"http://127.0.0.1:{free_port()}/hook?token=canary-q")
    delivery = await channel.send(USUAL, key="k")
    assert isinstance(delivery, Later)
    assert delivery.reason == "no connection: ConnectionRefusedError: Connection refused"
    assert await channel.inspect() == delivery.reason
    await channel.aclose()


async def test_a_name_that_does_not_resolve_is_certainly_not_delivered() -> None:
    channel = channel_to("http://no-such-host.invalid/hook")
    assert isinstance(await channel.send(USUAL, key="k"), Later)
    assert "no connection" in (await channel.inspect() or "")
    await channel.aclose()


async def test_a_connection_that_never_comes_about_is_certainly_not_delivered() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        channel = channel_to(f"http://127.0.0.1:{full.getsockname()[1]}/", timeout="200ms")
        assert await channel.send(USUAL, key="k") == Later(reason="no connection: nothing within 200ms")
        assert await channel.inspect() == "no connection: nothing within 200ms"
        await channel.aclose()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [(close, None), (reset, None), (None, close), (None, reset), (None, garbage), (garbage, None)],
    ids=[
        "closed before reading",
        "reset before reading",
        "closed after reading",
        "reset after reading",
        "garbage after reading",
        "garbage before reading",
    ],
)
async def test_a_lost_answer_is_unclear(
    receiver: Receiver, connect: Connect, before: Handler | None, after: Handler | None
) -> None:
    receiver.misbehave, receiver.after_reading = before, after
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Unclear)
    assert delivery.reason.startswith("sent, but no answer")


async def test_no_answer_in_time_is_unclear_and_the_timeout_is_total(
    receiver: Receiver, connect: Connect
) -> None:
    receiver.after_reading = hang
    loop = asyncio.get_running_loop()
    began = loop.time()
    delivery = await connect(timeout="300ms").send(USUAL, key="k")
    assert delivery == Unclear(reason="sent, but no answer: nothing within 300ms")
    assert loop.time() - began < 1.5


async def test_an_answer_that_drips_does_not_stretch_the_timeout(
    receiver: Receiver, connect: Connect
) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(1000):
            writer.write(f"X-{number}: 1\r\n".encode())
            await writer.drain()
            await asyncio.sleep(0.05)

    receiver.after_reading = drip
    began = asyncio.get_running_loop().time()
    assert isinstance(await connect(timeout="300ms").send(USUAL, key="k"), Unclear)
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_status_whose_text_never_comes_still_counts(receiver: Receiver, connect: Connect) -> None:
    receiver.after_reading = half_an_answer
    assert await connect(timeout="300ms").send(USUAL, key="k") == Later(reason="answered 500")


async def test_an_errors_text_is_shown_short_clean_and_bounded(receiver: Receiver, connect: Connect) -> None:
    receiver.status = 400
    receiver.body = b"bad\r\n\x1b[31mfield\x00 " + "é".encode() + b"\xff" + b"x" * 2_000_000
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert delivery.reason.startswith("answered 400: bad  \\x1b[31mfield\\x00 é\N{REPLACEMENT CHARACTER}xxx")
    assert len(delivery.reason) <= len("answered 400: ") + 200


async def test_no_secret_comes_back_in_a_reason_a_log_or_a_repr(receiver: Receiver) -> None:
    secrets = {
        "secret": SECRET,
        "user": "canary-user-1",
        "password": "canary-pass-2",
        "query": "canary-query-3",
        "header": "canary-header-4",
    }
    url = (
        f"http://{secrets['user']}:{secrets['password']}@127.0.0.1:{receiver.port}/hook?t={secrets['query']}"
    )
    channel = channel_to(url, headers={"X-Token": SecretStr(secrets["header"])})
    receiver.status = 500
    receiver.body = " ".join(secrets.values()).encode()
    with capture_logs() as told:
        seen = [repr(await channel.send(USUAL, key="k"))]
        assert "answered 500: ***" in seen[0]
        receiver.after_reading = close
        seen.append(repr(await channel.send(USUAL, key="k")))
        seen.append(repr(await channel.inspect()))
    await channel.aclose()
    seen += [repr(channel), str(channel), repr(channel.Settings.model_validate({"url": url})), repr(told)]
    request = receiver.received[0]
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["x-token"] == secrets["header"]
    assert SECRET not in repr(request)
    for name, value in secrets.items():
        assert value not in repr(seen), name


async def test_a_cancelled_send_hangs_up_and_the_channel_goes_on(
    receiver: Receiver, connect: Connect, eventually: Eventually
) -> None:
    channel = connect(timeout="10s")
    gone = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang(reader, writer)
        gone.set()

    receiver.after_reading = wait_for_the_end
    task = asyncio.create_task(channel.send(USUAL, key="k"))
    await eventually(lambda: len(receiver.received) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(gone.is_set)
    receiver.after_reading = None
    assert await channel.send(USUAL, key="k") == Delivered()


async def test_each_message_has_a_connection_of_its_own(receiver: Receiver, connect: Connect) -> None:
    channel = connect()
    for _ in range(3):
        await channel.send(USUAL, key="k")
    assert receiver.connections == 3


async def test_inspect_connects_and_sends_nothing(receiver: Receiver, connect: Connect) -> None:
    assert await connect().inspect() is None
    assert receiver.received == []


async def test_a_closed_channel_says_so_and_closing_twice_is_fine(
    receiver: Receiver, connect: Connect
) -> None:
    channel = connect()
    await channel.send(USUAL, key="k")
    await channel.aclose()
    await channel.aclose()
    assert await channel.send(USUAL, key="k") == Later(reason="the channel is being closed")


@pytest.mark.parametrize("name", AWKWARD)
async def test_awkward_text_arrives_whole(receiver: Receiver, connect: Connect, name: str) -> None:
    awkward = AWKWARD[name]
    assert await connect().send(awkward, key=awkward.key) == Delivered()
    body = json.loads(receiver.received[0].body)
    wanted = awkward.headline.encode(errors="replace").decode()
    assert body["headline"] == wanted
    assert len(body["facts"]) == len(awkward.facts)


@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_any_text_can_be_encoded(headline: str, key: str) -> None:
    body = json.loads(encode(AWKWARD["empty"], key=key))
    assert body["version"] == 1
    assert json.loads(encode(AWKWARD["half an emoji"], key=headline))["headline"] == "cut ? here"


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody trusts, and its key."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = [
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True, timeout=15)
    return certificate, key


async def test_https_is_trusted_through_the_ca_file_only(self_signed: tuple[Path, Path]) -> None:
    certificate, key = self_signed
    receiver = Receiver()
    async with receiving(receiver, certificate=certificate, key=key):
        trusting = channel_to(receiver.url.replace("http:", "https:"), ca_file=str(certificate))
        doubting = channel_to(receiver.url.replace("http:", "https:"))
        try:
            assert await trusting.inspect() is None
            assert await trusting.send(USUAL, key="k") == Delivered()
            delivery = await doubting.send(USUAL, key="k")
            assert isinstance(delivery, Later)
            assert "certificate" in delivery.reason.lower()
            assert "ertificate" in (await doubting.inspect() or "")
            assert len(receiver.received) == 1
        finally:
            await trusting.aclose()
            await doubting.aclose()


def test_a_ca_file_that_cannot_be_used_is_a_users_mistake(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=f"channel hook: ca_file .*{path.name} cannot be used"):
            channel_to("https://example.com", ca_file=str(path))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://[::1"}, "is not an address"),
        ({"url": "http://host:99999/"}, "is not an address"),
        ({"secret": "written here"}, "!env NAME"),
        ({"secret": SecretStr("  ")}, "is empty"),
        ({"headers": {"bad name": "x"}}, "is not a header's name"),
        ({"headers": {"X-A": "two\r\nlines"}}, "control characters"),
        ({"headers": {"X-A": SecretStr("two\nlines")}}, "control characters"),
        ({"headers": {"content-TYPE": "text/plain"}}, "set by the watchdog itself"),
        ({"headers": {"X-Watchdog-Signature": "v1=0"}}, "set by the watchdog itself"),
        ({"heders": {}}, "heders"),
        ({"timeout": "0s"}, "timeout"),
    ],
    ids=str,
)
def test_mistakes_in_settings_are_named_and_never_shown_back(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        WebhookChannel.Settings.model_validate({"url": "https://example.com/canary-path"} | settings)
    assert "canary-path" not in str(caught.value)


def test_a_signature_is_the_documented_hmac() -> None:
    # python3 -c "import hmac; print(hmac.new(b'key', b'1767268800.{}', 'sha256').hexdigest())"
    assert sign("key", "1767268800", b"{}") == (
        "v1=b2f88ba35b688b259658d6309df35f77dcc10bb766c45babee99e5bd6416a982"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "other"},
        {"timestamp": "1767268801"},
        {"body": b"{ }"},
        {"signature": "v1=" + "0" * 64},
        {"signature": ""},
        {"signature": "v1=é\ud800"},
        {"signature": "v2"},
        {"timestamp": "soon"},
        {"timestamp": "-1"},
        {"timestamp": "٣"},
        {"timestamp": "1" * 5000},
        {"now": NOW + timedelta(minutes=5, seconds=1)},
        {"now": NOW - timedelta(minutes=5, seconds=1)},
    ],
    ids=ascii,
)
def test_a_forged_changed_or_old_message_does_not_verify(change: dict[str, Any]) -> None:
    timestamp = str(int(NOW.timestamp()))
    signature = sign("key", timestamp, b"{}")
    good: dict[str, Any] = {
        "secret": "key",
        "timestamp": timestamp,
        "body": b"{}",
        "signature": signature,
        "now": NOW,
    }
    assert verify(**good)
    assert verify(**good | {"now": NOW + timedelta(minutes=5)})
    assert verify(**good | {"signature": f"v1={'0' * 64}, {signature}"})
    assert not verify(**good | change)


@given(st.binary(), st.text(st.characters(codec="ascii"), max_size=20), st.text(max_size=80))
def test_verify_never_raises_on_what_came_over_the_wire(body: bytes, timestamp: str, signature: str) -> None:
    assert not verify("key", timestamp, body, signature, NOW)


async def test_the_real_clock_signs_with_the_time_of_now(receiver: Receiver) -> None:
    settings = WebhookChannel.Settings.model_validate({"url": receiver.url, "secret": SecretStr(SECRET)})
    channel = WebhookChannel(settings, name="hook", clock=SystemClock())
    await channel.send(USUAL, key="k")
    await channel.aclose()
    [request] = receiver.received
    stamp, signature = request.headers["x-watchdog-timestamp"], request.headers["x-watchdog-signature"]
    assert verify(SECRET, stamp, request.body, signature, datetime.now(UTC), timedelta(seconds=30))


async def test_many_at_once_do_not_disturb_each_other(receiver: Receiver, connect: Connect) -> None:
    channel = connect()
    keys = [f"k{number}" for number in range(50)]
    random.Random(1).shuffle(keys)
    assert await asyncio.gather(*(channel.send(USUAL, key=key) for key in keys)) == [Delivered()] * 50
    assert sorted(json.loads(request.body)["key"] for request in receiver.received) == sorted(keys)
