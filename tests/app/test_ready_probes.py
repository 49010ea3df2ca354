"""`ready` of every kind of probe, from the configuration to the standby's readiness, against real listeners."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.app.conftest import Home
from tests.servers.health import HealthServer
from tests.servers.peer import Peer, hang
from watchdog.app.build import build_probes, build_switches
from watchdog.app.shared import Shared
from watchdog.core.traffic import VariantState
from watchdog.testing.clock import StillClock

CLOCK = StillClock(datetime(2026, 3, 2, 10, 0, tzinfo=UTC))
LOOK = "import os, sys; sys.exit(os.environ['AT'] != sys.argv[1] or not sys.argv[1].endswith(sys.argv[2]))"


async def standby(home: Home, ready: dict[str, Any], *addresses: str) -> VariantState:
    home.settings["services"] = [home.service("trips", "trips", ready=ready)]
    green = {"weight": 0, "addresses": addresses}
    variants = {"blue": {"weight": 100, "ready": 1, "total": 1}, "green": green}
    (home.folder / "trips.json").write_text(json.dumps({"revision": "1", "variants": variants}))
    configuration = home.load()
    shared = Shared(clock=CLOCK)
    probes = build_probes(configuration, shared=shared)
    switch = build_switches(configuration, probes, shared=shared, clock=CLOCK)["trips"]
    try:
        return (await switch.read()).variants["green"]
    finally:
        await switch.aclose()
        for probe in probes.values():
            await probe.aclose()


async def test_a_port_that_is_open_is_ready(home: Home, free_port: Callable[[], int]) -> None:
    async with Peer(hang) as peer:
        ready = {"kind": "tcp", "address": "{address}"}
        seen = await standby(home, ready, f"127.0.0.1:{peer.port}", f"127.0.0.1:{free_port()}")
    assert (seen.ready, seen.total) == (1, 2)


@pytest.mark.parametrize(("status", "ready"), [("SERVING", 1), ("NOT_SERVING", 0)])
async def test_a_server_that_serves_is_ready(home: Home, status: str, ready: int) -> None:
    with HealthServer() as server:
        server.tell("", status)
        seen = await standby(home, {"kind": "grpc", "address": "{address}"}, f"127.0.0.1:{server.port}")
    assert (seen.ready, seen.total) == (ready, 1)


async def test_a_program_says_what_is_ready(home: Home) -> None:
    ready = {
        "kind": "command",
        "argv": [sys.executable, "-I", "-S", "-c", LOOK, "{address}", "81"],
        "environment": {"AT": "{address}"},
    }
    seen = await standby(home, ready, "127.0.0.1:8081", "127.0.0.1:8082")
    assert (seen.ready, seen.total) == (1, 2)


async def test_an_address_that_cannot_be_tried_stays_unknown(home: Home) -> None:
    seen = await standby(home, {"kind": "tcp", "address": "{address}"}, "127.255.255.255:9")
    assert seen.ready is None
