"""`watchdog doctor` beside a real Prometheus and a real nginx: each trouble by its name, within bounded time."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.nginx import Nginx
from tests.servers.process import ROOT
from tests.servers.prometheus import Prometheus
from tests.traffic.nginx_rig import NginxRig, nginx_rig

pytestmark = pytest.mark.timeout(90)

EVERY = 20


def history() -> Iterator[str]:
    """Twenty minutes of counters, scraped every twenty seconds, a little beyond now."""
    now = time.time()
    moments = [now - 1200 + EVERY * number for number in range((1200 + 60) // EVERY)]
    yield "# TYPE http_requests counter\n"
    for labels in ('service="trips",status="200"', 'service="hotels",status="200"'):
        for number, at in enumerate(moments):
            yield f"http_requests_total{{{labels}}} {number * 50} {at:.3f}\n"
    # Renamed ten minutes ago.
    for name, some in (("checkouts", moments[:30]), ("shop_checkouts", moments[30:])):
        yield f"# TYPE {name} counter\n"
        for number, at in enumerate(some):
            yield f'{name}_total{{service="trips",status="200"}} {number * 50} {at:.3f}\n'


def rule(name: str, selector: str, **other: Any) -> dict[str, Any]:
    return {
        "name": name,
        "ratio": {"bad": selector.replace("}", ',status=~"5.."}'), "total": selector},
        "window": "2m",
        "threshold": {"critical": "1%", "rollback": "150%"},
        "source": "numbers",
        **other,
    }


class Installation:
    """A configuration of one service on nginx, with rules, and what the doctor says of it."""

    def __init__(self, folder: Path, rig: NginxRig, prometheus: Prometheus) -> None:
        self.folder = folder
        self.rules = [rule("errors", 'http_requests_total{service="$service"}')]
        facts = rig.facts(pid_file=str(rig.nginx.pid_file), timeout="2s")
        ready = {"kind": "http", "url": "http://{address}/healthz", "timeout": "1s"}
        self.settings: dict[str, Any] = {
            "version": 1,
            "rules": ["rules.yaml"],
            "store": {"url": "sqlite:///watchdog.db"},
            "pause_file": "pause",
            "server": {"listen": "127.0.0.1:0"},
            "sources": {"numbers": {"kind": "prometheus", "url": prometheus.url, "timeout": "2s"}},
            "services": [{"name": "trips", "traffic": {"kind": "nginx", **facts, "ready": ready}}],
            "channels": {"log": {"kind": "log"}},
            "routes": [{"to": ["log"]}],
        }

    async def doctor(self) -> tuple[int, dict[str, tuple[str, str, str]]]:
        """The exit code, and health, detail and advice of the worst finding about each thing."""
        service = self.settings["services"][0] | {"rules": [one["name"] for one in self.rules]}
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"version": 1, "rules": self.rules}))
        file = self.folder / "watchdog.yaml"
        file.write_text(yaml.safe_dump(self.settings | {"services": [service]}))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "watchdog", "doctor", "-c", str(file), "--json"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await child.communicate()
        told = json.loads(said)
        worst_last = sorted(told["findings"], key=lambda one: ("ok", "warn", "bad").index(one["health"]))
        found = {one["what"]: (one["health"], one["detail"], one["advice"]) for one in worst_last}
        assert child.returncode is not None
        assert told["ok"] is (child.returncode == 0)
        return child.returncode, found


@pytest.fixture
async def installation(
    start_nginx: Callable[..., Nginx], start_prometheus: Callable[..., Prometheus], tmp_path: Path
) -> AsyncIterator[tuple[Installation, NginxRig]]:
    folder = tmp_path / "etc"
    folder.mkdir()
    prometheus = start_prometheus(history="".join(history()))
    async with nginx_rig(start_nginx, tmp_path) as rig:
        yield Installation(folder, rig, prometheus), rig


Parts = tuple[Installation, NginxRig]


async def test_an_installation_in_which_all_would_work_is_well(installation: Parts) -> None:
    code, found = await installation[0].doctor()
    assert code == 0, found
    assert {what for what, (health, _, _) in found.items() if health != "ok"} <= {
        "clock",
        "rollback of trips",
    }
    assert found["data of trips"][1] == "all 1 rules that ask a source have data"
    assert found["switch of trips"][1] == "readable; live: blue; variants: blue, green"


async def test_selectors_and_windows_that_are_in_the_way_are_told_by_the_source(installation: Parts) -> None:
    made, _ = installation
    made.rules += [
        rule("name", 'http_request_total{service="$service"}'),
        rule("label", 'http_requests_total{servce="$service"}'),
        rule("value", 'http_requests_total{service="trips-web"}'),
        rule("together", 'http_requests_total{service="$service",status="404"}'),
        rule("renamed", 'checkouts_total{service="$service"}'),
        rule("short", 'http_requests_total{service="$service"}', window="1m"),
    ]
    made.rules[-3]["ratio"]["total"] = 'http_requests_total{service="hotels",job="none",status="200"}'
    code, found = await made.doctor()
    assert code == 0
    told = {what: detail for what, (_, detail, _) in found.items() if what.startswith("rule ")}
    assert {what.split()[1]: detail.partition(", so ")[0] for what, detail in told.items()} == {
        "name": "no series is named http_request_total",
        "label": "no series of http_requests_total has a label servce",
        "value": 'no series of http_requests_total has service="trips-web"',
        "together": "no series of http_requests_total has a label job",
        "renamed": told["rule renamed of trips"],
        "short": told["rule short of trips"],
    }
    assert told["rule short of trips"].startswith(
        "its window of 1m is shorter than four scrape intervals of "
    )
    assert found["data of trips"][1].startswith("5 of 7 rules have none: ")
    assert told["rule renamed of trips"].startswith("no series is named checkouts_total since 20")
    assert found["rule renamed of trips"][2].endswith("; most like it is shop_checkouts_total")
    assert found["rule name of trips"][2].endswith("; most like it is http_requests_total")


async def test_a_switch_that_would_refuse_is_told_before_it_is_needed(installation: Parts) -> None:
    made, rig = installation
    (rig.file.parent / "broken.conf").write_text("servr { }\n")
    code, found = await made.doctor()
    health, detail, _ = found["switch of trips"]
    assert (code, health) == (1, "bad")
    assert 'unknown directive "servr"' in detail


async def test_a_standby_that_does_not_answer_is_told(installation: Parts) -> None:
    made, _ = installation
    made.settings["services"][0]["traffic"]["ready"]["url"] = "http://{address}/nowhere"
    made.settings["services"][0]["traffic"]["ready"]["expect"] = {"status": 404}
    code, found = await made.doctor()
    health, detail, advice = found["rollback of trips"]
    assert (code, health, detail) == (1, "bad", "no rollback now: green: 0 of 1 ready, 1 needed")
    assert advice == "start the standby, or see why it is not ready"


async def test_sources_that_hang_cost_no_more_than_their_timeouts(installation: Parts) -> None:
    made, _ = installation

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        for number in range(5):
            name = f"hung-{number}"
            made.settings["sources"][name] = {"kind": "prometheus", "url": url, "timeout": "1s"}
            made.rules.append(rule(name, 'http_requests_total{service="$service"}', source=name))
        async with asyncio.timeout(30):
            code, found = await made.doctor()
    assert code == 1
    for number in range(5):
        health, detail, _ = found[f"source hung-{number}"]
        assert health == "bad"
        assert "timeout" in detail
    assert found["source numbers"][0] == "ok"
    assert found["data of trips"][1] == "all 1 rules that ask a source have data"
