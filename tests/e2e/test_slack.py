"""One incident as people live it in Slack: told, taken with a button, rolled back with another, seen to its end."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.channels.fake_slack import (
    APP_TOKEN,
    NAME,
    SIGNING_SECRET,
    TOKEN,
    FakeSlack,
    Posted,
    signed,
    slack,
)
from tests.e2e.stage import Stage
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(90)


async def opened(stage: Stage, workspace: FakeSlack, **settings: Any) -> None:
    """The stage, with a Slack channel whose secrets are in files."""
    await stage.open(begin=False)
    secrets = {"bot": TOKEN, "app": APP_TOKEN, "signing": SIGNING_SECRET}
    for name, value in secrets.items():
        (stage.daemon.folder / f"slack-{name}").write_text(value)
        (stage.daemon.folder / f"slack-{name}").chmod(0o600)
    stage.daemon.settings["channels"]["ops"] = {
        "kind": "slack",
        "url": workspace.url,
        "token": "!file slack-bot",
        "app_token": "!file slack-app",
        "signing_secret": "!file slack-signing",
        "channel": NAME,
        "users": ["U0ALLOWED"],
        **settings,
    }
    stage.daemon.settings["routes"] = [{"to": ["hook", "ops"]}]
    stage.service["mode"] = "observe"
    await stage.begin()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")


async def of_incident(workspace: FakeSlack) -> Posted:
    """The first message of the incident, once it is there."""

    def there() -> bool:
        return any("Acknowledge" in post.buttons for post in workspace.roots)

    await eventually(there, within=30, what="the incident in Slack")
    return next(post for post in workspace.roots if "Acknowledge" in post.buttons)


async def answered(workspace: FakeSlack, number: int) -> str:
    """What the person was told after that many presses."""
    await eventually(lambda: len(workspace.told) >= number, within=20, what=f"answer {number}")
    text: str = workspace.told[number - 1]["text"]
    return text


async def posted(stage: Stage, headers: dict[str, str], body: bytes) -> int:
    """A callback over HTTP."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.daemon.url}/hooks/slack", data=body, headers=headers) as reply,
    ):
        return reply.status


async def finished(stage: Stage) -> dict[str, Any] | None:
    """The rollback that moved traffic, once it is over."""
    return next((one for one in await stage.rollbacks() if one["switched"] and one["over"]), None)


async def nobody_else_moves_traffic(stage: Stage, workspace: FakeSlack, root: Posted) -> None:
    """One who may not; a forged press; one on a message about a version that is not live any more."""
    stranger = workspace.payload(root, "Roll back", user="U0EVE", name="eve")
    assert await posted(stage, *signed(stranger)) == 200
    assert "You may not" in await answered(workspace, 2)
    headers, body = signed(workspace.payload(root, "Roll back"), secret="a guess")
    assert await posted(stage, headers, body) == 401
    stale = workspace.payload(root, "Roll back")
    stale["actions"][0]["value"] = stale["actions"][0]["value"].replace('"v2"', '"v0"')
    assert await posted(stage, *signed(stale)) == 200
    assert "v2 is live now, not v0" in await answered(workspace, 3)
    assert stage.live() == {"green"}


async def test_an_incident_is_taken_and_rolled_back_with_buttons(stage: Stage) -> None:
    async with slack() as workspace:
        await opened(stage, workspace)
        root = await of_incident(workspace)
        await eventually(lambda: bool(workspace.sockets), within=20, what="a socket")

        await workspace.press(root, "Acknowledge")
        assert (await answered(workspace, 1)).startswith("✅ Acknowledged")
        (taken,) = await stage.daemon.get("incidents?open=true")
        assert taken["acknowledged_by"] == "slack:U0ALLOWED (ana)"
        acknowledged = "acknowledged by slack:U0ALLOWED (ana)"
        await eventually(lambda: acknowledged in root.shown, within=20, what="the root updated")
        assert "Un-acknowledge" in root.buttons

        await nobody_else_moves_traffic(stage, workspace, root)

        payload = workspace.payload(root, "Roll back")
        assert root.buttons["Roll back"]["confirm"]["style"] == "danger"
        assert await posted(stage, *signed(payload)) == 200
        assert await posted(stage, *signed(payload)) == 200, "delivered twice"
        done = await eventually(lambda: finished(stage), within=30, what="a rollback that is over")
        assert done is not None
        assert (done["state"], done["reason"]) == ("completed", "asked in Slack by ana")
        assert done["requested_by"] == "slack:U0ALLOWED (ana)"
        assert stage.live() == {"blue"}
        assert len(await stage.switches()) == 1

        await eventually(lambda: "closed" in root.shown, within=30, what="the end at the root")
        assert root.buttons == {}
        assert any("traffic moved back from v2 to v1" in post.shown for post in workspace.thread(root.ts))
        seen = stage.daemon.output() + repr([post.body for post in workspace.posts])
        assert [one for one in (TOKEN, APP_TOKEN, SIGNING_SECRET) if one in seen] == []
    said = await stage.daemon.says("audit", "verify", config=True)
    assert said.code == 0, said
