"""What a message tells a person to type is typed, at the real daemon, and closes what the message was about."""

from __future__ import annotations

import pytest

from tests.core.commands import commands
from tests.eventually import eventually
from tests.faults.fleet import Fleet

pytestmark = pytest.mark.timeout(120)


async def test_a_contested_rollback_is_made_again_by_the_command_of_its_message(fleet: Fleet) -> None:
    service = fleet.add("trips")
    service["rollback"]["contest_for"] = "60s"
    await fleet.launch()
    await fleet.deploy_bad("v2")
    await fleet.rollback("verified_object", "verified_traffic", "uncontested")
    fleet.move("green")
    (message,) = await fleet.told("rollback_ended", within=30)
    assert message["needs_human"]
    assert "was undone" in message["headline"]
    again = commands(message["next_step"])[0]
    said = await fleet.daemon.says(*again.text.split()[1:])
    assert said.code == 0, said
    await eventually(lambda: fleet.live() == {"blue"}, within=30, what="traffic on blue again")
    assert [one["automatic"] for one in await fleet.rollbacks()] == [False, True]
