"""Range queries in chunks: every point once, whatever the server's limits, and never more questions than it takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from tests.lab.fake_range import SAMPLES, FakeRange, Request, Said, error, matrix, usual
from tests.servers.certificates import Certificate
from tests.servers.process import ROOT
from watchdog.lab.cache import Cache
from watchdog.lab.prometheus_range import POINTS, Expression, PrometheusRange
from watchdog.lab.range_points import FAILED, PARTIAL, Grid, Points, RangeError
from watchdog.settings.access import BasicAuth
from watchdog.sources.prometheus import PrometheusSettings

STEP = 30
#: A whole number of chunks after 1970.
FIRST = POINTS * 5000
LATER = float(STEP * POINTS * 100_000)  #: when all of it is long settled


@pytest.fixture
def server() -> Iterator[FakeRange]:
    with FakeRange() as made:
        yield made


def asker(server: FakeRange, *, cache: Cache | None = None, **settings: Any) -> PrometheusRange:
    return PrometheusRange(
        PrometheusSettings(url=server.url, **settings),
        name="main",
        cache=cache,
        timeout=timedelta(seconds=20),
        now=lambda: LATER,
        wait=lambda _: None,
    )


def expression(points: int, *, text: str = "up", first: int = FIRST, **changed: Any) -> Expression:
    return Expression(text=text, grid=Grid(step=STEP, first=first, last=first + points - 1), **changed)


def ask(server: FakeRange, one: Expression, **options: Any) -> Points:
    return asker(server, **options).ask([one])[one]


def whole(points: Points, one: Expression) -> None:
    """Every point is there, at its own moment."""
    assert np.array_equal(points.values, one.grid.times)
    assert np.all(points.series == 1)
    assert points.whole


def test_a_long_range_is_asked_in_chunks_within_the_limit_of_points(server: FakeRange) -> None:
    one = expression(2 * POINTS + 500)
    whole(ask(server, one), one)
    assert server.asked == [
        (FIRST * STEP, POINTS),
        ((FIRST + POINTS) * STEP, POINTS),
        ((FIRST + 2 * POINTS) * STEP, 500),
    ]


def test_chunks_of_any_two_ranges_are_cut_at_the_same_moments(server: FakeRange) -> None:
    for first in (FIRST + 7, FIRST + 12):
        one = expression(POINTS, first=first)
        whole(ask(server, one), one)
    begins = {begin for begin, _ in server.asked}
    assert begins == {(FIRST + 7) * STEP, (FIRST + 12) * STEP, (FIRST + POINTS) * STEP}


def test_one_point_is_a_range(server: FakeRange) -> None:
    one = expression(1)
    whole(ask(server, one), one)


def test_progress_counts_every_point_once(server: FakeRange) -> None:
    told: list[int] = []
    two = [expression(POINTS + 10), expression(20, text="down")]
    asker(server).ask([*two, two[0]], progress=told.append)
    assert sum(told) == POINTS + 30


def limited(most: int, said: Said) -> Callable[[Request], Said | None]:
    return lambda asked: said if asked.points > most else None


@pytest.mark.parametrize(
    "said",
    [
        error(422, "execution", SAMPLES),
        error(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries."),
        error(422, "422", "too many points for the given step=30; the maximum is 3000"),
        error(422, "execution", "the query time range exceeds the limit (query length: 91h, limit: 24h)"),
        error(500, "internal", "expanding series: response too large"),
        error(503, "timeout", "query timed out in expression evaluation"),
        error(504, "", ""),
        Said(status=413, body=b"<html>"),
    ],
    ids=lambda said: said.body.decode()[:70] or str(said.status),
)
def test_a_chunk_that_is_too_much_is_cut_until_it_is_not(server: FakeRange, said: Said) -> None:
    server.answer = limited(2000, said)
    one = expression(POINTS + 100)
    whole(ask(server, one), one)
    good = [(begin, points) for begin, points in server.asked if points <= 2000]
    assert sum(points for _, points in good) == POINTS + 100, "no point is asked twice"


def test_a_limit_once_met_is_kept_to_from_then_on(server: FakeRange) -> None:
    server.answer = limited(3000, error(422, "execution", SAMPLES))
    one = expression(3 * POINTS)
    range_ = asker(server, concurrency=1)
    whole(range_.ask([one])[one], one)
    refused = [points for _, points in server.asked if points > 3000]
    assert sorted(refused, reverse=True) == [11000, 5500]


def test_a_server_for_which_one_point_is_too_much_is_told_of(server: FakeRange) -> None:
    server.answer = limited(0, error(422, "execution", SAMPLES))
    with pytest.raises(
        RangeError, match=r"source 'main' does not answer up: status 422: execution: query proc"
    ):
        ask(server, expression(64))
    assert len(server.requests) == 7


def test_a_server_that_is_always_too_slow_is_not_asked_without_end(server: FakeRange) -> None:
    server.answer = limited(0, error(503, "timeout", "query timed out"))
    with pytest.raises(RangeError, match="status 503: timeout: query timed out"):
        ask(server, expression(POINTS))
    assert len(server.requests) == 6


def test_a_server_that_does_not_answer_is_given_up(server: FakeRange) -> None:
    released = threading.Event()

    def answer(_: Request) -> None:
        released.wait(30)

    server.answer = answer
    settings = PrometheusSettings(url=server.url)
    try:
        with pytest.raises(RangeError, match="no complete answer within 1 s"):
            PrometheusRange(settings, name="main", timeout=timedelta(seconds=1)).ask([expression(1)])
    finally:
        released.set()


def test_what_fails_for_a_moment_is_tried_again(server: FakeRange) -> None:
    tries = iter([Said(status=502), Said(status=429), None])
    server.answer = lambda _: next(tries)
    one = expression(10)
    whole(ask(server, one), one)
    assert len(server.requests) == 3


def test_what_goes_on_failing_is_given_up_and_nothing_more_is_asked(server: FakeRange) -> None:
    server.answer = lambda _: Said(status=502, body=b"bad gateway")
    with pytest.raises(RangeError, match="source 'main' does not answer up: status 502: bad gateway"):
        ask(server, expression(50 * POINTS), concurrency=1)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_told_of(server: FakeRange) -> None:
    with FakeRange() as gone:
        pass
    with pytest.raises(RangeError, match="does not answer up: cannot be reached"):
        ask(gone, expression(1))


def test_an_answer_that_is_cut_short_is_asked_for_again(server: FakeRange) -> None:
    cut = Said(body=b'{"status":"succ', headers={"Content-Length": "1000", "Connection": "close"})
    tries = iter([cut, None])
    server.answer = lambda _: next(tries)
    one = expression(10)
    whole(ask(server, one), one)
    assert len(server.requests) == 2


def test_a_server_without_tls_is_told_of(server: FakeRange) -> None:
    settings = PrometheusSettings(url=server.url.replace("http://", "https://"))
    with pytest.raises(RangeError, match=r"does not answer up: no TLS: the certificate is not trusted"):
        PrometheusRange(settings, name="main", wait=lambda _: None).ask([expression(1)])
    assert server.requests == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            error(400, "bad_data", "1:3: parse error: unknown function limit"),
            "status 400: bad_data: 1:3: parse error: unknown function limit",
        ),
        (Said(status=401, body=b"who are you"), "status 401: who are you"),
        (
            Said(status=302, headers={"Location": "https://login.example.com/?next=%2F"}),
            "status 302: redirects to https://login.example.com/; write that address as url",
        ),
        (Said(body=b"<html>welcome</html>"), "not an answer of the range query API"),
        (Said(body=b'{"status":"success"}'), "not an answer of the range query API"),
        (Said(body=b'{"status":"success","data":{"result":[{"values":[]}]}}'), "not an answer"),
        (matrix(({}, [(1.0, "1")])), "not an answer"),
        (matrix(({}, [(FIRST * STEP, "1"), (FIRST * STEP, "2")])), "not an answer"),
        (matrix(({}, [(FIRST * STEP, "one")])), "not an answer"),
        (matrix(({}, [(FIRST * STEP + 0.5, "1")])), "not an answer"),
    ],
    ids=range(10),
)
def test_an_answer_that_helps_nobody_is_told_of_at_once(server: FakeRange, said: Said, words: str) -> None:
    server.answer = lambda _: said
    with pytest.raises(RangeError) as caught:
        ask(server, expression(10))
    assert f"source 'main' does not answer up: {words}" in str(caught.value)
    assert len(server.requests) == 1


def test_where_the_question_itself_fails_only_those_points_are_errors(server: FakeRange) -> None:
    bad = (FIRST + 700) * STEP
    refused = error(422, "execution", "found duplicate series for the match group")
    server.answer = lambda asked: refused if asked.start <= bad <= asked.end else None
    one = expression(1600)
    points = ask(server, one)
    where = np.flatnonzero(points.flags == FAILED)
    assert len(where) == 100
    assert 700 in where
    assert np.array_equal(points.values[points.flags == 0], one.grid.times[points.flags == 0])
    assert points.notes == ("status 422: execution: found duplicate series for the match group",)


def test_a_question_that_fails_everywhere_is_told_of(server: FakeRange) -> None:
    server.answer = lambda _: error(422, "execution", "found duplicate series for the match group")
    with pytest.raises(RangeError, match="answers up nowhere: status 422: execution: found duplicate series"):
        ask(server, expression(10))


def test_an_answer_with_warnings_is_partial_but_remarks_are_not(server: FakeRange) -> None:
    def answer(asked: Request) -> Said:
        late = asked.start > FIRST * STEP
        return usual(asked, warnings=("a replica is down",) if late else ("PromQL info: no counter",))

    server.answer = answer
    points = ask(server, expression(POINTS + 10))
    assert np.all(points.flags[:POINTS] == 0)
    assert np.all(points.flags[POINTS:] == PARTIAL)
    assert points.notes == ("a replica is down",)


def test_several_series_are_counted_and_missing_points_stay_missing(server: FakeRange) -> None:
    at = [float((FIRST + number) * STEP) for number in range(4)]
    server.answer = lambda _: matrix(
        ({"job": "a"}, [(at[0], "1"), (at[1], "2")]), ({"job": "b"}, [(at[1], "3"), (at[3], "+Inf")])
    )
    points = ask(server, expression(4))
    assert points.series.tolist() == [1, 2, 0, 1]
    assert points.values[[0, 3]].tolist() == [1, np.inf]
    assert np.isnan(points.values[[1, 2]]).all()
    only = ask(server, expression(4, of=(("job", "b"),)))
    assert only.series.tolist() == [0, 1, 0, 1]
    assert only.values[1] == 3


def test_a_proxy_that_takes_no_post_is_asked_by_get_from_then_on(server: FakeRange) -> None:
    server.answer = lambda asked: Said(status=405) if asked.method == "POST" else None
    one = expression(3 * POINTS)
    whole(ask(server, one, concurrency=1), one)
    assert [asked.method for asked in server.requests] == ["POST", "GET", "GET", "GET"]


def test_a_query_longer_than_an_address_may_be_is_asked(server: FakeRange) -> None:
    one = expression(1, text=" or ".join(f"metric_{number}" for number in range(10_000)))
    whole(ask(server, one), one)


def test_credentials_are_sent_and_never_told(server: FakeRange) -> None:
    server.answer = lambda asked: Said(status=403, body=f"no: {asked.headers['authorization']}".encode())
    with pytest.raises(RangeError) as caught:
        ask(server, expression(1), bearer_token=SecretStr("s3cret-token"), headers={"X-Scope-OrgID": "team"})
    assert server.requests[0].headers["authorization"] == "Bearer s3cret-token"
    assert server.requests[0].headers["x-scope-orgid"] == "team"
    assert "s3cret-token" not in str(caught.value)
    assert "status 403" in str(caught.value)


def test_proxies_of_the_environment_are_not_used(server: FakeRange, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    one = expression(1)
    whole(ask(server, one), one)


def test_the_given_or_else_the_authorities_of_the_system_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(tmp_path)
    one = expression(1)
    with FakeRange(tls=certificate.context) as server:
        whole(ask(server, one, ca_file=certificate.file), one)
        with pytest.raises(RangeError, match="the certificate is not trusted"):
            ask(server, one)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
        whole(ask(server, one), one)


def test_authorities_that_cannot_be_read_are_told_of(server: FakeRange, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name, words in (("none.pem", "No such file or directory"), ("empty.pem", "")):
        with pytest.raises(
            RangeError, match=rf"source 'main': cannot use ca_file {tmp_path}/{name}: {words}"
        ):
            ask(server, expression(1), ca_file=tmp_path / name)


# The cache


def test_what_was_answered_is_not_asked_again(server: FakeRange, tmp_path: Path) -> None:
    one = expression(2 * POINTS)
    whole(ask(server, one, cache=Cache(tmp_path)), one)
    assert len(server.requests) == 2
    whole(ask(server, one, cache=Cache(tmp_path)), one)
    assert len(server.requests) == 2
    longer = expression(3 * POINTS)
    whole(ask(server, longer, cache=Cache(tmp_path)), longer)
    assert server.asked[2:] == [((FIRST + 2 * POINTS) * STEP, POINTS)]


def test_what_may_still_change_is_asked_again(server: FakeRange, tmp_path: Path) -> None:
    settings = PrometheusSettings(url=server.url)
    one = expression(2 * POINTS)
    for _ in range(2):
        range_ = PrometheusRange(
            settings, name="main", cache=Cache(tmp_path), now=lambda: float(one.grid.last * STEP + 500)
        )
        whole(range_.ask([one])[one], one)
    assert [begin for begin, _ in server.asked] == [FIRST * STEP, *[(FIRST + POINTS) * STEP] * 2]


@pytest.mark.parametrize("partial", [True, False])
def test_what_is_partial_or_nothing_at_all_is_asked_again(
    server: FakeRange, tmp_path: Path, partial: bool
) -> None:
    server.answer = lambda asked: usual(asked, warnings=("half",)) if partial else matrix()
    for _ in range(2):
        ask(server, expression(10), cache=Cache(tmp_path))
    assert len(server.requests) == 2


def test_another_server_query_step_and_reader_have_answers_of_their_own(
    server: FakeRange, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    one = expression(10)
    ask(server, one, cache=cache)
    ask(server, expression(10, text="down"), cache=cache)
    ask(server, expression(10, of=(("job", "trips"),)), cache=cache)
    ask(server, Expression(text="up", grid=Grid(step=60, first=FIRST, last=FIRST + 9)), cache=cache)
    ask(server, one, cache=cache, headers={"X-Scope-OrgID": "other"})
    ask(server, one, cache=cache, bearer_token=SecretStr("one-token"))
    ask(server, one, cache=cache, basic_auth=BasicAuth(username="me", password=SecretStr("mine")))
    assert len(server.requests) == 7
    with FakeRange() as other:
        ask(other, one, cache=cache)
        assert len(other.requests) == 1
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"one-token" not in kept


def test_a_file_that_was_damaged_is_asked_for_anew_and_said(server: FakeRange, tmp_path: Path) -> None:
    one = expression(10)
    ask(server, one, cache=Cache(tmp_path))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole_file = file.read_bytes()
    for damaged in (whole_file[:-5], whole_file[:10], b"", whole_file[:-1] + bytes([whole_file[-1] ^ 1])):
        file.write_bytes(damaged)
        cache = Cache(tmp_path)
        before = len(server.requests)
        whole(ask(server, one, cache=cache), one)
        assert len(server.requests) == before + 1
        assert cache.notes == [f"a file of the cache was damaged ({file}); it is asked for anew"]
    cache = Cache(tmp_path)
    whole(ask(server, one, cache=cache), one)
    assert cache.notes == []


_RUN = """
import sys
from datetime import timedelta
from pathlib import Path
from watchdog.lab.cache import Cache
from watchdog.lab.prometheus_range import Expression, PrometheusRange
from watchdog.lab.range_points import Grid
from watchdog.sources.prometheus import PrometheusSettings
url, folder, first, last, step, now = sys.argv[1:]
one = Expression(text="up", grid=Grid(step=int(step), first=int(first), last=int(last)))
settings = PrometheusSettings(url=url, concurrency=1)
PrometheusRange(settings, name="main", cache=Cache(Path(folder)), now=lambda: float(now)).ask([one])
"""


@pytest.mark.timeout(90)
def test_one_that_was_killed_goes_on_where_it_was(server: FakeRange, tmp_path: Path) -> None:
    fourth, released = threading.Event(), threading.Event()

    def answer(_: Request) -> None:
        if len(server.requests) == 4:
            fourth.set()
            released.wait(80)

    server.answer = answer
    one = expression(6 * POINTS)
    argv = [server.url, str(tmp_path), str(one.grid.first), str(one.grid.last), str(STEP), str(LATER)]
    child = subprocess.Popen([sys.executable, "-c", _RUN, *argv], cwd=ROOT)
    try:
        assert fourth.wait(60)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        released.set()
    assert len(server.requests) == 4
    whole(ask(server, one, cache=Cache(tmp_path)), one)
    assert len(server.requests) == 4 + 3, "the first three were kept"
    assert [begin for begin, _ in server.asked].count(FIRST * STEP) == 1
