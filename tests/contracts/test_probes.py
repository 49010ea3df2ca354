"""What `watchdog.probes.interface` promises, asked of every kind, against real sockets and processes."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.contracts.probe_rigs import RIGS, Rig
from tests.eventually import Eventually
from tests.servers.peer import RUDE, Peer
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.probes.interface import Probe
from watchdog.probes.registry import KINDS
from watchdog.settings.registry import load

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
#: A check that does not end in time fails its test here, far beyond any timeout that a test sets.
PATIENCE = 15


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


@pytest.fixture(params=[name for name in RIGS if name not in ("command", "kubernetes")])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


@pytest.fixture(params=[name for name, rig in RIGS.items() if rig.listens])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """Those for which a connection is not all."""
    return RIGS[request.param](tmp_path)


@pytest.fixture
async def probe(request: pytest.FixtureRequest) -> AsyncIterator[Probe]:
    name = next(name for name in ("rig", "net", "listening") if name in request.fixturenames)
    made = request.getfixturevalue(name).probe()
    yield made
    await made.aclose()


async def checked(rig: Rig, probe: Probe, settings: dict[str, Any]) -> Pulse | Failed:
    """The settings go the way they go in the daemon: validated, written as JSON, filled in, handed over."""
    wanted = load("probe", KINDS, rig.kind).Settings.model_validate(settings)
    async with asyncio.timeout(PATIENCE):
        return await probe.check(wanted.model_dump(mode="json", by_alias=True), now=NOW)


async def pulse(rig: Rig, probe: Probe, settings: dict[str, Any]) -> Pulse:
    seen = await checked(rig, probe, settings)
    assert isinstance(seen, Pulse), seen
    assert (seen.at, bool(seen.detail), bool(seen.asked)) == (NOW, True, True)
    return seen


async def unable(rig: Rig, probe: Probe, settings: dict[str, Any]) -> Failed:
    seen = await checked(rig, probe, settings)
    assert isinstance(seen, Failed), seen
    assert (seen.reason, bool(seen.detail)) == (FailReason.UNABLE, True)
    return seen


def test_every_kind_has_a_rig() -> None:
    assert {rig.kind for rig in RIGS.values()} == set(KINDS)


async def test_a_healthy_target_is_alive_every_time(rig: Rig, probe: Probe) -> None:
    async with rig.alive() as settings:
        for _ in range(3):
            assert (await pulse(rig, probe, settings)).passed


async def test_a_target_that_refuses_is_dead(rig: Rig, probe: Probe, free_port: Callable[[], int]) -> None:
    async with rig.dead(free_port()) as settings:
        seen = await pulse(rig, probe, settings)
    assert (seen.passed, seen.answered) == (False, rig.told), "a refusal is no answer"


async def test_a_target_that_hangs_is_dead_when_the_time_is_over(listening: Rig, probe: Probe) -> None:
    async with listening.hanging() as (settings, _):
        seen = await pulse(listening, probe, {**settings, "timeout": "700ms"})
    assert (seen.passed, "within 0.7 s" in seen.detail) == (False, True), seen


@pytest.mark.parametrize("rudeness", RUDE)
async def test_a_rude_peer_is_dead_and_never_more_than_that(net: Rig, probe: Probe, rudeness: str) -> None:
    async with Peer(RUDE[rudeness]) as peer:
        seen = await pulse(net, probe, {**net.at("127.0.0.1", peer.port), "timeout": "1s"})
    assert seen.passed is not net.listens, seen
    assert "\xff" not in seen.detail


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as used:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used.fileno(), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_free_descriptor_is_our_own_inability(rig: Rig, probe: Probe) -> None:
    async with rig.alive() as settings:
        assert (await pulse(rig, probe, settings)).passed
        with no_descriptors():
            if rig.told:
                assert (await pulse(rig, probe, settings)).passed, "its connection is open"
            else:
                assert os.strerror(24) in (await unable(rig, probe, settings)).detail
        assert (await pulse(rig, probe, settings)).passed


async def test_no_route_is_our_own_inability(net: Rig, probe: Probe) -> None:
    # No TCP connection leads to a broadcast address; the kernel says so at once.
    assert "unreachable" in (await unable(net, probe, net.at("127.255.255.255", 9))).detail


class Names(AbstractResolver):
    """A resolver that knows what a test tells it; `hang` never answers, an unknown name is an error."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host == "hang":
            await asyncio.Event().wait()
        if host not in self.addresses:
            raise OSError(None, "Temporary failure in name resolution")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses[host]
        ]

    async def close(self) -> None:
        pass


async def test_a_resolver_that_is_down_or_hangs_is_our_own_inability(net: Rig) -> None:
    probe = net.probe(Names({}))
    seen = await unable(net, probe, net.at("nobody.example", 9))
    assert seen.detail == "the name nobody.example cannot be resolved"
    seen = await unable(net, probe, {**net.at("hang", 9), "timeout": "200ms"})
    assert seen.detail == "the name hang was not resolved within 0.2 s"
    await probe.aclose()


async def test_of_several_addresses_one_that_can_be_tried_decides(
    net: Rig, free_port: Callable[[], int]
) -> None:
    port = free_port()
    two, none = ["127.255.255.255", "127.0.0.1"], ["127.255.255.255"] * 2
    probe = net.probe(Names({"two": two, "owt": two[::-1], "none": none}))
    for name in ("two", "owt"):
        seen = await pulse(net, probe, net.at(name, port))
        assert (seen.passed, "Connection refused" in seen.detail) == (False, True), seen
    assert "unreachable" in (await unable(net, probe, net.at("none", port))).detail
    await probe.aclose()


@pytest.mark.parametrize(
    "value", ["", "a b", "it's", '"', "; rm -rf /", "a\nb", "\0", "$(x)", "é", "-v", "\\"]
)
async def test_no_value_of_a_variable_makes_a_check_raise(rig: Rig, probe: Probe, value: str) -> None:
    for settings in rig.naming(value):
        async with asyncio.timeout(PATIENCE):
            seen = await probe.check(settings, now=NOW)
        assert isinstance(seen, Pulse | Failed)
        assert seen.detail


async def test_settings_that_became_unusable_are_our_own_inability(rig: Rig, probe: Probe) -> None:
    async with rig.alive() as settings:
        seen = await probe.check({**settings, "timeout": "soon"}, now=NOW)
    assert isinstance(seen, Failed)
    assert "timeout" in seen.detail


async def test_a_cancelled_check_is_cancelled(listening: Rig, probe: Probe, eventually: Eventually) -> None:
    async with listening.hanging() as (settings, reached):
        check = asyncio.create_task(checked(listening, probe, {**settings, "timeout": "10s"}))
        await eventually(reached)
        check.cancel()
        with pytest.raises(asyncio.CancelledError):
            await check


async def test_a_hanging_target_holds_up_no_other(
    listening: Rig, probe: Probe, eventually: Eventually
) -> None:
    async with listening.hanging() as (hanging, reached), listening.alive() as settings:
        slow = asyncio.create_task(checked(listening, probe, {**hanging, "timeout": "10s"}))
        await eventually(reached)
        assert (await pulse(listening, probe, settings)).passed
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_closing_is_final_and_may_be_repeated(rig: Rig, probe: Probe) -> None:
    async with rig.alive() as settings:
        assert (await pulse(rig, probe, settings)).passed
        await probe.aclose()
        await probe.aclose()
        assert "closed" in (await unable(rig, probe, settings)).detail


def test_it_works_on_the_daemons_own_loop(rig: Rig, free_port: Callable[[], int]) -> None:
    async def both() -> tuple[Pulse, Pulse]:
        probe = rig.probe()
        try:
            async with rig.alive() as alive, rig.dead(free_port()) as dead:
                return await pulse(rig, probe, alive), await pulse(rig, probe, dead)
        finally:
            await probe.aclose()

    good, bad = uvloop.run(both())
    assert (good.passed, bad.passed) == (True, False)
