"""Somebody undoes a switch: HAProxy is reloaded with a configuration in which the bad version is live."""

from __future__ import annotations

import pytest

from tests.e2e.stage import Stage
from tests.servers.haproxy import Server

pytestmark = pytest.mark.timeout(60)


async def deploy_by_reload(stage: Stage) -> None:
    """The deploy job writes the configuration and reloads, as many do; every later reload does it again."""
    stage.haproxy.configure(
        {
            "trips": [
                Server(name="srv_blue", port=stage.apps["blue"].port, weight=0),
                Server(name="srv_green", port=stage.apps["green"].port),
            ]
        }
    )
    await stage.announce("green", "v2")
    stage.haproxy.reload()


async def test_a_switch_that_is_undone_within_the_contest_window_is_told_and_not_made_again(
    stage: Stage,
) -> None:
    stage.service["rollback"]["contest_for"] = "30s"
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await deploy_by_reload(stage)
    await stage.rollback("verified_traffic")
    assert stage.live() == {"blue"}
    stage.haproxy.reload()
    (message,) = await stage.told("rollback_ended")
    assert message["needs_human"]
    assert "somebody undid the switch" in message["headline"]
    await only_told(stage, "contested")


async def test_a_switch_that_is_undone_after_its_end_is_told_and_not_made_again(stage: Stage) -> None:
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await deploy_by_reload(stage)
    await stage.rollback("completed")
    stage.haproxy.reload()
    (message,) = await stage.told("switch_undone")
    assert message["headline"] == "trips: traffic is back on v2, which was rolled back"
    await only_told(stage, "completed")


async def only_told(stage: Stage, state: str) -> None:
    """The bad version is live again and stays it: one switch was made, and no other."""
    await stage.breached()
    await stage.polled("error-rate", times=4)
    assert await stage.switches() == [state]
    assert stage.live() == {"green"}
    await stage.audit_holds()
