"""What calls to an API server mean afterwards, whatever comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.cluster.wire import END, STREAM, Wire, chunk, status
from tests.eventually import Eventually
from tests.servers.raw import packed
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Unanswered

SHORT = timedelta(milliseconds=500)
LONG = timedelta(seconds=30)
PATH = "/api/v1/namespaces/prod/services/trips"

Call = Callable[[Cluster], Awaitable[bytes]]
WRITES: dict[str, Call] = {
    "patch": lambda it: it.patch(PATH, {"spec": {}}),
    "put": lambda it: it.put(PATH, {"spec": {}}),
    "post": lambda it: it.post(PATH, {"spec": {}}),
    "delete": lambda it: it.delete(PATH),
}
EVERY: dict[str, Call] = {"get": lambda it: it.get(PATH), **WRITES}


@pytest.fixture(params=list(WRITES))
def write(request: pytest.FixtureRequest) -> Call:
    return WRITES[request.param]


@pytest.fixture(params=list(EVERY))
def call(request: pytest.FixtureRequest) -> Call:
    return EVERY[request.param]


async def lines(cluster: Cluster, *, silent_for: timedelta = LONG, many: int = 99) -> list[bytes]:
    found: list[bytes] = []
    async with contextlib.aclosing(cluster.watch("/pods", query={}, silent_for=silent_for)) as watch:
        async for line in watch:
            found.append(line)
            if len(found) == many:
                break
    return found


async def test_selectors_arrive_as_they_were_meant() -> None:
    query = {
        "labelSelector": "app=trips,version in (v1,v2),tier!=x+y",
        "fieldSelector": "metadata.name=a&b",
        "continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEi+/=",
    }
    async with Wire() as wire:
        await wire.cluster().get("/pods", query=query)
    (asked,) = wire.requests
    assert asked.form == query


async def test_a_mapping_is_a_merge_patch_and_a_list_a_json_patch() -> None:
    async with Wire() as wire:
        cluster = wire.cluster()
        await cluster.patch(PATH, {"a": 1})
        await cluster.patch(PATH, [{"op": "test"}])
    kinds = [one.headers["content-type"] for one in wire.requests]
    assert kinds == ["application/merge-patch+json", "application/json-patch+json"]
    assert [json.loads(one.body) for one in wire.requests] == [{"a": 1}, [{"op": "test"}]]


async def test_a_server_that_hangs_leaves_every_call_unanswered_in_time(call: Call) -> None:
    async with Wire(None) as wire:
        cluster = await wire.warm(timeout=SHORT)
        with pytest.raises(Unanswered):
            await call(cluster)
    assert len(wire.requests) == 1


async def test_an_answer_that_stops_in_the_middle_is_none(call: Call) -> None:
    async with Wire(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half":') as wire:
        cluster = await wire.warm(timeout=SHORT)
        with pytest.raises(Unanswered):
            await call(cluster)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_hanging_up_on_a_write_leaves_it_unanswered(write: Call, answer: bytes) -> None:
    async with Wire(answer) as wire:
        cluster = await wire.warm(timeout=SHORT)
        with pytest.raises(Unanswered):
            await write(cluster)
    assert len(wire.requests) == 1


async def test_nobody_there_means_that_nothing_was_sent(call: Call, free_port: Callable[[], int]) -> None:
    async with Wire() as wire:
        cluster = wire.cluster()
        await wire.server.stop()
        with pytest.raises(NotSent, match="cannot be reached"):
            await call(cluster)


async def test_a_kept_connection_that_was_closed_is_tried_once_more_for_a_read() -> None:
    async with Wire(b"", packed('{"again": 1}')) as wire:
        cluster = await wire.warm()
        assert await cluster.get(PATH) == b'{"again": 1}'
    assert len(wire.requests) == 2
    assert wire.writers[0] is not wire.writers[1]


async def test_a_kept_connection_that_was_closed_is_the_end_of_a_write(write: Call) -> None:
    async with Wire(b"") as wire:
        cluster = await wire.warm()
        with pytest.raises(Unanswered):
            await write(cluster)
    assert len(wire.requests) == 1


async def test_a_new_connection_that_was_closed_is_the_end_of_a_read_too() -> None:
    async with Wire(b"") as wire:
        with pytest.raises(Unanswered):
            await wire.cluster(timeout=LONG).get(PATH)
    assert len(wire.requests) == 1


async def test_a_read_is_not_tried_over_and_over() -> None:
    async with Wire(b"") as wire:
        cluster = await wire.warm()
        with pytest.raises(Unanswered):
            await cluster.get(PATH)
    assert len(wire.requests) == 2


async def test_too_many_requests_are_repeated_after_the_time_that_was_asked_for(call: Call) -> None:
    async with Wire(status(429, "slow down", Retry_After="1"), packed('{"done": 1}')) as wire:
        assert await call(wire.cluster(timeout=LONG)) == b'{"done": 1}'
    assert len(wire.requests) == 2


async def test_too_many_requests_for_longer_than_the_call_may_take_were_not_sent(call: Call) -> None:
    async with Wire(status(429, "slow down", Retry_After="20")) as wire:
        cluster = wire.cluster()
        with pytest.raises(NotSent) as refused:
            await call(cluster)
        assert refused.value.retry_after == 20
        with pytest.raises(NotSent):
            await call(cluster)
    assert len(wire.requests) == 1  # the second one kept away


async def test_a_list_that_was_too_much_does_not_hold_back_a_write(write: Call) -> None:
    async with Wire(status(429, "slow down", Retry_After="20"), packed("{}")) as wire:
        cluster = wire.cluster()
        with pytest.raises(NotSent):
            await cluster.get("/pods")
        assert await write(cluster) == b"{}"


@pytest.mark.parametrize("text", ["", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "0"])
async def test_a_retry_after_that_names_no_time_is_a_second(text: str) -> None:
    async with Wire(status(429, "slow down", Retry_After=text), packed('{"done": 1}')) as wire:
        assert await wire.cluster(timeout=LONG).get(PATH) == b'{"done": 1}'


async def test_no_retry_after_is_an_eternity() -> None:
    async with Wire(status(429, "slow down", Retry_After="99999999")) as wire:
        with pytest.raises(NotSent) as refused:
            await wire.cluster(timeout=timedelta(seconds=20)).get(PATH)
    assert refused.value.retry_after == 30


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
async def test_a_4xx_changed_nothing_and_says_why(call: Call, code: int) -> None:
    async with Wire(status(code, "because", reason="Reason")) as wire:
        with pytest.raises(Refused, match="because") as refused:
            await call(wire.cluster())
    assert (refused.value.status, refused.value.reason, refused.value.uncertain) == (code, "Reason", False)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_5xx_may_have_been_done_and_is_not_repeated(call: Call, code: int) -> None:
    async with Wire(status(code, "etcdserver: request timed out")) as wire:
        with pytest.raises(Refused) as refused:
            await call(wire.cluster())
    assert refused.value.uncertain
    assert len(wire.requests) == 1


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(call: Call, code: int) -> None:
    async with Wire(packed("", status=code, headers={"Location": "/elsewhere"})) as wire:
        with pytest.raises(Refused) as refused:
            await call(wire.cluster())
        with pytest.raises(Refused):
            await lines(wire.cluster())
    assert refused.value.status == code
    assert {one.path for one in wire.requests} == {PATH, "/pods"}


async def test_an_error_without_an_explanation_has_one_nevertheless() -> None:
    async with Wire(packed("<html>gateway</html>", status=403)) as wire:
        with pytest.raises(Refused, match=f"GET {PATH}: 403"):
            await wire.cluster().get(PATH)


async def test_a_refused_token_is_read_anew_once(call: Call) -> None:
    async with Wire(status(401, "Unauthorized"), packed("{}")) as wire:
        cluster = wire.cluster()
        wire.token = "two"
        wire.found = 0
        await call(cluster)
    assert [one.headers["authorization"] for one in wire.requests] == ["Bearer two", "Bearer two"]
    assert wire.found == 2


async def test_a_token_that_was_rotated_meanwhile_is_taken_for_watches_too() -> None:
    async with Wire(packed("{}"), status(401, "Unauthorized"), STREAM + chunk(b"{}\n") + END) as wire:
        cluster = wire.cluster()
        await cluster.get(PATH)
        wire.token = "two"
        assert await lines(cluster) == [b"{}\n"]
    assert [one.headers["authorization"] for one in wire.requests] == [
        "Bearer one",
        "Bearer one",
        "Bearer two",
    ]


async def test_a_token_that_stays_refused_is_not_looked_for_with_every_call() -> None:
    async with Wire(status(401, "Unauthorized")) as wire:
        cluster = wire.cluster()
        for _ in range(5):
            with pytest.raises(Refused) as refused:
                await cluster.get(PATH)
            assert refused.value.forbidden
    assert wire.found == 2
    assert len(wire.requests) == 6


async def test_many_who_are_refused_at_once_look_once() -> None:
    async with Wire() as wire:
        cluster = wire.cluster()
        await cluster.get(PATH)
        wire.answers = [*[status(401, "Unauthorized")] * 8, packed("{}")]
        await asyncio.gather(*(cluster.get(PATH) for _ in range(8)))
    assert wire.found == 2


async def test_slow_credentials_are_sought_once_and_those_who_wait_give_up_in_time() -> None:
    gate = asyncio.Event()
    async with Wire() as wire:
        wire.finding = lambda: _until(gate)
        cluster = wire.cluster(timeout=SHORT)
        for _ in range(3):
            with pytest.raises(NotSent):
                await cluster.get(PATH)
        gate.set()
        assert await cluster.get(PATH, timeout=LONG) == b"{}"
    assert wire.found == 1


async def _until(gate: asyncio.Event) -> None:
    await gate.wait()


async def test_no_error_shows_the_token(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    async with Wire(b"") as wire:
        wire.token = "tell-nobody"
        with pytest.raises(ClusterError) as told:
            await call(wire.cluster())
        access = await wire.find(wire.cluster().settings)
    shown: list[Any] = [told.value, told.value.__cause__, access]
    assert not any("tell-nobody" in f"{one} {one!r}" for one in shown)


async def test_a_watch_gives_line_by_line_as_they_come() -> None:
    pieces = [b'{"type":"ADDED"}\n{"ty', b'pe":"BOOKMARK"}\n', b"\n", b'{"half":']
    async with Wire(STREAM + b"".join(map(chunk, pieces)) + END) as wire:
        found = await lines(wire.cluster())
    assert found == [b'{"type":"ADDED"}\n', b'{"type":"BOOKMARK"}\n', b'{"half":']
    assert wire.requests[0].form == {"watch": "true"}


async def test_a_watch_that_is_cut_in_the_middle_of_an_event_is_unanswered() -> None:
    async with Wire(STREAM + chunk(b'{"a":1}\n') + b'40\r\n{"type":"MOD') as wire:
        cluster = wire.cluster()
        async with contextlib.aclosing(cluster.watch("/pods", query={}, silent_for=LONG)) as watch:
            assert await anext(watch) == b'{"a":1}\n'
            await wire.server.stop()
            with pytest.raises(Unanswered):
                await anext(watch)


async def test_a_watch_that_says_nothing_for_too_long_is_unanswered() -> None:
    async with Wire(STREAM + chunk(b"{}\n")) as wire:
        with pytest.raises(Unanswered, match="nothing was heard"):
            await lines(wire.cluster(), silent_for=SHORT)


async def test_a_watch_that_is_not_even_begun_ends_with_the_time_of_a_call() -> None:
    async with Wire(None) as wire:
        cluster = await wire.warm(timeout=SHORT)
        with pytest.raises(Unanswered):
            await lines(cluster)


async def test_a_watch_that_is_refused_says_so() -> None:
    async with Wire(status(410, "too old", reason="Expired")) as wire:
        with pytest.raises(Refused) as refused:
            await lines(wire.cluster())
    assert refused.value.gone


async def test_a_watch_keeps_away_while_it_was_asked_to() -> None:
    async with Wire(status(429, "slow down", Retry_After="20")) as wire:
        cluster = wire.cluster()
        for _ in range(2):
            with pytest.raises(NotSent) as refused:
                await lines(cluster)
            assert refused.value.retry_after > 10
    assert len(wire.requests) == 1


async def test_a_watch_that_is_left_closes_its_connection(eventually: Eventually) -> None:
    async with Wire(STREAM + chunk(b"{}\n" * 3)) as wire:
        assert len(await lines(wire.cluster(), many=1)) == 1
        await eventually(wire.left)


async def test_cancelling_a_call_closes_its_connection(eventually: Eventually) -> None:
    async with Wire(None) as wire:
        task = asyncio.create_task(wire.cluster(timeout=LONG).get(PATH))
        await eventually(lambda: wire.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(wire.left)


async def test_after_the_end_nothing_is_sent(call: Call) -> None:
    async with Wire() as wire:
        cluster = wire.cluster()
        await cluster.get(PATH)
        await cluster.aclose()
        await cluster.aclose()
        with pytest.raises(NotSent, match="closed"):
            await call(cluster)
    assert len(wire.requests) == 1


async def test_calls_and_bytes_are_counted() -> None:
    async with Wire(packed("12345")) as wire:
        cluster = wire.cluster()
        await cluster.get(PATH)
        await cluster.get(PATH)
        assert (cluster.calls, cluster.received) == (2, 10)
