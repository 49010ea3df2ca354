"""Somebody takes an incident in PagerDuty, and the real daemon hears of it by a signed callback."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.channels.fake_pagerduty import ROUTING_KEY, WEBHOOK_SECRET, FakePagerDuty, pagerduty
from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.servers.certificates import Certificate
from watchdog.channels.pagerduty_events import incident_of

pytestmark = pytest.mark.timeout(90)


def furnish(stage: Stage, there: FakePagerDuty) -> None:
    """Page there, and hear what comes back."""
    for name, secret in {"routing-key": ROUTING_KEY, "callback": WEBHOOK_SECRET}.items():
        (stage.daemon.folder / name).write_text(secret)
        (stage.daemon.folder / name).chmod(0o600)
    stage.daemon.settings["channels"]["oncall"] = {
        "kind": "pagerduty",
        "routing_key": "!file routing-key",
        "webhook_secret": "!file callback",
        "url": there.url,
        "ca_file": str(there.certificate.file),
        "timeout": "10s",
    }
    stage.daemon.settings["routes"] = [{"to": ["oncall", "log"]}]


async def call_back(stage: Stage, there: FakePagerDuty, body: bytes, *, secret: str = WEBHOOK_SECRET) -> int:
    """What PagerDuty is answered."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        session.post(
            f"{stage.daemon.url}/hooks/pagerduty", data=body, headers=there.signed(body, secret)
        ) as answer,
    ):
        return answer.status


async def test_who_takes_it_there_has_it_here_and_who_gives_it_back_there_gives_it_back_here(
    stage: Stage, tmp_path: Path
) -> None:
    async with pagerduty(Certificate(tmp_path)) as there:
        stage.service["mode"] = "observe"
        await stage.open(begin=False)
        furnish(stage, there)
        await stage.begin()
        stage.apps["green"].control(fail_every=2)
        await stage.deploy("green", "v2")
        await eventually(lambda: bool(there.alerts), within=30, what="a page")
        (alert,) = there.alerts
        identity = incident_of(alert.key)

        def event(what: str, number: int, **changes: Any) -> bytes:
            return there.callback(alert.key, what, identity=f"01E{number}", at=datetime.now(UTC), **changes)

        async def incident() -> dict[str, Any]:
            found: dict[str, Any] = await stage.daemon.get(f"incidents/{identity}")
            return found

        forged = event("acknowledged", 1)
        assert await call_back(stage, there, forged, secret="somebody else's") == 401
        machine = {"id": "P1", "type": "inbound_integration_reference", "summary": "Events API v2"}
        assert await call_back(stage, there, event("acknowledged", 2, agent=machine)) == 200
        assert (await incident())["state"] == "open"

        taken = event("acknowledged", 3)
        for _ in range(3):  # at least once, as PagerDuty has it
            assert await call_back(stage, there, taken) == 200

        async def is_taken() -> bool:
            return bool((await incident())["state"] == "acknowledged")

        await eventually(is_taken, within=20, what="the acknowledgement")
        assert (await incident())["acknowledged_by"] == "Earline Greenholt (PagerDuty)"
        await eventually(lambda: alert.status == "acknowledged", within=20, what="our word for it")
        records = [one for one in await stage.daemon.get("audit") if one["kind"] == "incident_acknowledged"]
        assert len(records) == 1

        told = alert.told
        assert await call_back(stage, there, event("unacknowledged", 4)) == 200
        await eventually(lambda: alert.told > told, within=20, what="the alert, told again")
        assert (await incident())["state"] == "open"

        stage.apps["green"].control(fail_every=0)
        await eventually(lambda: alert.status == "resolved", within=30, what="the end, there")
        assert len(there.alerts) == 1
        await stage.audit_holds()
