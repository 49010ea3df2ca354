"""A rollback that would not help, or not now, is not made, and people hear why."""

from __future__ import annotations

import pytest

from tests.e2e.stage import Stage
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(60)


async def is_blocked(stage: Stage, guard: str, reason: str, *, also: tuple[str, ...] = ()) -> None:
    """The newest rollback was vetoed by this guard, people heard of it, and nothing was moved."""
    rollback = (await stage.rollbacks())[0]
    assert rollback["state"] == "blocked"
    assert [veto["guard"] for veto in rollback["vetoes"]] == [guard, *also]
    assert rollback["vetoes"][0]["reason"] == reason
    heard = await eventually(
        lambda: [one for one in stage.people.heard("rollback_blocked") if one["rollback"] == rollback["id"]]
    )
    assert f"guard {guard}" in {fact["name"] for fact in heard[0]["facts"]}
    await stage.polled("error-rate", times=2)
    assert stage.live() == {"green"}
    metrics = (await stage.daemon.page("/metrics"))[1]
    assert f'watchdog_guard_vetoes_total{{guard="{guard}"}}' in metrics


async def test_what_was_bad_before_the_deployment_is_not_its_fault(stage: Stage) -> None:
    await stage.open()
    stage.apps["blue"].control(fail_every=2)
    await stage.breached()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await eventually(lambda: _blocked_on(stage, "v2"), within=15, what="a veto about v2")
    await is_blocked(stage, "not_already_bad", "already_bad")


async def _blocked_on(stage: Stage, version: str) -> bool:
    found = await stage.rollbacks()
    return bool(found) and found[0]["from"]["version"] == version and found[0]["state"] == "blocked"


async def test_a_target_that_is_down_is_no_target_until_it_is_up(stage: Stage) -> None:
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    stage.apps["blue"].stop()
    await stage.rollback("blocked")
    await is_blocked(stage, "target_ready", "not_ready")
    stage.apps["blue"].start()
    await stage.rollback("completed")
    assert stage.live() == {"blue"}


async def test_a_version_that_never_proved_itself_is_no_target(stage: Stage) -> None:
    stage.service["rollback"]["soak"] = "1h"
    await stage.open(stable=False)
    await stage.announce("blue", "v1")
    await eventually(lambda: _known_ok(stage), what="a known good moment before the deployment")
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await stage.rollback("blocked")
    await is_blocked(stage, "known_good_target", "not_stable", also=("target_ready",))


async def _known_ok(stage: Stage) -> bool:
    checks = (await stage.daemon.get("services/trips"))["checks"]
    return [check["level"] for check in checks] == ["ok"]


async def test_the_next_bad_deployment_waits_for_the_cooldown_and_then_goes_back_too(stage: Stage) -> None:
    stage.service["rollback"]["cooldown"] = "6s"
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    first = await stage.rollback("completed")
    await stage.replace("green", "v3")
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v3")
    waiting = await stage.rollback("blocked", number=2)
    assert waiting["deployment"] != first["deployment"]
    await is_blocked(stage, "cooldown", "too_soon")
    done = await stage.rollback("completed", number=2)
    assert done["from"]["version"] == "v3"
    assert stage.live() == {"blue"}
    await stage.audit_holds()
