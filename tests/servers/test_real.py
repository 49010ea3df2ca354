"""The real servers start, do their one thing, and are gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout, web

from tests.eventually import Eventually
from tests.servers.alertmanager import Alertmanager
from tests.servers.haproxy import HAProxy, Server
from tests.servers.process import http_get
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp

StartApp = Callable[..., VersionedApp]
StartHAProxy = Callable[[Mapping[str, Sequence[Server]]], HAProxy]
StartPrometheus = Callable[..., Prometheus]


def test_the_app_fails_as_often_as_it_is_told(start_app: StartApp) -> None:
    app = start_app(version="v2", fail_every=5)
    assert [http_get(app.port, "/")[0] for _ in range(5)] == [200, 200, 200, 200, 500]
    app.control(fail_every=0, gauges={"queue_depth": 12})
    assert {http_get(app.port, "/")[0] for _ in range(10)} == {200}
    metrics = http_get(app.port, "/metrics")[1]
    assert 'http_requests_total{service="trips",version="v2",status="500"} 1\n' in metrics
    assert 'queue_depth{service="trips",version="v2"} 12.0\n' in metrics
    app.control(healthy=False)
    assert http_get(app.port, "/healthz")[0] == 503


async def test_haproxy_moves_traffic_when_told(
    start_app: StartApp, start_haproxy: StartHAProxy, eventually: Eventually
) -> None:
    blue, green = start_app(version="v1"), start_app(version="v2")
    haproxy = start_haproxy(
        {
            "trips": [
                Server(name="srv_blue", port=blue.port),
                Server(name="srv_green", port=green.port, weight=0),
            ]
        }
    )
    assert haproxy.check_config() == ""
    await eventually(lambda: haproxy.servers("trips")["srv_green"]["status"] == "UP")
    assert http_get(haproxy.front["trips"], "/") == (200, "v1\n")
    haproxy.command("set server trips/srv_green weight 100")
    haproxy.command("set server trips/srv_blue weight 0")
    assert http_get(haproxy.front["trips"], "/") == (200, "v2\n")


async def test_a_reload_of_haproxy_forgets_what_was_set_at_run_time(
    start_app: StartApp, start_haproxy: StartHAProxy
) -> None:
    app = start_app(version="v1")
    haproxy = start_haproxy({"trips": [Server(name="srv_blue", port=app.port)]})
    haproxy.command("set server trips/srv_blue weight 7")
    assert haproxy.servers("trips")["srv_blue"]["weight"] == "7"
    before = haproxy.pid
    haproxy.reload()
    assert haproxy.pid != before
    assert haproxy.servers("trips")["srv_blue"]["weight"] == "100"
    assert http_get(haproxy.front["trips"], "/") == (200, "v1\n")


def test_haproxy_leaves_nothing_behind(tmp_path: Path, start_app: StartApp) -> None:
    app = start_app(version="v1")
    haproxy = HAProxy(tmp_path, {"trips": [Server(name="srv_blue", port=app.port)]})
    try:
        haproxy.start()
        pid = haproxy.pid
    finally:
        haproxy.discard()
    assert not Path(f"/proc/{pid}").exists()
    assert not haproxy.socket.parent.exists()


@pytest.mark.timeout(60)
async def test_prometheus_scrapes_the_app(
    start_app: StartApp, start_prometheus: StartPrometheus, eventually: Eventually
) -> None:
    app = start_app(version="v1")
    prometheus = start_prometheus([Target(job="trips", port=app.port, labels={"team": "booking"})])
    await eventually(prometheus.up, within=15, what="a first scrape")
    body = http_get(prometheus.port, "/api/v1/query?query=http_requests_total")[1]
    assert '"team":"booking"' in body
    assert '"version":"v1"' in body


@pytest.mark.timeout(60)
async def test_an_alert_of_prometheus_reaches_the_webhook_through_alertmanager(
    start_app: StartApp,
    start_prometheus: StartPrometheus,
    start_alertmanager: Callable[[str], Alertmanager],
    free_port: Callable[[], int],
    eventually: Eventually,
) -> None:
    alerts: list[str] = []

    async def hook(request: web.Request) -> web.Response:
        alerts.extend(alert["labels"]["alertname"] for alert in (await request.json())["alerts"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        alertmanager = start_alertmanager(f"http://127.0.0.1:{port}/hook")
        source = start_app(version="v1")
        prometheus = start_prometheus(
            [Target(job="trips", port=source.port)],
            rules=[{"alert": "Deep", "expr": "queue_depth > 10"}],
            alertmanager_port=alertmanager.port,
        )
        await eventually(lambda: prometheus.alertmanagers() and prometheus.up(), within=15)
        source.control(gauges={"queue_depth": 12})
        await eventually(lambda: "Deep" in alerts, within=20, what="the alert at the webhook")
    finally:
        await runner.cleanup()


async def test_the_app_answers_many_at_once(start_app: StartApp) -> None:
    app = start_app(version="v1", fail_every=4)

    async with ClientSession(timeout=ClientTimeout(total=5)) as session:

        async def ask() -> int:
            async with session.get(app.url) as answer:
                return answer.status

        statuses = await asyncio.gather(*(ask() for _ in range(100)))
    assert statuses.count(500) == 25
