"""Routes under a real daemon: notices, mute windows, and a reload that ends one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.e2e.test_reload import reload
from tests.eventually import eventually


def around_now() -> dict[str, Any]:
    """A mute window that began two hours ago and ends in two."""
    now = datetime.now(UTC)
    times = (f"{moment:%H:%M}" for moment in (now - timedelta(hours=2), now + timedelta(hours=2)))
    return {"zone": "UTC", **dict(zip(("from", "to"), times, strict=True))}


@pytest.mark.timeout(120)
async def test_notices_are_told_and_what_a_mute_window_held_back_is_told_when_it_is_over(
    stage: Stage,
) -> None:
    # Half of all requests fail: far from a rollback, of which people would hear, muted or not.
    stage.rules[0]["threshold"] = {"warning": "1%", "critical": "40%", "rollback": "150%"}
    stage.service["rollback"]["soak"] = "2s"
    settings = stage.daemon.settings
    await stage.open(begin=False)
    settings["routes"] = [{"to": ["hook", "log"], "notices": ["hook"]}]
    await stage.begin()
    await stage.deploy()
    await stage.told("deployment_watched", service="trips", within=30)
    (stable,) = await stage.told("deployment_stable", service="trips", within=30)
    assert (stable["severity"], stable["needs_human"]) == ("low", False)

    settings["mute_windows"] = {"now": around_now()}
    settings["routes"][0]["mute"] = ["now"]
    await reload(stage)
    stage.apps["green"].control(fail_every=2)

    async def held() -> bool:
        found = await stage.daemon.get("incidents?open=true")
        return any(one["silenced_by"] == ["mute:now"] for one in found)

    await eventually(held, within=30, every=0.2, what="an incident that is held back")
    assert stage.people.heard("incident_opened") == []

    del settings["routes"][0]["mute"]
    await reload(stage)

    message = (await stage.told("incident_opened", within=30))[0]
    assert "muted" in {name for name, _ in (tuple(fact.values()) for fact in message["facts"])}
