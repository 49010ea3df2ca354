from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from tests.channels.mail_server import PASSWORD, USER, MailServer, mail_serving
from tests.channels.messages import AWKWARD, USUAL, message
from tests.contracts.leaks import nothing_left
from tests.eventually import Eventually
from tests.servers.certificates import Certificate
from watchdog.aio.clock import SystemClock
from watchdog.channels.email import EmailChannel
from watchdog.channels.email_letter import message_id, root_id
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.rendering import Rendering
from watchdog.core.message import Thread

RENDERING = Rendering()
CHART = Chart(png=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, alt="error-rate from 0.1% to 21%")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def server(certificate: Certificate) -> AsyncIterator[MailServer]:
    async with mail_serving(MailServer(tls=certificate.context)) as running:
        yield running


Connect = Callable[..., EmailChannel]


def channel_to(server: MailServer, certificate: Certificate | None, **settings: Any) -> EmailChannel:
    written = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": USER,
        "password": SecretStr(PASSWORD),
        "from": "Watchdog <watchdog@example.com>",
        "to": ["ops@example.com"],
        "timeout": "10s",
        "ca_file": certificate.file if certificate else None,
    } | settings
    known = EmailChannel.Settings.model_validate({k: v for k, v in written.items() if v is not None})
    return EmailChannel(known, name="mail", clock=SystemClock(), rendering=RENDERING)


@pytest.fixture
def connect(server: MailServer, certificate: Certificate) -> Connect:
    return lambda **settings: channel_to(server, certificate, **settings)


async def test_a_mail_arrives_encrypted_and_signed_in(server: MailServer, connect: Connect) -> None:
    async with nothing_left():
        delivery = await connect().send(USUAL, key="k")
    assert delivery == Delivered(reference=message_id("k", "example.com"))
    [mail] = server.mails
    assert (mail.sender, mail.to) == ("watchdog@example.com", ["ops@example.com"])
    assert server.signed_in == ["PLAIN"]
    assert server.steps.index("STARTTLS") < server.steps.index("AUTH") < server.steps.index("MAIL")
    parsed = mail.parsed
    assert parsed["Subject"] == f"[critical] {USUAL.headline}"
    assert parsed["From"] == "Watchdog <watchdog@example.com>"
    assert parsed["To"] == "ops@example.com"
    assert parsed["Date"] == "Thu, 01 Jan 2026 12:30:05 +0000"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["X-Auto-Response-Suppress"] == "All"
    assert parsed["List-Id"] == "<rollback-watchdog.example.com>"
    assert (parsed["Importance"], parsed["X-Priority"]) == ("high", "1")
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    assert text is not None
    assert html is not None
    assert USUAL.headline in text.get_content()
    assert "error-rate" in html.get_content()


@pytest.mark.parametrize("left_out", [["PLAIN"], ["LOGIN"]], ids=str)
async def test_any_usual_way_to_sign_in_will_do(
    server: MailServer, connect: Connect, left_out: list[str]
) -> None:
    server.mechanisms_left_out = tuple(left_out)
    assert isinstance(await connect().send(USUAL, key="k"), Delivered)
    assert server.signed_in == ["LOGIN" if left_out == ["PLAIN"] else "PLAIN"]


async def test_a_server_without_a_known_way_to_sign_in_is_refused(
    server: MailServer, connect: Connect
) -> None:
    server.mechanisms_left_out = ("PLAIN", "LOGIN")
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert "no way to sign in" in delivery.reason
    assert server.mails == []


async def test_encryption_from_the_start(certificate: Certificate) -> None:
    async with mail_serving(MailServer(tls=certificate.context, implicit=True)) as server:
        channel = channel_to(server, certificate, tls="implicit")
        assert isinstance(await channel.send(USUAL, key="k"), Delivered)
        assert await channel.inspect() is None
    assert len(server.mails) == 1


async def test_without_encryption_for_a_relay_on_this_host() -> None:
    async with mail_serving(MailServer()) as server:
        channel = channel_to(server, None, tls="none", username=None, password=None)
        assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert len(server.mails) == 1


async def test_a_server_without_starttls_gets_no_mail_and_no_password() -> None:
    async with mail_serving(MailServer()) as server:
        delivery = await channel_to(server, None).send(USUAL, key="k")
    assert delivery == Refused(reason="STARTTLS: the server does not offer STARTTLS")
    assert server.steps == ["greeting", "EHLO"]


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_certificate_nobody_trusts_is_refused_at_once(
    certificate: Certificate, implicit: bool
) -> None:
    async with mail_serving(MailServer(tls=certificate.context, implicit=implicit)) as server:
        channel = channel_to(server, None, tls="implicit" if implicit else "starttls")
        delivery = await channel.send(USUAL, key="k")
        assert isinstance(delivery, Refused)
        assert "the certificate is not trusted" in delivery.reason
        assert await channel.inspect() == delivery.reason
    assert "AUTH" not in server.steps


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = Certificate(tmp_path, names="DNS:other.example.com")
    async with mail_serving(MailServer(tls=other.context)) as server:
        delivery = await channel_to(server, other).send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert "certificate" in delivery.reason


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    old = Certificate(tmp_path, ends=datetime.now(UTC) - timedelta(hours=1))
    async with mail_serving(MailServer(tls=old.context)) as server:
        delivery = await channel_to(server, old).send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert "expired" in delivery.reason


async def test_encryption_from_the_start_where_there_is_none_says_what_to_look_at(
    server: MailServer, connect: Connect
) -> None:
    delivery = await connect(tls="implicit").send(USUAL, key="k")
    assert isinstance(delivery, Refused)
    assert "see `tls` and `port`" in delivery.reason


ANSWERS = [
    ("greeting", "421 4.3.2 not now", Later),
    ("greeting", "554 5.7.1 go away", Refused),
    ("greeting", "HTTP/1.1 400 Bad Request", Later),
    ("EHLO", "421 4.3.2 closing", Later),
    ("EHLO", "451 4.3.0 try later", Later),
    ("EHLO", "550 5.7.1 who are you", Refused),
    ("STARTTLS", "454 4.7.0 TLS is not available for now", Later),
    ("STARTTLS", "501 5.5.4 no", Refused),
    ("STARTTLS", "554 5.7.0 no", Refused),
    ("EHLO again", "450 4.3.0 try later", Later),
    ("EHLO again", "550 5.7.1 no", Refused),
    ("AUTH", "421 4.7.0 too many connections", Later),
    ("AUTH", "432 4.7.12 a password transition is needed", Later),
    ("AUTH", "454 4.7.0 temporary failure", Later),
    ("AUTH", "500 5.5.6 too long", Refused),
    ("AUTH", "530 5.7.0 STARTTLS first", Refused),
    ("AUTH", "534 5.7.9 an app password is needed", Refused),
    ("AUTH", "535 5.7.8 wrong password", Refused),
    ("AUTH", "538 5.7.11 encryption needed", Refused),
    ("MAIL", "421 4.3.2 closing", Later),
    ("MAIL", "451 4.3.0 error in processing", Later),
    ("MAIL", "452 4.3.1 no room", Later),
    ("MAIL", "455 4.5.4 parameters", Later),
    ("MAIL", "530 5.7.0 sign in first", Refused),
    ("MAIL", "550 5.7.1 not your address", Refused),
    ("MAIL", "552 5.3.4 too big", Refused),
    ("MAIL", "553 5.1.8 no such sender", Refused),
    ("MAIL", "555 5.5.4 parameters", Refused),
    ("RCPT", "421 4.3.2 closing", Later),
    ("RCPT", "450 4.2.0 greylisted", Later),
    ("RCPT", "451 4.3.0 later", Later),
    ("RCPT", "452 4.5.3 too many", Later),
    ("RCPT", "550 5.1.1 no such person", Refused),
    ("RCPT", "551 5.1.6 moved", Refused),
    ("RCPT", "552 5.2.2 full", Refused),
    ("RCPT", "553 5.1.3 odd address", Refused),
    ("RCPT", "554 5.7.1 relaying denied", Refused),
    ("DATA", "421 4.3.2 closing", Later),
    ("DATA", "451 4.3.0 later", Later),
    ("DATA", "503 5.5.1 bad sequence", Refused),
    ("DATA", "554 5.5.1 no valid recipients", Refused),
    ("text", "421 4.3.2 closing", Later),
    ("text", "450 4.7.1 later", Later),
    ("text", "451 4.3.0 later", Later),
    ("text", "452 4.3.1 no room", Later),
    ("text", "550 5.7.1 looks like spam", Refused),
    ("text", "552 5.3.4 too big", Refused),
    ("text", "554 5.6.0 not taken", Refused),
    ("text", "what?", Unclear),
]


@pytest.mark.parametrize(("step", "answer", "outcome"), ANSWERS, ids=lambda one: str(one)[:14])
async def test_every_answer_at_every_step_has_its_outcome(
    server: MailServer, connect: Connect, step: str, answer: str, outcome: type[Any]
) -> None:
    server.wrong[step] = answer
    delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, outcome), delivery
    assert not isinstance(delivery, Delivered)
    if answer[0].isdigit():
        assert f"answered {answer}" in delivery.reason
    assert server.mails == []


STEPS = ["greeting", "EHLO", "STARTTLS", "EHLO again", "AUTH", "MAIL", "RCPT", "DATA", "text"]
MAYBE_SENT = {"DATA", "text"}


@pytest.mark.parametrize("deed", ["close", "reset"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_connection_lost_is_unclear_only_once_the_text_may_be_out(
    server: MailServer, connect: Connect, step: str, deed: str
) -> None:
    server.wrong[step] = deed
    async with nothing_left():
        delivery = await connect().send(USUAL, key="k")
    assert isinstance(delivery, Unclear if step in MAYBE_SENT else Later), delivery
    assert server.mails == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_server_that_hangs_costs_the_timeout_and_nothing_more(
    server: MailServer, connect: Connect, step: str
) -> None:
    server.wrong[step] = "hang"
    async with nothing_left():
        delivery = await connect(timeout="400ms").send(USUAL, key="k")
    # A machine may be so slow that an earlier step took all the time; then it was certainly not sent either.
    assert isinstance(delivery, Unclear | Later if step in MAYBE_SENT else Later), delivery
    assert "nothing within 400ms" in delivery.reason


@pytest.mark.parametrize("deed", ["go and close", "go and reset", "go and hang"])
async def test_a_handshake_that_is_broken_off_is_tried_again(
    server: MailServer, connect: Connect, deed: str
) -> None:
    server.wrong["STARTTLS"] = deed
    async with nothing_left():
        delivery = await connect(timeout="2s").send(USUAL, key="k")
    assert isinstance(delivery, Later), delivery
    assert delivery.reason.startswith("STARTTLS: ")


@pytest.mark.parametrize("deed", ["hang", "close", "reset", "500 no"])
async def test_what_becomes_of_the_good_bye_does_not_matter(
    server: MailServer, connect: Connect, deed: str
) -> None:
    server.wrong["QUIT"] = deed
    async with nothing_left():
        assert isinstance(await connect(timeout="5s").send(USUAL, key="k"), Delivered)
    assert len(server.mails) == 1


async def test_a_timeout_that_ends_in_the_good_bye_takes_nothing_back(
    server: MailServer, connect: Connect
) -> None:
    server.wrong["QUIT"] = "hang"
    channel = connect(timeout="700ms")
    delivery: Delivery = Later(reason="not tried")
    for _ in range(30):  # a busy machine may not come so far in that time
        delivery = await channel.send(USUAL, key="k")
        if "QUIT" in server.steps:
            break
    assert isinstance(delivery, Delivered)


async def test_nobody_listening_is_certainly_not_delivered(
    server: MailServer, connect: Connect, free_port: Callable[[], int]
) -> None:
    channel = connect(port=free_port())
    assert await channel.send(USUAL, key="k") == Later(
        reason="connecting: ConnectionRefusedError: Connection refused"
    )
    assert await channel.inspect() == "connecting: ConnectionRefusedError: Connection refused"


async def test_a_host_that_does_not_exist_is_certainly_not_delivered(connect: Connect) -> None:
    delivery = await connect(host="no-such-host.invalid").send(USUAL, key="k")
    assert isinstance(delivery, Later)
    assert delivery.reason.startswith("connecting: gaierror")


async def test_a_wrong_password_is_refused_and_never_repeated(server: MailServer, connect: Connect) -> None:
    server.password = "another"
    channel = connect()
    with capture_logs() as told:
        delivery = await channel.send(USUAL, key="k")
        seen = [delivery, await channel.inspect(), channel, vars(channel), told]
    assert delivery == Refused(reason="signing in: answered 535 5.7.8 wrong: ***")
    assert PASSWORD not in repr(seen)


async def test_an_answer_that_repeats_what_was_sent_to_sign_in_is_masked(
    server: MailServer, connect: Connect
) -> None:
    both = "AHdhdGNoZG9nAGNhbmFyeS03YjFjLW1haWwtcGFzc3dvcmQ="
    server.wrong["AUTH"] = f"535 cannot decode {both} or {PASSWORD} smtp://u:{PASSWORD}@host"
    delivery = await connect().send(USUAL, key="k")
    assert delivery == Refused(reason="signing in: answered 535 cannot decode *** or *** smtp://***@host")


async def test_who_was_refused_for_good_is_told_and_the_others_have_it(
    server: MailServer, connect: Connect
) -> None:
    server.wrong["RCPT gone@example.com"] = "550 5.1.1 no such person"
    channel = connect(to=["a@example.com", "gone@example.com", "b@example.com"])
    with capture_logs() as told:
        assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert [mail.to for mail in server.mails] == [["a@example.com", "b@example.com"]]
    [event] = told
    assert (event["event"], event["log_level"]) == ("recipient_refused", "warning")
    assert (event["channel"], event["recipient"]) == ("mail", "gone@example.com")
    assert event["reason"] == "answered 550 5.1.1 no such person"
    assert server.mails[0].parsed["To"] == "a@example.com, gone@example.com, b@example.com"


async def test_who_is_to_be_tried_again_is_alone_in_that(server: MailServer, connect: Connect) -> None:
    server.wrong["RCPT slow@example.com"] = "450 4.2.0 greylisted"
    server.wrong["RCPT gone@example.com"] = "550 5.1.1 no such person"
    channel = connect(to=["a@example.com", "slow@example.com", "gone@example.com"])
    for tried in (3, 1):
        assert await channel.send(USUAL, key="k") == Later(
            reason=f"1 of {tried} recipients not yet: answered 450 4.2.0 greylisted"
        )
    assert isinstance(await channel.send(message(key="other"), key="other"), Later)
    server.wrong.clear()
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert [mail.to for mail in server.mails] == [
        ["a@example.com"],
        ["a@example.com"],  # the other message
        ["slow@example.com"],
    ]
    first, _, second = server.mails
    assert first.parsed["Message-ID"] == second.parsed["Message-ID"]
    assert isinstance(
        await channel.send(USUAL, key="k"), Delivered
    )  # who sends it once more, means everybody
    assert len(server.mails[-1].to) == 3


async def test_a_server_that_closes_between_recipients_has_sent_nothing(
    server: MailServer, connect: Connect
) -> None:
    server.wrong["RCPT b@example.com"] = "421 4.3.2 closing"
    channel = connect(to=["a@example.com", "b@example.com", "c@example.com"])
    delivery = await channel.send(USUAL, key="k")
    assert delivery == Later(reason="the recipients: answered 421 4.3.2 closing")
    server.wrong.clear()
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    assert [len(mail.to) for mail in server.mails] == [3]


async def test_mails_of_one_incident_hold_together_without_any_memory(
    server: MailServer, connect: Connect
) -> None:
    await connect().send(USUAL, key="k1")
    await connect().send(message(key="later"), key="k2")
    await connect().send(message(incident="i-2"), key="k3")
    one, two, other = (mail.parsed for mail in server.mails)
    root = root_id("i-1", "example.com")
    assert one["References"] == two["References"] == one["In-Reply-To"] == two["In-Reply-To"] == root
    assert other["References"] == root_id("i-2", "example.com") != root
    assert len({mail["Message-ID"] for mail in (one, two, other)} | {root}) == 4


async def test_a_mail_answers_the_first_of_its_conversation_where_that_is_known(
    server: MailServer, connect: Connect
) -> None:
    channel = connect()
    first = await channel.send(USUAL, key="k1")
    assert isinstance(first, Delivered)
    for reference in (first.reference, "<odd\r\nBcc: evil@example.com>", "1234.567"):
        thread = Thread(reference=reference, message=USUAL)
        await channel.send(message(key="later"), key="k2", thread=thread)
    known, odd, foreign = (mail.parsed for mail in server.mails[1:])
    root = root_id("i-1", "example.com")
    assert known["In-Reply-To"] == first.reference
    assert known["References"] == f"{root} {first.reference}"
    assert odd["References"] == foreign["References"] == root
    assert "Bcc" not in odd


async def test_many_mails_at_once_do_not_disturb_each_other(server: MailServer, connect: Connect) -> None:
    channel = connect(timeout="30s")
    keys = [f"k{number}" for number in range(12)]
    async with nothing_left():
        deliveries = await asyncio.gather(*(channel.send(USUAL, key=key, chart=CHART) for key in keys))
    assert {delivery.reference for delivery in deliveries if isinstance(delivery, Delivered)} == {
        mail.parsed["Message-ID"] for mail in server.mails
    }
    assert len(server.mails) == 12


async def test_a_mail_sent_again_is_the_same_to_the_last_byte(server: MailServer, connect: Connect) -> None:
    for _ in range(2):
        await connect().send(USUAL, key="k", chart=CHART)
    one, two = server.mails
    assert one.raw == two.raw


async def test_the_chart_is_shown_inline_and_told_in_words(server: MailServer, connect: Connect) -> None:
    assert isinstance(await connect().send(USUAL, key="k", chart=CHART), Delivered)
    parsed = server.mails[0].parsed
    assert parsed.get_content_type() == "multipart/alternative"
    related = list(parsed.iter_parts())[1]
    assert related.get_content_type() == "multipart/related"
    html, picture = related.iter_parts()
    assert html.get_content_type() == "text/html"
    assert picture["Content-ID"] == "<chart>"
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content() == CHART.png
    text = parsed.get_body(("plain",))
    assert text is not None
    assert text.get_content().rstrip().endswith(f"Chart: {CHART.alt}")


@pytest.mark.parametrize("name", AWKWARD)
async def test_awkward_text_cannot_break_out_of_its_place(
    server: MailServer, connect: Connect, name: str
) -> None:
    odd = AWKWARD[name]
    chart = Chart(png=b"png", alt=odd.headline)
    assert isinstance(await connect().send(odd, key=odd.key, chart=chart), Delivered)
    [mail] = server.mails
    await connect().send(USUAL, key="k", chart=chart)
    usual = server.mails[1].parsed
    parsed = mail.parsed
    assert set(parsed.keys()) - {"Importance", "X-Priority"} == set(usual.keys()) - {
        "Importance",
        "X-Priority",
    }
    assert len(parsed["Subject"]) <= 200
    assert mail.to == ["ops@example.com"]
    assert [part.get_content_type() for part in parsed.walk()] == [
        part.get_content_type() for part in usual.walk()
    ]
    assert not parsed.defects


async def test_a_header_cannot_be_smuggled_in(server: MailServer, connect: Connect) -> None:
    evil = "x\r\nBcc: evil@example.com\r\n\r\n.\r\nMAIL FROM:<evil@example.com>"
    odd = message(headline=evil, service=evil, incident=evil, facts=((evil, evil),), next_step=evil, key=evil)
    assert isinstance(await connect().send(odd, key=evil), Delivered)
    [mail] = server.mails
    assert mail.to == ["ops@example.com"]
    assert "Bcc" not in mail.parsed
    assert "evil@example.com" in mail.parsed["Subject"]


async def test_a_text_with_a_boundary_stays_text(server: MailServer, connect: Connect) -> None:
    channel = connect()
    await channel.send(USUAL, key="k")
    boundary = server.mails[0].parsed.get_boundary()
    await channel.send(message(next_step=f"--{boundary}--"), key="k")
    parsed = server.mails[1].parsed
    assert parsed.get_boundary() != boundary
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]


async def test_headers_of_the_users_and_long_ids_stay_in_one_piece(
    server: MailServer, connect: Connect
) -> None:
    domain = ".".join(["a" * 60, "b" * 60, "c" * 60, "example.com"])
    token = "t" * 300
    channel = connect(
        **{
            "from": f"watchdog@{domain}",
            "headers": {"X-Team": "booking", "X-Token": SecretStr(token)},
            "reply_to": "Ops <ops@example.com>",
        }
    )
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    raw = server.mails[0].raw
    assert f"\r\nX-Token: {token}\r\n".encode() in raw
    assert f"\r\nReferences: {root_id('i-1', domain)}\r\n".encode() in raw
    parsed = server.mails[0].parsed
    assert (parsed["X-Team"], parsed["Reply-To"]) == ("booking", "Ops <ops@example.com>")


async def test_a_domain_in_other_letters_is_sent_as_it_is_registered(
    server: MailServer, connect: Connect
) -> None:
    channel = connect(**{"from": "Wächter <watchdog@bücher.example>", "to": ["ops@例え.example"]})
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)
    [mail] = server.mails
    assert (mail.sender, mail.to) == ("watchdog@xn--bcher-kva.example", ["ops@xn--r8jz45g.example"])
    assert mail.parsed["From"] == "Wächter <watchdog@xn--bcher-kva.example>"


async def test_a_mail_that_is_too_big_for_the_server_is_refused_before_it_is_sent(
    server: MailServer, connect: Connect
) -> None:
    server.size_limit = 2000
    delivery = await connect().send(USUAL, key="k", chart=CHART)
    assert isinstance(delivery, Refused)
    assert delivery.reason.startswith("the sender: answered 552")


async def test_inspect_signs_in_and_begins_no_mail(server: MailServer, connect: Connect) -> None:
    async with nothing_left():
        assert await connect().inspect() is None
    assert server.steps == ["greeting", "EHLO", "STARTTLS", "EHLO again", "AUTH", "NOOP", "QUIT"]


@pytest.mark.parametrize(
    ("step", "answer", "said"),
    [
        ("greeting", "421 not now", "connecting: answered 421 not now"),
        ("AUTH", "535 no", "signing in: answered 535 no"),
        ("NOOP", "451 no", "NOOP: answered 451 no"),
        ("NOOP", "hang", "NOOP: nothing within 2s"),
    ],
)
async def test_inspect_says_what_is_wrong(
    server: MailServer, connect: Connect, step: str, answer: str, said: str
) -> None:
    server.wrong[step] = answer
    assert await connect(timeout="2s").inspect() == said


async def test_a_cancelled_send_hangs_up_and_the_channel_goes_on(
    server: MailServer, connect: Connect, eventually: Eventually
) -> None:
    channel = connect()
    server.wrong["text"] = "hang"
    async with nothing_left():
        task = asyncio.create_task(channel.send(USUAL, key="k"))
        await eventually(lambda: "text" in server.steps)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    server.wrong.clear()
    assert isinstance(await channel.send(USUAL, key="k"), Delivered)


async def test_a_closed_channel_says_so(connect: Connect) -> None:
    channel = connect()
    await channel.aclose()
    await channel.aclose()
    assert await channel.send(USUAL, key="k") == Later(reason="the channel is being closed")


async def test_the_hello_is_a_full_name_or_an_address(server: MailServer, connect: Connect) -> None:
    assert await connect().inspect() is None
    own = socket.gethostname()
    assert set(server.hellos) == {own if "." in own else "[127.0.0.1]"}


GOOD = {"host": "mail.example.com", "from": "watchdog@example.com", "to": ["ops@example.com"]}


@pytest.mark.parametrize(
    ("settings", "port"),
    [({}, 587), ({"tls": "implicit"}, 465), ({"tls": "none"}, 25), ({"port": 2525}, 2525)],
    ids=str,
)
def test_the_port_follows_from_the_encryption(settings: dict[str, Any], port: int) -> None:
    known = EmailChannel.Settings.model_validate(GOOD | settings)
    channel = EmailChannel(known, name="mail", clock=SystemClock(), rendering=RENDERING)
    assert f"port={port})" in repr(vars(channel)["_server"])


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"host": "mail.example.com:587"}, "the port stands under `port`"),
        ({"host": ""}, "host"),
        ({"host": "smtp://mail.example.com"}, "is not the name or address"),
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"tls": "auto"}, "tls"),
        ({"from": "nobody"}, "is not an address"),
        ({"from": "a@b@c"}, "is not an address"),
        ({"from": "wächter@example.com"}, "other than ASCII before the @"),
        ({"from": "a@-example.com"}, "is not an address"),
        ({"from": "a@example..com"}, "is not an address"),
        ({"from": "a" * 65 + "@example.com"}, "is not an address"),
        ({"from": "a@" + ".".join(["b" * 60] * 5)}, "an address"),
        ({"from": "A\r\nBcc: b@example.com <a@example.com>"}, "control characters"),
        ({"from": '"quoted part"@example.com'}, "is not an address"),
        ({"to": []}, "to"),
        ({"to": ["ops@example.com", "ops"]}, "ops: is not an address"),
        ({"to": ["a@example.com, b@example.com"]}, "is not an address"),
        ({"reply_to": "x"}, "is not an address"),
        ({"username": "me"}, "belong together"),
        ({"password": SecretStr("x")}, "belong together"),
        ({"username": "me", "password": "open"}, "!env NAME"),
        ({"username": "me", "password": SecretStr(" ")}, "is empty"),
        ({"username": "me", "password": SecretStr("x"), "tls": "none"}, "not sent unencrypted"),
        ({"headers": {"X A": "b"}}, "is not a header's name"),
        ({"headers": {"X-A": "b\r\nBcc: c"}}, "not one line of ASCII"),
        ({"headers": {"X-A": "é"}}, "not one line of ASCII"),
        ({"headers": {"X-A": ""}}, "not one line of ASCII"),
        ({"headers": {"subject": "b"}}, "set by the watchdog itself"),
        ({"headers": {"Bcc": "b@example.com"}}, "set by the watchdog itself"),
        ({"headers": {"Content-Type": "b"}}, "set by the watchdog itself"),
        ({"timeout": "0s"}, "timeout"),
        ({"hots": "x"}, "hots"),
    ],
    ids=str,
)
def test_mistakes_in_settings_are_named(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        EmailChannel.Settings.model_validate(GOOD | settings)
