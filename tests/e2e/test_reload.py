"""The configuration changes under a real daemon, by SIGHUP and by itself, while real traffic flows."""

from __future__ import annotations

import copy
import json
import os
import signal

import pytest

from tests.e2e.stage import Stage
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(60)


def hang_up(stage: Stage) -> None:
    os.kill(stage.daemon.pid, signal.SIGHUP)


def said(stage: Stage, event: str) -> int:
    """How often the daemon has logged an event."""
    return stage.daemon.output().count(f'"event": "{event}"') + stage.daemon.output().count(
        f'"event":"{event}"'
    )


async def reload(stage: Stage, event: str = "config_reloaded") -> None:
    """Write the configuration as it is now, ask for it, and wait until the daemon has said so."""
    before = said(stage, event)
    stage.daemon.write()
    hang_up(stage)
    await eventually(lambda: said(stage, event) > before, within=15, every=0.05, what=event)


async def metric(stage: Stage, name: str) -> float:
    _, page = await stage.daemon.page("/metrics")
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


async def test_sighup_takes_a_new_threshold(stage: Stage) -> None:
    stage.rules[0]["threshold"] = {"warning": "40%", "critical": "50%", "rollback": "150%"}
    await stage.open()
    stage.apps["green"].control(fail_every=5)
    await stage.deploy()
    await stage.polled("error-rate", times=4)
    assert await stage.rollbacks() == [], "20% is fine by the first threshold"

    stage.rules[0]["threshold"] = {"warning": "1%", "critical": "2%", "rollback": "150%"}
    await reload(stage)

    await stage.rollback("completed", within=20)
    assert stage.live() == {"blue"}
    await stage.audit_holds()


async def test_a_broken_file_leaves_a_daemon_that_still_rolls_back(stage: Stage) -> None:
    await stage.open()
    stage.daemon.config.write_text("version: 1\nservices: [{name: trips")
    hang_up(stage)
    (message,) = await stage.told("config_broken")
    assert message["needs_human"]
    assert await metric(stage, "watchdog_config_last_reload_successful") == 0

    stage.apps["green"].control(fail_every=2)
    await stage.deploy()
    await stage.rollback("completed", within=20)

    stage.daemon.write()
    await stage.told("config_repaired", within=15)
    assert await metric(stage, "watchdog_config_last_reload_successful") == 1
    assert await stage.switches() == ["completed"]


async def test_a_service_that_is_removed_while_it_is_rolled_back_is_kept_until_that_is_over(
    stage: Stage,
) -> None:
    await stage.open(begin=False)
    state = stage.folder / "other.json"
    variants = {
        "blue": {"weight": 100, "ready": 1, "total": 1},
        "green": {"weight": 0, "ready": 1, "total": 1},
    }
    state.write_text(json.dumps({"variants": variants, "revision": "1"}))
    switch = {"kind": "command", "read": ["cat", str(state)], "apply": ["true", "{variant}"]}
    other = {**copy.deepcopy(stage.service), "name": "other", "traffic": switch}
    await stage.begin()
    stage.daemon.settings["services"] = [stage.service, other]
    await reload(stage)
    stage.apps["green"].control(fail_every=2)
    await stage.deploy()
    await stage.rollback("verified_object", "verified_traffic", "uncontested")

    stage.daemon.settings["services"] = [other]
    await reload(stage)

    names = [one["name"] for one in await stage.daemon.get("services")]
    assert names == ["other", "trips"]
    await stage.rollback("completed")

    async def gone() -> bool:
        return [one["name"] for one in await stage.daemon.get("services")] == ["other"]

    await eventually(gone, within=15, every=0.1)
    assert stage.live() == {"blue"}
    kinds = [kind for (kind,) in stage.daemon.stored("SELECT kind FROM audit WHERE subject = 'trips'")]
    assert kinds.index("rollback_completed") < kinds.index("service_retired")
    await stage.audit_holds()


@pytest.mark.timeout(180)
async def test_a_thousand_hang_ups_during_a_rollback_leave_it_one_rollback(stage: Stage) -> None:
    await stage.open()
    sent = 0

    async def disturb(until: int, *, taken: int = 0) -> None:
        """Change the files and hang up, some dozens of times a second, until so many changes were taken."""

        def once() -> bool:
            nonlocal sent
            stage.service["rollback"]["cooldown"] = f"{sent % 7}s"
            stage.rules[0]["summary"] = f"number {sent}"
            if sent % 10 == 0:
                stage.daemon.write()
            hang_up(stage)
            sent += 1
            return sent >= until and sent % 50 == 0 and said(stage, "config_reloaded") >= taken

        await eventually(once, within=90, every=0.015)

    await disturb(100)
    stage.apps["green"].control(fail_every=2)
    await stage.deploy()
    await disturb(1000, taken=30)
    await stage.rollback("completed", within=30)

    assert stage.live() == {"blue"}
    assert await stage.switches() == ["completed"]
    for fault in ("task_failed", "work_failed", "poll_failed", "config_refused", "task_stuck"):
        assert said(stage, fault) == 0, stage.daemon.output()[-3000:]
    await stage.polled("error-rate", times=3)
    await stage.audit_holds()
