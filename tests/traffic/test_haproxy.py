"""The HAProxy switch on a real HAProxy, and on a stand-in where a real one cannot be made to fail so."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout
from pydantic import ValidationError

from tests.contracts.traffic_rigs import checked
from tests.eventually import Eventually
from tests.servers.haproxy import HAProxy, Server
from tests.traffic.admin import Admin, dump, stat, state_row
from tests.traffic.backend import Backend
from watchdog.core.errors import SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.haproxy import HAProxySettings, HAProxySwitch
from watchdog.traffic.readiness import WithReadiness

StartHAProxy = Callable[[dict[str, list[Server]]], HAProxy]
StartBackend = Callable[[str], Awaitable[Backend]]
#: For what answers; and for what does not.
PATIENT, SHORT = timedelta(seconds=3), timedelta(seconds=0.4)
VARIANTS = {"blue": "srv_blue", "green": "srv_green"}


@pytest.fixture
async def start_backend() -> AsyncIterator[StartBackend]:
    async with contextlib.AsyncExitStack() as stack:
        yield lambda name: stack.enter_async_context(Backend(name))


def settings(socket: Path | str, **other: Any) -> HAProxySettings:
    facts = {
        "socket": str(socket),
        "backend": "trips",
        "variants": VARIANTS,
        "timeout": PATIENT,
    }
    return HAProxySettings.model_validate(facts | other)


def switch(socket: Path | str, **other: Any) -> HAProxySwitch:
    return HAProxySwitch(settings(socket, **other), name="trips")


def to_green(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": state.revision, "mark": "rb-1"}
    return Change(**(facts | other))


async def pair(start_haproxy: StartHAProxy, start_backend: StartBackend, **green: Any) -> HAProxy:
    """Blue live, green on standby; both have passed their first check unless green has none."""
    blue_app, green_app = await start_backend("blue"), await start_backend("green")
    facts: dict[str, Any] = {"name": "srv_green", "port": green_app.port, "weight": 0}
    servers = [Server(name="srv_blue", port=blue_app.port, weight=30), Server(**(facts | green))]
    return start_haproxy({"trips": servers})


def row(haproxy: HAProxy, server: str) -> dict[str, str]:
    return haproxy.servers("trips")[server]


async def test_a_request_counts_from_when_it_is_sent_so_that_a_slow_answer_is_not_one_after_the_switch(
    start_haproxy: StartHAProxy, start_backend: StartBackend, eventually: Eventually
) -> None:
    slow = await start_backend("slow")
    haproxy = start_haproxy(
        {"trips": [Server(name="srv_blue", port=slow.port), Server(name="srv_green", port=1)]}
    )
    slow.answering.clear()

    async def counted() -> int | None:
        return (await switch(haproxy.socket).read()).variants["blue"].requests

    async with ClientSession(timeout=ClientTimeout(total=10)) as session:
        asking = asyncio.create_task(session.get(f"http://127.0.0.1:{haproxy.front['trips']}/"))
        await eventually(lambda: slow.served == 1)
        before = await counted()
        slow.answering.set()
        async with await asking as answer:
            assert await answer.text() == "slow"
    assert (before, await counted()) == (1, 1)


# Settings


def test_a_single_server_may_be_written_as_a_word() -> None:
    made = settings("/run/haproxy/admin.sock", variants={"blue": "a", "green": ["b", "c"]})
    assert made.variants == {"blue": ("a",), "green": ("b", "c")}
    assert made.timeout == PATIENT
    assert HAProxySettings.model_fields["timeout"].default == timedelta(seconds=2)


@pytest.mark.parametrize(
    "socket", ["/run/haproxy/admin.sock", "tcp://127.0.0.1:9999", "tcp://[::1]:9999", "tcp://lb.internal:1"]
)
def test_a_socket_is_a_path_or_a_tcp_address(socket: str) -> None:
    assert settings(socket).socket == socket


def test_a_socket_may_be_a_path_object_and_nothing_stranger() -> None:
    facts = {"backend": "trips", "variants": VARIANTS}
    assert HAProxySettings.model_validate(facts | {"socket": Path("/run/x")}).socket == "/run/x"
    with pytest.raises(ValidationError, match="valid string"):
        HAProxySettings.model_validate(facts | {"socket": 9999})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"socket": "run/admin.sock"}, "neither an absolute path nor tcp://HOST:PORT"),
        ({"socket": "127.0.0.1:9999"}, "neither an absolute path"),
        ({"socket": "tcp://127.0.0.1:99999"}, "neither an absolute path"),
        ({"socket": "tcp://127.0.0.1"}, "neither an absolute path"),
        ({"socket": "/run/admin\n.sock"}, "neither an absolute path"),
        ({"socket": "/" + "x" * 107}, "at most 107 bytes"),
        ({"backend": "trips;shutdown sessions"}, "pattern"),
        ({"backend": "trips\n"}, "pattern"),
        ({"backend": ""}, "pattern"),
        ({"variants": {"blue": "a b", "green": "c"}}, "pattern"),
        ({"variants": {"blue": "a/b", "green": "c"}}, "pattern"),
        ({"variants": {"blue": "#1", "green": "c"}}, "pattern"),
        ({"variants": {"blue": ["a"]}}, "at least 2"),
        ({"variants": {"blue": [], "green": "b"}}, "at least 1"),
        ({"variants": {"blue": "a", "green": ["b", "a"]}}, "server 'a' is in 'blue' and in variant 'green'"),
        ({"variants": {"blue": "a", "green": ["b", "b"]}}, "server 'b' is twice in variant 'green'"),
        ({"variants": {"blue": "a", "green": [f"server-{n}" for n in range(400)]}}, "too many"),
        ({"weight": 3}, "Extra inputs"),
        ({"timeout": "0"}, "greater than"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**({"socket": "/run/haproxy/admin.sock"} | wrong))


def test_the_identity_is_the_real_socket_and_the_backend(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "admin.sock")
    assert switch(tmp_path / "link").identity == f"haproxy:{os.path.realpath(tmp_path / 'admin.sock')}:trips"
    assert switch("tcp://127.0.0.1:9999").identity == "haproxy:tcp://127.0.0.1:9999:trips"


def test_it_says_that_it_may_know_readiness() -> None:
    assert HAProxySwitch.knows_readiness(settings("/run/haproxy/admin.sock"))
    assert HAProxySwitch.Settings is HAProxySettings


# Reading a real one


async def test_it_counts_requests_and_knows_addresses(
    start_haproxy: StartHAProxy, start_backend: StartBackend, eventually: Eventually
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    await eventually(lambda: checked(haproxy, "trips"))
    async with ClientSession(timeout=ClientTimeout(total=5)) as session:
        for _ in range(3):
            async with session.get(f"http://127.0.0.1:{haproxy.front['trips']}/") as answer:
                assert await answer.text() == "blue"
    state = await switch(haproxy.socket).read()
    blue, green = state.variants["blue"], state.variants["green"]
    assert (blue.weight, blue.requests, green.weight, green.requests) == (30, 3, 0, 0)
    assert blue.version is None
    assert (blue.ready, blue.total, blue.note) == (1, 1, "")
    assert all(address.startswith("127.0.0.1:") for address in blue.addresses + green.addresses)


async def test_a_dead_standby_has_nothing_ready(
    start_haproxy: StartHAProxy,
    start_backend: StartBackend,
    free_port: Callable[[], int],
    eventually: Eventually,
) -> None:
    haproxy = await pair(start_haproxy, start_backend, port=free_port())
    await eventually(lambda: row(haproxy, "srv_green")["status"] == "DOWN")
    green = (await switch(haproxy.socket).read()).variants["green"]
    assert (green.ready, green.total, green.note) == (0, 1, "")


async def test_a_standby_in_drain_goes_on_being_checked(
    start_haproxy: StartHAProxy, start_backend: StartBackend, eventually: Eventually
) -> None:
    haproxy = await pair(start_haproxy, start_backend, weight=30)
    haproxy.command("set server trips/srv_green state drain")
    await eventually(lambda: checked(haproxy, "trips"))
    green = (await switch(haproxy.socket).read()).variants["green"]
    assert (green.weight, green.ready) == (0, 1)


async def test_a_standby_without_check_is_of_unknown_readiness(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, check=False)
    green = (await switch(haproxy.socket).read()).variants["green"]
    assert (green.ready, green.total, green.note) == (None, 1, "srv_green: no health check")


async def test_a_standby_in_maintenance_is_ready_only_by_a_passing_probe(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, extra="disabled", weight=50)
    plain = switch(haproxy.socket)
    before = await plain.read()
    green = before.variants["green"]
    assert (green.weight, green.ready) == (0, None)
    assert green.note == "srv_green: in maintenance: not ready without a passing probe"
    asked: list[str] = []

    async def probe(address: str) -> bool:
        asked.append(address)
        timeout = ClientTimeout(total=2)
        async with (
            ClientSession(timeout=timeout) as session,
            session.get(f"http://{address}/healthz") as answer,
        ):
            return answer.status == 200

    probing = WithReadiness(plain, probe)
    state = await probing.read()
    assert state.variants["green"].ready == 1
    assert state.revision == before.revision
    assert asked == list(green.addresses)
    after = await probing.apply(to_green(state))
    assert (after.live, after.variants["green"].weight) == (("green",), 50)
    assert after.variants["blue"].ready == 1  # in maintenance by now, and asked


async def test_all_servers_of_a_variant_count(
    start_haproxy: StartHAProxy,
    start_backend: StartBackend,
    free_port: Callable[[], int],
    eventually: Eventually,
) -> None:
    apps = [await start_backend(name) for name in ("blue", "green1")]
    haproxy = start_haproxy(
        {
            "trips": [
                Server(name="srv_blue", port=apps[0].port),
                Server(name="srv_green1", port=apps[1].port, weight=0),
                Server(name="srv_green2", port=free_port(), weight=20, extra="disabled"),
            ]
        }
    )
    haproxy.command("set server trips/srv_green2 state drain")
    await eventually(lambda: row(haproxy, "srv_green1")["check_status"].endswith("L7OK"))
    await eventually(lambda: row(haproxy, "srv_green2")["check_status"].endswith("L4CON"))
    both = switch(haproxy.socket, variants={"blue": "srv_blue", "green": ["srv_green1", "srv_green2"]})
    state = await both.read()
    green = state.variants["green"]
    assert (green.weight, green.ready, green.total, len(green.addresses)) == (0, 1, 2, 2)
    after = await both.apply(to_green(state))
    assert after.variants["green"].weight == 100 + 20
    assert after.live == ("green",)


async def test_a_backup_server_is_live_only_when_no_other_may_serve(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, extra="backup", weight=5)
    one = switch(haproxy.socket)
    state = await one.read()
    assert state.live == ("blue",)
    after = await one.apply(to_green(state))
    assert after.live == ("green",)
    back = await one.apply(to_green(after, target="blue", away=("green",)))
    assert back.live == ("blue",)


async def test_hundreds_of_reads_at_once_are_all_answered(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    reader = switch(haproxy.socket, timeout=timedelta(seconds=20))
    states = await asyncio.gather(*(reader.read() for _ in range(300)))
    assert {tuple(state.live) for state in states} == {("blue",)}


async def test_it_speaks_tcp(
    start_haproxy: StartHAProxy, start_backend: StartBackend, free_port: Callable[[], int]
) -> None:
    port = free_port()
    haproxy = await pair(start_haproxy, start_backend)
    line = f"global\n    stats socket ipv4@127.0.0.1:{port} level admin\n"
    haproxy.config.write_text(haproxy.config.read_text().replace("global\n", line))
    haproxy.reload()
    one = switch(f"tcp://127.0.0.1:{port}")
    assert (await one.apply(to_green(await one.read()))).live == ("green",)


# Changing a real one


async def test_a_standby_at_weight_0_gets_the_weight_of_what_is_live(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, weight=0)
    one = switch(haproxy.socket)
    after = await one.apply(to_green(await one.read()))
    assert after.variants["green"].weight == 30
    assert row(haproxy, "srv_blue")["status"] == "MAINT"


async def test_a_standby_gets_its_configured_weight_back(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, weight=70)
    haproxy.command("set server trips/srv_green weight 0")
    one = switch(haproxy.socket)
    after = await one.apply(to_green(await one.read()))
    assert after.variants["green"].weight == 70


async def test_a_reload_that_undid_the_change_is_seen(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    one = switch(haproxy.socket)
    before = await one.read()
    after = await one.apply(to_green(before))
    assert after.live == ("green",)
    haproxy.reload()
    seen = await one.read()
    assert seen.live == ("blue",)
    assert seen.revision == before.revision


async def test_no_request_fails_while_traffic_moves(
    start_haproxy: StartHAProxy, start_backend: StartBackend, eventually: Eventually
) -> None:
    blue, green = await start_backend("blue"), await start_backend("green")
    haproxy = start_haproxy(
        {
            "trips": [
                Server(name="srv_blue", port=blue.port),
                Server(name="srv_green", port=green.port, weight=0),
            ]
        }
    )
    await eventually(lambda: checked(haproxy, "trips"))
    one = switch(haproxy.socket, timeout=timedelta(seconds=2))
    seen: list[tuple[int, str]] = []
    over = asyncio.Event()

    async def ask(session: ClientSession) -> None:
        while not over.is_set():
            async with session.get(f"http://127.0.0.1:{haproxy.front['trips']}/") as answer:
                seen.append((answer.status, await answer.text()))

    async with ClientSession(timeout=ClientTimeout(total=5)) as session, asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ask(session), name=f"client {number}")
        await eventually(lambda: len(seen) > 50)
        assert {body for _, body in seen} == {"blue"}
        await one.apply(to_green(await one.read()))
        # Requests that were in HAProxy at that moment end; after those every one goes to green.
        await eventually(lambda: [body for _, body in seen[-20:]] == ["green"] * 20)
        served = blue.served
        done = len(seen)
        await eventually(lambda: len(seen) > done + 50)
        over.set()
    assert {status for status, _ in seen} == {200}
    assert blue.served == served


async def test_a_target_that_follows_what_goes_is_refused(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, check=False, weight=0, extra="track srv_blue")
    one = switch(haproxy.socket)
    state = await one.read()
    with pytest.raises(SwitchRejected, match="tracks trips/srv_blue, which is to go; nothing was changed"):
        await one.apply(to_green(state))
    assert (await one.read()).revision == state.revision


async def test_a_target_that_inherits_maintenance_is_refused(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, check=False, weight=0)
    text = haproxy.config.read_text().rstrip()
    haproxy.config.write_text(f"{text} track srv_third\n    server srv_third 127.0.0.1:1 check disabled\n")
    haproxy.reload()
    one = switch(haproxy.socket)
    with pytest.raises(SwitchRejected, match="inherits its state from trips/srv_third"):
        await one.apply(to_green(await one.read()))


async def test_weights_that_the_algorithm_refuses_change_nothing(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend, weight=0)
    text = haproxy.config.read_text().replace(
        "    option httpchk", "    balance static-rr\n    option httpchk"
    )
    haproxy.config.write_text(text)
    haproxy.reload()
    one = switch(haproxy.socket)
    state = await one.read()
    with pytest.raises(SwitchRejected, match=r"static LB algorithm .*nothing was changed"):
        await one.apply(to_green(state))
    assert (await one.read()).revision == state.revision


async def test_without_the_admin_level_it_looks_but_is_refused_a_change(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    one = switch(haproxy.socket)
    assert await one.level() == "admin"
    haproxy.config.write_text(haproxy.config.read_text().replace("level admin", "level user"))
    haproxy.reload()
    assert await one.level() == "user"
    told = await one.inspect()
    assert told is not None
    assert "the level 'user'" in told
    assert f"under `global`, write: stats socket {haproxy.socket} level admin" in told
    state = await one.read()
    assert state.live == ("blue",)
    with pytest.raises(
        SwitchRejected, match=r"Permission denied \(the `stats socket` line needs `level admin`\)"
    ):
        await one.apply(to_green(state))
    assert (await one.read()).revision == state.revision


async def test_a_missing_server_is_named_with_the_nearest_there_is(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    one = switch(haproxy.socket, variants={"blue": "srv_blue", "green": "srv_gren"})
    with pytest.raises(SwitchUnreachable, match=r"has no server 'srv_gren'; did you mean 'srv_green'\?"):
        await one.read()
    other = switch(haproxy.socket, variants={"blue": "srv_blue", "green": "xyz"})
    with pytest.raises(SwitchUnreachable, match=r"no server 'xyz' \(it has: srv_blue, srv_green\)"):
        await other.read()


async def test_a_frontend_may_have_the_name_of_the_backend(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    haproxy.stop()
    haproxy.config.write_text(haproxy.config.read_text().replace("frontend front_trips", "frontend trips"))
    haproxy.start()
    one = switch(haproxy.socket)
    assert (await one.read()).variants["blue"].requests == 0
    # A reload numbers proxies anew: the number that was right is another proxy's then.
    haproxy.stop()
    more = "backend first\nbackend second\nfrontend trips"
    haproxy.config.write_text(haproxy.config.read_text().replace("frontend trips", more))
    haproxy.start()
    assert (await one.read()).variants["blue"].requests == 0


async def test_a_missing_backend_is_named_with_the_nearest_there_is(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    with pytest.raises(SwitchUnreachable, match=r"has no backend 'trip'; did you mean 'trips'\?"):
        await switch(haproxy.socket, backend="trip").read()


async def test_a_frozen_haproxy_is_unreachable_within_the_timeout(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    one = switch(haproxy.socket, timeout=SHORT)
    haproxy.freeze()
    began = asyncio.get_running_loop().time()
    with pytest.raises(SwitchUnreachable, match=r"no complete answer within 0\.4 s"):
        await one.read()
    assert asyncio.get_running_loop().time() - began < 1.0
    haproxy.thaw()
    assert (await switch(haproxy.socket).read()).live == ("blue",)


async def test_a_stopped_haproxy_is_unreachable(
    start_haproxy: StartHAProxy, start_backend: StartBackend
) -> None:
    haproxy = await pair(start_haproxy, start_backend)
    haproxy.kill()
    with pytest.raises(SwitchUnreachable, match=r"nobody listens at .*is HAProxy running\?"):
        await switch(haproxy.socket).read()
    haproxy.socket.unlink(missing_ok=True)
    with pytest.raises(SwitchUnreachable, match="no such socket"):
        await switch(haproxy.socket).read()


# What a real one cannot be brought to

BOTH = dump(state_row("srv_blue"), state_row("srv_green", admin=8))
READ = BOTH + stat("srv_blue", "srv_green")
ENTERED = dump(state_row("srv_blue"), state_row("srv_green"))
LEFT = dump(state_row("srv_blue", admin=1), state_row("srv_green")) + stat("srv_blue", "srv_green")


async def test_the_target_enters_before_the_others_leave() -> None:
    async with Admin([READ, READ, "\n\n" + ENTERED, "\n\n\n", LEFT]) as admin:
        one = switch(admin.socket)
        after = await one.apply(to_green(await one.read()))
    assert after.live == ("green",)
    assert admin.lines[1:] == [
        "show servers state trips;show stat trips 4 -1",
        "set server trips/srv_green weight 100;set server trips/srv_green state ready;show servers state trips",
        # Once more with the leaving: a reload in between must not leave nobody.
        (
            "set server trips/srv_green weight 100;set server trips/srv_green state ready;"
            "set server trips/srv_blue state maint"
        ),
        "show servers state trips;show stat trips 4 -1",
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no complete answer: nothing"),
        ("HTTP/1.1 400 Bad request\r\n\r\n", "HTTP/1.1 400"),
        (bytes(range(256)) * 4, "no complete answer"),
        (READ[: len(READ) // 2], "no complete answer"),
        (b"x" * (9 * 1024 * 1024), "longer than"),
        ("Permission denied\n\n", "needs `level admin`"),
        (BOTH, "does not list the server"),
        (None, "no complete answer within"),
    ],
    ids=["closes", "http", "bytes", "half", "endless", "denied", "no-stat", "silent"],
)
async def test_an_answer_that_is_none_is_unreachable(answer: str | bytes | None, said: str) -> None:
    async with Admin([answer]) as admin:
        with pytest.raises(SwitchUnreachable, match=said):
            await switch(admin.socket, timeout=PATIENT if answer else SHORT).read()
    # Counters that are missing are asked for once more, by the backend's number.
    assert len(admin.lines) == (2 if answer == BOTH else 1)


async def test_the_level_of_a_socket_that_is_gone_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(SwitchUnreachable, match="no such socket"):
        await switch(tmp_path / "admin.sock").level()
    assert "no such socket" in str(await switch(tmp_path / "admin.sock").inspect())


async def test_with_nobody_to_leave_only_the_target_moves() -> None:
    async with Admin([READ, READ, "\n\n" + ENTERED, ENTERED + stat("srv_blue", "srv_green")]) as admin:
        one = switch(admin.socket)
        after = await one.apply(to_green(await one.read(), away=()))
    assert after.live == ("blue", "green")
    assert not [line for line in admin.lines if "maint" in line]


async def test_a_refusal_before_a_write_leaves_all_as_it_was() -> None:
    async with Admin([READ]) as admin:
        one = switch(admin.socket)
        state = await one.read()
        await admin.close()
        # Since Python 3.13 a unix socket that is closed is removed, too.
        with pytest.raises(SwitchUnreachable, match=r"nobody listens|no such socket"):
            await one.apply(to_green(state))


@pytest.mark.parametrize("answer", [None, b"", "\n\n" + ENTERED[:40]], ids=["silent", "closes", "half"])
async def test_a_connection_lost_in_the_first_write_is_unknown_and_nobody_leaves(
    answer: str | bytes | None,
) -> None:
    async with Admin([READ, READ, answer]) as admin:
        one = switch(admin.socket, timeout=PATIENT if answer else SHORT)
        state = await one.read()
        with pytest.raises(SwitchUnknown):
            await one.apply(to_green(state))
    assert not [line for line in admin.lines if "maint" in line]


@pytest.mark.parametrize(
    "answer", [None, b"", "\n\nNo such server.\n\n"], ids=["silent", "closes", "complains"]
)
async def test_a_fault_in_the_second_write_is_unknown(answer: str | bytes | None) -> None:
    async with Admin([READ, READ, "\n\n" + ENTERED, answer]) as admin:
        one = switch(admin.socket, timeout=PATIENT if answer else SHORT)
        state = await one.read()
        with pytest.raises(SwitchUnknown, match="'green' is in"):
            await one.apply(to_green(state))
    assert admin.lines[-1].endswith(";set server trips/srv_blue state maint")


async def test_a_fault_in_the_read_back_is_unknown() -> None:
    async with Admin([READ, READ, "\n\n" + ENTERED, "\n\n\n", "garbage"]) as admin:
        one = switch(admin.socket)
        state = await one.read()
        with pytest.raises(SwitchUnknown, match="not read back"):
            await one.apply(to_green(state))


async def test_a_refused_target_keeps_the_others_where_they_are() -> None:
    gone = "No such server.\n\nNo such server.\n\n" + BOTH
    async with Admin([READ, READ, gone]) as admin:
        one = switch(admin.socket)
        state = await one.read()
        with pytest.raises(SwitchRejected, match=r"refused: No such server\.; nothing was changed"):
            await one.apply(to_green(state))
    assert not [line for line in admin.lines if "maint" in line]


@pytest.mark.parametrize(
    "answer",
    [
        "\nNo such server.\n\n" + dump(state_row("srv_blue"), state_row("srv_green", admin=8, weight=7)),
        "\n\n" + BOTH,
    ],
    ids=["half-refused", "accepted-without-effect"],
)
async def test_a_target_that_is_in_only_in_part_keeps_the_others_where_they_are(answer: str) -> None:
    async with Admin([READ, READ, answer]) as admin:
        one = switch(admin.socket)
        state = await one.read()
        with pytest.raises(SwitchUnknown, match="only in part"):
            await one.apply(to_green(state))
    assert not [line for line in admin.lines if "maint" in line]


async def test_a_target_without_an_address_is_refused() -> None:
    unresolved = dump(state_row("srv_blue"), state_row("srv_green", admin=32, address="-"))
    async with Admin([unresolved + stat("srv_blue", "srv_green")]) as admin:
        one = switch(admin.socket)
        state = await one.read()
        assert state.variants["green"].addresses == ()
        with pytest.raises(SwitchRejected, match="has no address"):
            await one.apply(to_green(state))


async def test_the_writes_and_the_read_back_share_one_timeout() -> None:
    async with Admin([READ, READ, "\n\n" + ENTERED, None]) as admin:
        one = switch(admin.socket, timeout=timedelta(seconds=0.3))
        state = await one.read()
        began = asyncio.get_running_loop().time()
        with pytest.raises(SwitchUnknown):
            await one.apply(to_green(state))
        assert asyncio.get_running_loop().time() - began < 0.6


async def test_when_cancelled_in_a_write_it_stops_there() -> None:
    async with Admin([READ, READ, None]) as admin:
        one = switch(admin.socket, timeout=timedelta(seconds=5))
        state = await one.read()
        call = asyncio.create_task(one.apply(to_green(state)), name="a change")
        while len(admin.lines) < 3:
            await asyncio.wait([call], timeout=0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert len(admin.lines) == 3
