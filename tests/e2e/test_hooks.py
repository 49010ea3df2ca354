"""Webhooks of real senders at the real daemon: an Alertmanager whose alerts fire and end, and GitHub's signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.daemon import TOKEN, Daemon
from tests.eventually import eventually
from tests.servers.alertmanager import Alertmanager

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One service whose only check is asked once an hour."""
    made = Daemon(tmp_path / "daemon")
    state = tmp_path / "state.json"
    variants = {
        "blue": {"weight": 100, "ready": 1, "total": 1},
        "green": {"weight": 0, "ready": 1, "total": 1},
    }
    state.write_text(json.dumps({"variants": variants, "revision": "1"}))
    made.settings["intervals"] = {"critical": "1h", "recheck": "300ms"}
    made.rules = [
        {
            "name": "alive",
            "probe": {"kind": "command", "argv": [sys.executable, "-c", ""], "timeout": "5s"},
            "threshold": {"critical": "3 failures", "rollback": "5 failures"},
        }
    ]
    made.settings["services"] = [
        {
            "name": "trips",
            "environment": "production",
            "rules": ["alive"],
            "mode": "enforce",
            "traffic": {"kind": "command", "read": ["cat", str(state)], "apply": ["false", "{variant}"]},
        }
    ]
    del made.settings["sources"]
    try:
        await made.begin()
        yield made
    finally:
        made.stop()


async def alert(
    alertmanager: Alertmanager, *, ends_in: timedelta = timedelta(hours=1), **labels: str
) -> None:
    """What Prometheus posts to an Alertmanager."""
    now = datetime.now(UTC)
    facts = [
        {
            "labels": {"alertname": "HighErrorRate", **labels},
            "startsAt": (now - timedelta(minutes=1)).replace(microsecond=0).isoformat(),
            "endsAt": (now + ends_in).isoformat(),
        }
    ]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{alertmanager.url}/api/v2/alerts", json=facts) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def judged_at(daemon: Daemon) -> str | None:
    (service,) = await daemon.get("services")
    return next((str(check["judged_at"]) for check in service["checks"] if check["judged_at"]), None)


async def notes(daemon: Daemon) -> list[dict[str, Any]]:
    records = await daemon.get("audit?subject=trips&limit=200")
    return [record["body"] for record in records if record["kind"] == "alert_heard"]


async def test_an_alert_of_a_real_alertmanager_has_the_checks_asked_and_is_recorded_once(
    daemon: Daemon, tmp_path: Path
) -> None:
    async def judged() -> bool:
        return await judged_at(daemon) is not None

    await eventually(judged, within=15, what="the first poll")
    first = await judged_at(daemon)
    with Alertmanager(tmp_path, webhook=f"{daemon.url}/hooks/alertmanager", token=TOKEN) as alertmanager:
        await alert(alertmanager, service="nowhere")
        await alert(alertmanager, service="trips", environment="staging")
        await alert(alertmanager, service="trips", environment="production")

        async def asked() -> bool:
            return await judged_at(daemon) != first

        await eventually(asked, within=20, what="a poll that is not due for an hour")
        (heard,) = await notes(daemon)
        assert (heard["alert"], heard["by"]) == ("HighErrorRate", "ci")
        # Another alert of the same service comes, and the first one ends: one more record.
        await alert(alertmanager, service="trips", instance="b")

        async def two() -> bool:
            return len(await notes(daemon)) == 2

        await eventually(two, within=20, what="the record of the other alert")
        await alert(alertmanager, ends_in=timedelta(seconds=-1), service="trips", environment="production")
        await alert(alertmanager, service="trips", instance="c")

        async def three() -> bool:
            return len(await notes(daemon)) >= 3

        await eventually(three, within=20, what="the record of the third alert")
        fingerprints = [note["fingerprint"] for note in await notes(daemon)]
        assert len(set(fingerprints)) == len(fingerprints) == 3
        assert "Notify for alerts failed" not in alertmanager.output()
    assert await daemon.get("rollbacks") == []
    assert (await daemon.says("audit", "verify", config=True)).code == 0


async def test_a_signed_delivery_of_github_announces_a_deployment_once(daemon: Daemon) -> None:
    delivery = {
        "deployment": {
            "id": 7,
            "ref": "v1.4.2",
            "sha": "5f3a1c0d2b4e69788796a5b4c3d2e1f001122334",
            "environment": "production",
            "payload": {"service": "trips", "variant": "green"},
            "created_at": datetime.now(UTC).isoformat(),
        },
        "deployment_status": {"id": 11, "state": "success"},
        "repository": {"full_name": "example/trips"},
    }
    raw = json.dumps(delivery).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "deployment_status",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": "sha256=" + hmac.new(TOKEN.encode(), raw, hashlib.sha256).hexdigest(),
    }

    async def seen() -> bool:
        return bool(await daemon.get("deployments"))

    await eventually(seen, within=15, what="the first look at the switch")
    answers = []
    async with aiohttp.ClientSession(daemon.url) as session:
        for _ in range(2):
            async with session.post("/hooks/deployment", data=raw, headers=headers) as answer:
                answers.append((answer.status, await answer.json()))
        async with session.post("/hooks/deployment", data=raw + b" ", headers=headers) as answer:
            assert answer.status == 401
    (status, record), again = answers
    assert (status, record["version"], record["variant"]) == (201, "v1.4.2", "green")
    assert (record["state"], record["source"]) == ("pending", "github example/trips")
    assert again == (status, record)
    announced = [one for one in await daemon.get("deployments") if one["version"] == "v1.4.2"]
    assert len(announced) == 1
