"""The source `prometheus` against a server that says what a test wants: faults no real one can be made to show."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.eventually import Eventually
from tests.servers import raw
from tests.servers.certificates import Certificate
from tests.servers.raw import Behaviour, RawRequest, RawServer
from tests.sources.questions import (
    FORMS,
    api_error,
    failed,
    good,
    parts,
    poll,
    question,
    rule,
    running,
    vector,
)
from watchdog.core.check import CheckState
from watchdog.core.evaluate import evaluate
from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.observe import observe
from watchdog.core.promql import parts_of
from watchdog.core.rule import Level, MetricForm, Query, Ratio, Unit
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource

ONE = Query(query="up")
#: Much longer than a good answer takes here; for answers that shall come.
PATIENT = timedelta(seconds=5)

Serve = Callable[[Behaviour], Awaitable[RawServer]]
Open = Callable[..., PrometheusSource]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(behaviour: Behaviour) -> RawServer:
            return await stack.enter_async_context(RawServer(behaviour))

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Open]:
    """`connect(server, **settings)`: a source that asks this server, with its own work running."""
    async with AsyncExitStack() as stack:
        sources: list[PrometheusSource] = []

        def start(server: RawServer | str, *, timeout: timedelta = PATIENT, **more: Any) -> PrometheusSource:
            url = server if isinstance(server, str) else server.url
            source = PrometheusSource(PrometheusSettings(url=url, timeout=timeout, **more), name="main")
            sources.append(source)
            return source

        yield start
        for source in sources:
            stack.push_async_callback(source.aclose)


async def ask(source: PrometheusSource, form: MetricForm = ONE) -> Answer | Failed:
    return await source.ask(question(form), now=datetime.now(UTC))


async def asked_once(source: PrometheusSource, form: MetricForm = ONE) -> Failed:
    return failed(await ask(source, form))


async def test_a_question_is_one_form_posted_and_no_time_is_sent(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(vector(({}, "0.5"))))
    source = connect(server)
    query = 'sum(rate(a{b="ä"}[1m])) # exactly\n as written'
    answer = good(await ask(source, Query(query=query)))
    assert answer.parts == {"value": (0.5,)}
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/query")
    assert dict(request.form) == {"query": query}


async def test_a_rule_of_many_parts_is_one_request(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(parts(bad="3", total="120", newest="1700000000.5", samples="4")))
    answer = good(await ask(connect(server), Ratio(bad='a{status=~"5.."}', total="a")))
    assert answer.parts == {"bad": (3,), "total": (120,), "newest": (1700000000.5,), "samples": (4,)}
    assert len(server.requests) == 1
    text = server.requests[0].form["query"]
    assert 'sum(increase(a{status=~"5.."}[10s]))' in text
    assert "max(timestamp(a))" in text
    assert answer.asked == text


@pytest.mark.parametrize("name", FORMS)
async def test_every_form_is_one_request_of_all_its_parts(serve: Serve, connect: Open, name: str) -> None:
    server = await serve(raw.answer(vector()))
    answer = good(await ask(connect(server), FORMS[name]))
    parts_asked = parts_of(FORMS[name], question().window)
    assert answer.parts == dict.fromkeys(parts_asked, ())
    (request,) = server.requests
    assert all(text in request.form["query"] for text in parts_asked.values())
    seen = observe(rule(FORMS[name]), answer, now=datetime.now(UTC))
    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.EMPTY


async def test_parts_without_series_are_empty_and_not_missing(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(parts(total="120")))
    answer = good(await ask(connect(server), Ratio(bad="a", total="b")))
    assert answer.parts == {"bad": (), "total": (120,), "newest": (), "samples": ()}


async def test_a_window_below_a_second_is_written_in_milliseconds(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(parts(total="1")))
    await connect(server).ask(question(Ratio(bad="a", total="b"), window=1.5), now=datetime.now(UTC))
    assert "[1500ms]" in server.requests[0].form["query"]


async def test_the_evaluation_time_is_the_servers(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(vector(({}, "1"), at=1700000000.25)))
    answer = good(await ask(connect(server)))
    assert answer.evaluated_at == datetime.fromtimestamp(1700000000.25, UTC)


async def test_a_server_below_a_path_is_asked_there(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(vector(({}, "1"))))
    for base in (f"{server.url}/prom/", f"{server.url}/prom"):
        good(await ask(connect(base)))
    assert [request.path for request in server.requests] == ["/prom/api/v1/query"] * 2


@pytest.mark.parametrize("status", [405, 501])
async def test_where_post_is_refused_get_is_used_for_good(serve: Serve, connect: Open, status: int) -> None:
    async def proxy(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        refused = raw.packed("no", status=status)
        writer.write(refused if request.method == "POST" else raw.packed(vector(({}, "1"))))

    server = await serve(proxy)
    source = connect(server)
    for _ in range(3):
        assert good(await ask(source, Query(query="a + b"))).parts == {"value": (1,)}
    assert [request.method for request in server.requests] == ["POST", "GET", "GET", "GET"]
    assert server.requests[-1].form == {"query": "a + b"}


async def test_a_compressed_answer_is_read(serve: Serve, connect: Open) -> None:
    body = gzip.compress(vector(({}, "1")).encode())
    server = await serve(raw.answer(body, headers={"Content-Encoding": "gzip"}))
    assert good(await ask(connect(server))).parts == {"value": (1,)}


NUMBERS: list[tuple[str, NoDataReason | None]] = [
    ("0.25", None),
    ("1e-3", None),
    ("NaN", NoDataReason.NOT_A_NUMBER),
    ("+Inf", NoDataReason.NOT_A_NUMBER),
    ("-Inf", NoDataReason.NOT_A_NUMBER),
    ("1e999", NoDataReason.NOT_A_NUMBER),
]


@pytest.mark.parametrize(("number", "reason"), NUMBERS)
async def test_only_a_finite_number_becomes_a_value(
    serve: Serve, connect: Open, number: str, reason: NoDataReason | None
) -> None:
    server = await serve(raw.answer(vector(({}, number))))
    seen = await poll(connect(server), ONE)
    assert (seen.reason if isinstance(seen, NoData) else None) == reason, seen
    assert isinstance(seen, Value) is (reason is None)


@pytest.mark.parametrize("name", ["quantile", "rate", "gauge"])
@pytest.mark.parametrize(("number", "reason"), NUMBERS)
async def test_only_a_finite_number_becomes_a_value_of_any_form(
    serve: Serve, connect: Open, number: str, reason: NoDataReason | None, name: str
) -> None:
    now = str(datetime.now(UTC).timestamp())
    server = await serve(raw.answer(parts(value=number, highest="99", events="5", newest=now, samples="9")))
    if name != "quantile":
        server.behaviour = raw.answer(parts(value=number, newest=now, samples="9"))
    seen = await poll(connect(server), FORMS[name])
    assert (seen.reason if isinstance(seen, NoData) else None) == reason or isinstance(seen, Failed), seen
    assert isinstance(seen, Value) is (reason is None)


#: What may stand where a number should: no number, none that is finite, or one that Python alone would take.
ODD = (
    "NaN",
    "+Inf",
    "-Inf",
    "1e999",
    "-1e999",
    "",
    " ",
    "nan",
    "inf",
    "Infinity",
    "1_0",
    "0x1",
    "\u0661",
    None,
    True,
)
PARTS: dict[str, tuple[str, ...]] = {
    "ratio": ("bad", "total", "newest", "samples"),
    "quantile": ("value", "highest", "events", "newest", "samples"),
    "rate": ("value", "newest", "samples"),
    "gauge": ("value", "newest", "samples"),
    "query": ("value", "events", "newest"),
}


@pytest.mark.parametrize("name", PARTS)
async def test_whatever_stands_where_a_number_should_be_is_unknown_in_every_part_of_every_form(
    serve: Serve, connect: Open, name: str
) -> None:
    form = FORMS.get(name) or Query(query="depth", events="counted", freshness="age")
    server = await serve(raw.answer(""))
    source = connect(server)

    async def level(texts: dict[str, Any]) -> Level:
        now = datetime.now(UTC).timestamp()
        fine = {"bad": "50", "total": "100", "value": "50", "highest": "99", "events": "100"}
        known = {part: fine.get(part, str(now) if part == "newest" else "4") for part in PARTS[name]}
        server.behaviour = raw.answer(parts(now, **known | texts))
        made = rule(form, unit=Unit.RATIO if name == "ratio" else Unit.NONE)
        return evaluate(made, CheckState(), await poll(source, form), now=datetime.now(UTC)).verdict.level

    assert await level({}) is Level.CRITICAL
    for part in PARTS[name]:
        for text in ODD:
            assert await level({part: text}) is Level.UNKNOWN, (part, text)


async def test_empty_and_several_and_partial_are_no_data(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(""))
    source = connect(server)
    for body, reason in (
        (vector(), NoDataReason.EMPTY),
        (vector(({"a": "1"}, "1"), ({"a": "2"}, "1")), NoDataReason.SEVERAL_SERIES),
        (vector(({}, "1"), warnings=["store a\nis away"]), NoDataReason.PARTIAL),
        (vector(({}, "1"), at=datetime.now(UTC).timestamp() - 60), NoDataReason.STALE),
        (vector(({}, "1"), at=datetime.now(UTC).timestamp() + 60), NoDataReason.FUTURE),
    ):
        server.behaviour = raw.answer(body)
        seen = await poll(source, ONE)
        assert isinstance(seen, NoData), seen
        assert seen.reason is reason


async def test_information_is_no_warning(serve: Serve, connect: Open) -> None:
    server = await serve(raw.answer(vector(({}, "1"), infos=["a gauge, perhaps"], warnings=[])))
    assert isinstance(await poll(connect(server), ONE), Value)


async def test_a_remark_among_the_warnings_of_an_older_server_is_no_warning(
    serve: Serve, connect: Open
) -> None:
    remark = 'PromQL info: metric might not be a counter, name does not end in _total: "a" (1:5)'
    server = await serve(raw.answer(vector(({}, "1"), warnings=[remark])))
    source = connect(server)
    assert isinstance(await poll(source, ONE), Value)
    for warning in ("PromQL warning: bucket label is missing", f"store away; {remark}"):
        server.behaviour = raw.answer(vector(({}, "1"), warnings=[remark, warning]))
        seen = await poll(source, ONE)
        assert isinstance(seen, NoData)
        assert seen.reason is NoDataReason.PARTIAL


async def test_the_newest_sample_decides_and_not_the_evaluation(serve: Serve, connect: Open) -> None:
    now = datetime.now(UTC).timestamp()
    server = await serve(raw.answer(""))
    form = Ratio(bad="a", total="b")
    for newest, reason in ((now - 300, NoDataReason.STALE), (now + 300, NoDataReason.FUTURE)):
        server.behaviour = raw.answer(parts(bad="90", total="100", newest=str(newest), samples="4"))
        seen = await poll(connect(server), form)
        assert isinstance(seen, NoData)
        assert seen.reason is reason


async def test_nobody_there_is_unreachable(free_port: Callable[[], int], connect: Open) -> None:
    port = free_port()
    fault = await asked_once(connect(f"http://127.0.0.1:{port}"))
    assert fault.reason is FailReason.UNREACHABLE
    assert f"cannot connect to 127.0.0.1:{port}: " in fault.detail
    assert fault.asked == "up"


async def test_a_name_that_does_not_resolve_is_unreachable(connect: Open) -> None:
    fault = await asked_once(connect("http://no-such-host.invalid"))
    assert fault.reason is FailReason.UNREACHABLE
    assert fault.detail == "the name no-such-host.invalid cannot be resolved"


async def test_a_hanging_server_is_a_time_out_of_the_configured_length(serve: Serve, connect: Open) -> None:
    source = connect(await serve(raw.hang), timeout=timedelta(seconds=0.2))
    began = asyncio.get_running_loop().time()
    fault = await asked_once(source)
    assert (fault.reason, fault.detail) == (FailReason.TIMEOUT, "no complete answer within 0.2 s")
    assert asyncio.get_running_loop().time() - began < 1


async def test_a_byte_now_and_then_does_not_stretch_the_time_out(serve: Serve, connect: Open) -> None:
    server = await serve(raw.drip(vector(({}, "1")).encode(), every=0.05))
    assert (await asked_once(connect(server, timeout=timedelta(seconds=0.3)))).reason is FailReason.TIMEOUT


async def test_waiting_for_a_free_connection_counts(serve: Serve, connect: Open) -> None:
    source = connect(await serve(raw.hang), timeout=timedelta(seconds=0.3), concurrency=1)
    began = asyncio.get_running_loop().time()
    faults = await asyncio.gather(*(asked_once(source) for _ in range(5)))
    assert {fault.reason for fault in faults} == {FailReason.TIMEOUT}
    assert asyncio.get_running_loop().time() - began < 1.5


async def test_a_connection_that_is_cut_is_unreachable_after_one_more_try(
    serve: Serve, connect: Open
) -> None:
    server = await serve(raw.reset)
    assert (await asked_once(connect(server))).reason is FailReason.UNREACHABLE
    assert len(server.requests) == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(serve: Serve, connect: Open) -> None:
    answered = 0

    async def closes_every_second(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        answered += 1
        if answered % 2:
            writer.write(raw.packed(vector(({}, "1"))))
        else:
            writer.transport.abort()

    source = connect(await serve(closes_every_second))
    for _ in range(5):
        good(await ask(source))


def said(body: str | bytes, status: int = 200) -> Behaviour:
    return raw.answer(body, status=status)


def result(kind: str, inside: str) -> Behaviour:
    return said(f'{{"status":"success","data":{{"resultType":"{kind}","result":{inside}}}}}')


STATUS, QUERY, MALFORMED = FailReason.HTTP_STATUS, FailReason.QUERY_ERROR, FailReason.MALFORMED
NO_ANSWER = "not an answer of the query API"
CUT = "the answer was cut short"
FAULTS: dict[str, tuple[Behaviour, FailReason, str]] = {
    "503 without a word": (said("", 503), STATUS, "status 503"),
    "503 with control characters": (said("try\nlater\x1b[2J", 503), STATUS, "status 503: try later\\x1b[2J"),
    "429": (said("slow down", 429), STATUS, "status 429: slow down"),
    "401": (said("nope", 401), STATUS, "status 401: nope"),
    "400 from a proxy": (said("what?", 400), STATUS, "status 400: what?"),
    "206": (said(vector(({}, "1")), 206), STATUS, "status 206"),
    "a query timed out": (
        said(api_error("timeout", "too slow"), 503),
        STATUS,
        "status 503: timeout: too slow",
    ),
    "an internal error": (said(api_error("internal", "boom"), 500), STATUS, "status 500: internal: boom"),
    "bad data": (said(api_error("bad_data", "parse error"), 400), QUERY, "bad_data: parse error"),
    "execution": (said(api_error("execution", "many-to-many"), 422), QUERY, "execution: many-to-many"),
    "an error with status 200": (said(api_error("execution", "odd")), QUERY, "execution: odd"),
    "a web page": (said("<html>"), MALFORMED, NO_ANSWER),
    "nothing": (said(""), MALFORMED, NO_ANSWER),
    "another JSON": (said("[]"), MALFORMED, NO_ANSWER),
    "no text": (said(b"\xff\xfe{}"), MALFORMED, NO_ANSWER),
    "success without data": (said('{"status": "success"}'), MALFORMED, "no data"),
    "neither success nor error": (said('{"status": "maybe"}'), MALFORMED, "without success or error"),
    "a series without value": (result("vector", '[{"metric":{}}]'), MALFORMED, "value"),
    "null": (result("vector", '[{"metric":{},"value":[1,null]}]'), MALFORMED, NO_ANSWER),
    "true": (result("vector", '[{"metric":{},"value":[1,true]}]'), MALFORMED, NO_ANSWER),
    "a JSON number too large": (result("vector", '[{"metric":{},"value":[1,1e999]}]'), MALFORMED, NO_ANSWER),
    "a matrix": (result("matrix", '[{"values":[[1,"1"]]}]'), MALFORMED, "a range of samples, not a number"),
    "a string": (result("string", '[1,"1"]'), MALFORMED, "a text, not a number"),
    "a kind nobody knows": (result("tensor", "[]"), MALFORMED, NO_ANSWER),
    "an empty number": (said(vector(({}, ""))), MALFORMED, "'' is not a number"),
    "a word for a number": (said(vector(({}, "null"))), MALFORMED, "'null' is not a number"),
    "a number as Python writes it": (said(vector(({}, "1_0"))), MALFORMED, "'1_0' is not a number"),
    "a number with blanks": (said(vector(({}, " 1"))), MALFORMED, "is not a number"),
    "a word as Python reads it": (said(vector(({}, "infinity"))), MALFORMED, "'infinity' is not a number"),
    "digits of another script": (said(vector(({}, "\u0661"))), MALFORMED, "is not a number"),
    "a time that is no date": (said(vector(({}, "1"), at=1e300)), MALFORMED, ""),
    "an unknown part": (said(vector(({"watchdog_part": "x"}, "1"))), MALFORMED, "watchdog_part"),
    "half a body": (raw.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"status":'), MALFORMED, CUT),
    "broken gzip": (
        raw.raw(raw.packed(b"not gzip", headers={"Content-Encoding": "gzip"})),
        MALFORMED,
        CUT,
    ),
    "another protocol": (raw.raw(b"SSH-2.0-OpenSSH_9.2\r\n"), MALFORMED, "does not speak HTTP"),
    "a body without end": (raw.endless(b" "), MALFORMED, "larger than"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_has_its_reason_and_its_words(serve: Serve, connect: Open, fault: str) -> None:
    behaviour, reason, words = FAULTS[fault]
    seen = await asked_once(connect(await serve(behaviour)))
    assert seen.reason is reason, seen
    assert words in seen.detail
    assert len(seen.detail) <= 200
    assert seen.detail.isprintable()


async def test_a_series_of_a_union_that_does_not_say_what_it_is_is_malformed(
    serve: Serve, connect: Open
) -> None:
    server = await serve(raw.answer(vector(({}, "1"))))
    assert (await asked_once(connect(server), Ratio(bad="a", total="b"))).reason is FailReason.MALFORMED


async def test_a_redirect_is_not_followed(serve: Serve, connect: Open) -> None:
    other = await serve(raw.answer(vector(({}, "1"))))
    where = f"http://user:hunter2@127.0.0.1:{other.port}/api/v1/query?token=hunter2"
    for status in (301, 302, 307, 308):
        server = await serve(raw.answer("", status=status, headers={"Location": where}))
        fault = await asked_once(connect(server))
        assert fault.reason is FailReason.HTTP_STATUS
        assert f"status {status}: redirects to http://127.0.0.1:{other.port}/api/v1/query" in fault.detail
        assert "hunter2" not in fault.detail
    assert other.requests == []


async def test_credentials_are_sent_and_never_come_back_in_any_text(serve: Serve, connect: Open) -> None:
    async def echo(request: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(raw.packed(json.dumps(dict(request.headers)), status=500))

    server = await serve(echo)
    token, password, key = (SecretStr(text) for text in ("tok-4711-abc", "pass-4711-abc", "key-4711-abc"))
    for more in (
        {"bearer_token": token, "headers": {"X-Scope-OrgID": "tenant", "X-Key": key}},
        {"basic_auth": {"username": "me", "password": password}},
    ):
        source = connect(server, **more)
        fault = await asked_once(source)
        report = await source.inspect()
        assert "4711" not in f"{fault} {report} {source!r} {vars(source)!r}"
        assert "bWU6cGFzcy00NzExLWFiYw" not in f"{fault} {report}"
    first, _, second, _ = server.requests
    assert first.headers["authorization"] == "Bearer tok-4711-abc"
    assert (first.headers["x-scope-orgid"], first.headers["x-key"]) == ("tenant", "key-4711-abc")
    assert second.headers["authorization"] == "Basic bWU6cGFzcy00NzExLWFiYw=="


async def test_the_record_keeps_the_question_and_the_beginning_of_the_answer(
    serve: Serve, connect: Open
) -> None:
    body = vector(*(({"long": "x" * 100, "n": str(n)}, "1") for n in range(100)))
    answer = good(await ask(connect(await serve(raw.answer(body)))))
    assert answer.answered == body[:2000]


async def test_settings_refuse_what_cannot_work() -> None:
    for wrong in (
        {"url": "ftp://here"},
        {"url": "http://"},
        {"url": "http://here:99999"},
        {"url": "http://user:password@here"},
        {"url": "http://here", "concurrency": 0},
        {"url": "http://here", "bearer_token": "plain"},
        {"url": "http://here", "retries": 3},
    ):
        with pytest.raises(ValidationError):
            PrometheusSettings.model_validate(wrong)


async def test_an_unusable_ca_file_is_our_own_inability(connect: Open, tmp_path: Path) -> None:
    junk = tmp_path / "ca.pem"
    junk.write_text("nothing")
    for path in (tmp_path / "missing.pem", junk):
        fault = await asked_once(connect("https://127.0.0.1:1", ca_file=path))
        assert fault.reason is FailReason.UNABLE
        assert str(path) in fault.detail


async def test_a_certificate_must_be_trusted(serve: Serve, connect: Open, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    async with RawServer(raw.answer(vector(({}, "1"))), tls=certificate.context) as server:
        fault = await asked_once(connect(server))
        assert fault.reason is FailReason.UNREACHABLE
        assert "certificate" in fault.detail
        good(await ask(connect(server, ca_file=certificate.file)))


async def test_closing_is_final_and_may_be_repeated(serve: Serve, connect: Open) -> None:
    source = connect(await serve(raw.answer(vector(({}, "1")))))
    good(await ask(source))
    await source.aclose()
    await source.aclose()
    assert (await asked_once(source)).reason is FailReason.UNABLE


async def test_a_cancelled_question_is_cancelled_and_the_next_one_works(
    serve: Serve, connect: Open, eventually: Eventually
) -> None:
    server = await serve(raw.hang)
    source = connect(server)
    asking = asyncio.create_task(ask(source))
    await eventually(lambda: server.requests)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.behaviour = raw.answer(vector(({}, "1")))
    good(await ask(source))


class Restartable:
    """Answers queries, and says when it was started (or that it does not know such a page)."""

    def __init__(self) -> None:
        self.started = "2026-03-02T10:00:00.123456789Z"
        self.looks = 0
        self.status = 200

    async def __call__(self, request: RawRequest, writer: asyncio.StreamWriter) -> None:
        if request.path.endswith("/runtimeinfo"):
            self.looks += 1
            body = json.dumps({"status": "success", "data": {"startTime": self.started}})
            writer.write(raw.packed(body, status=self.status))
        else:
            writer.write(raw.packed(vector(({}, "1"))))


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_a_restart_is_looked_for_beside_the_answers_and_at_most_each_30_seconds(
    serve: Serve, eventually: Eventually
) -> None:
    server, clock = Restartable(), HandClock()
    settings = PrometheusSettings(url=(await serve(server)).url)
    source = PrometheusSource(settings, name="main", clock=clock)
    async with running([source]):
        for _ in range(5):
            assert good(await ask(source)).since is None
        await eventually(lambda: source.started_at)
        clock.seconds += 29
        good(await ask(source))
        assert server.looks == 1
        server.started = "2026-03-02T11:00:00Z"
        clock.seconds += 2
        good(await ask(source))
        await eventually(lambda: server.looks == 2)

        async def since() -> datetime | None:
            return good(await ask(source)).since

        assert await eventually(since) == datetime(2026, 3, 2, 11, tzinfo=UTC)
        # An older server behind the same address is no restart, and changes nothing.
        server.started = "2026-03-02T10:00:00Z"
        clock.seconds += 60
        good(await ask(source))
        await eventually(lambda: server.looks == 3)
        assert await since() == datetime(2026, 3, 2, 11, tzinfo=UTC)


async def test_after_a_failure_the_first_good_answer_looks_at_once(
    serve: Serve, eventually: Eventually
) -> None:
    behaviour = Restartable()
    server = await serve(behaviour)
    source = PrometheusSource(PrometheusSettings(url=server.url), name="main", clock=HandClock())
    async with running([source]):
        good(await ask(source))
        await eventually(lambda: source.started_at)
        server.behaviour = raw.answer("", status=503)
        failed(await ask(source))
        server.behaviour = behaviour
        behaviour.started = "2026-03-02T11:00:00Z"
        good(await ask(source))
        await eventually(lambda: behaviour.looks == 2)


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_a_server_that_does_not_say_when_it_started_is_believed(
    serve: Serve, eventually: Eventually, status: int
) -> None:
    behaviour, clock = Restartable(), HandClock()
    behaviour.started, behaviour.status = "some day", status
    source = PrometheusSource(PrometheusSettings(url=(await serve(behaviour)).url), name="main", clock=clock)
    async with running([source]):
        for looks in range(1, 4):
            assert good(await ask(source)).since is None
            await eventually(lambda looks=looks: behaviour.looks == looks)  # type: ignore[misc]
            clock.seconds += 31


async def test_inspection_tells_a_wrong_clock_and_a_wrong_address(
    serve: Serve, connect: Open, free_port: Callable[[], int]
) -> None:
    ahead = await serve(raw.answer(vector(({}, "1"), at=datetime.now(UTC).timestamp() + 60)))
    report = await connect(ahead).inspect()
    assert not report.ok
    assert "clock differs by +" in report.detail
    assert "NTP" in report.advice
    report = await connect(f"http://127.0.0.1:{free_port()}").inspect()
    assert not report.ok
    assert "unreachable" in report.detail
    assert report.advice
    fine = await serve(raw.answer(vector(({}, "1"))))
    report = await connect(fine).inspect()
    assert (report.ok, report.detail) == (True, f"{fine.url} answers")


async def test_the_names_of_its_metrics_are_listed_with_a_bound_and_nothing_when_it_does_not_say(
    serve: Serve, connect: Open
) -> None:
    server = await serve(raw.answer('{"status": "success", "data": ["up", "requests_total"]}'))
    assert await connect(server).names() == ("up", "requests_total")
    asked = server.requests[-1]
    assert (asked.path, set(asked.form)) == ("/api/v1/label/__name__/values", {"limit", "start"})
    for odd in (raw.answer("<html>"), raw.answer('{"status": "error"}', status=400)):
        assert await connect(await serve(odd)).names() is None


async def test_no_warning_lets_a_value_through(serve: Serve, connect: Open) -> None:
    server = await serve(
        raw.answer(parts(bad="90", total="100", newest="1", samples="4")[:-1] + ',"warnings":["x"]}')
    )
    form = Ratio(bad="a", total="b")
    seen = observe(rule(form), await ask(connect(server), form), now=datetime.now(UTC))
    assert isinstance(seen, NoData)
    assert seen.reason is NoDataReason.PARTIAL
