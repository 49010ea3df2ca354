"""Which channels hear a callback: those of its kind that can tell whether it is authentic, as configured now."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from tests.app.conftest import Home
from tests.channels.fake_slack import SIGNING_SECRET, TOKEN, signed
from watchdog.aio.clock import SystemClock
from watchdog.app.daemon import Daemon
from watchdog.config.load import load


def with_slack(home: Home, **settings: object) -> None:
    """A bot whose messages go nowhere."""
    for name, value in (("bot", TOKEN), ("signing", SIGNING_SECRET)):
        (home.folder / name).write_text(value)
        (home.folder / name).chmod(0o600)
    ops = {"kind": "slack", "token": "!file bot", "channel": "#ops", "url": "http://127.0.0.1:9/api/"}
    home.settings["channels"] = {"log": {"kind": "log"}, "ops": {**ops, **settings}}


def written(home: Home) -> None:
    """With tags, which are no JSON."""
    text = home.path.read_text()
    for name in ("bot", "signing"):
        text = text.replace(f'"!file {name}"', f"!file {name}")
    home.folder.joinpath("watchdog.yaml").write_text(text)


async def posted(daemon: Daemon, headers: Mapping[str, str], body: bytes) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{daemon.url}/hooks/slack", data=body, headers=headers) as reply,
    ):
        return reply.status


async def test_a_callback_reaches_the_channels_that_are_configured_now(home: Home) -> None:
    with_slack(home, signing_secret="!file signing", users="anybody")
    written(home)
    configuration = load(home.folder / "watchdog.yaml", environ={})
    daemon = Daemon(configuration, clock=SystemClock(), seed=1)
    await daemon.start()
    try:
        nothing_to_do = {"type": "block_actions", "user": {"id": "U1"}, "actions": []}
        assert await posted(daemon, *signed(nothing_to_do)) == 200
        assert await posted(daemon, *signed(nothing_to_do, secret="a guess")) == 401
        with_slack(home)
        written(home)
        assert await daemon.take(load(home.folder / "watchdog.yaml", environ={}))
        assert await posted(daemon, *signed(nothing_to_do)) == 404, "it takes none any more"
    finally:
        await daemon.stop()
