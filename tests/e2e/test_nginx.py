"""The main job on nginx: a bad version is switched away in a file, reloaded, and proved by the requests it gets."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.servers.nginx import Nginx, upstream

pytestmark = pytest.mark.timeout(60)


class OnNginx:
    """The stage with nginx in front in place of HAProxy."""

    def __init__(self, stage: Stage, nginx: Nginx) -> None:
        self.stage = stage
        self.nginx = nginx

    @classmethod
    async def open(cls, stage: Stage) -> OnNginx:
        stage.service["traffic"] = {"kind": "nginx"}
        await stage.open(begin=False)
        ports = {variant: app.port for variant, app in stage.apps.items()}
        folder = stage.folder / "nginx"
        folder.mkdir()
        nginx = Nginx(folder, {ports["blue"]: "", ports["green"]: "down"})
        await stage.start(nginx)
        stage.service["traffic"] = {
            "kind": "nginx",
            "upstream_file": str(nginx.file),
            "upstream": "trips",
            "variants": {variant: f"127.0.0.1:{port}" for variant, port in ports.items()},
            "reload": nginx.reload_argv,
            "timeout": "3s",
            "ready": {"kind": "http", "url": "http://{address}/healthz", "timeout": "1s"},
        }
        await stage.let_in(f"http://127.0.0.1:{nginx.port}/")
        await stage.begin()
        return cls(stage, nginx)

    async def deploy(self) -> None:
        """As a deploy job does: say it, edit, reload."""
        await self.stage.announce("green", "v2")
        self.nginx.file.write_text(self.says("green"))
        await asyncio.to_thread(self.nginx.reload)

    def says(self, live: str) -> str:
        return upstream({app.port: "" if name == live else "down" for name, app in self.stage.apps.items()})


async def test_a_bad_version_is_switched_away_on_nginx(stage: Stage) -> None:
    play = await OnNginx.open(stage)
    stage.apps["green"].control(fail_every=2)
    await play.deploy()
    rollback = await stage.rollback()
    assert rollback["state"] == "completed", rollback["history"]
    assert rollback["traffic_proof"] not in {"", "not_measurable"}
    assert play.nginx.file.read_text() == play.says("blue")
    assert play.nginx.reloads() == 2
    assert not stage.failed_since(rollback["applied_at"])
    await stage.audit_holds()


async def test_killed_with_the_file_written_and_nginx_not_told_it_goes_on_after_a_restart(
    stage: Stage,
) -> None:
    holds, stands = stage.folder / "hold", stage.folder / "stands"
    play = await OnNginx.open(stage)
    traffic = stage.service["traffic"]
    judge = stage.folder / "judge"
    own = " ".join(play.nginx.test_argv)
    # Stands still when it is asked about the text that leads back, while there is a file `hold`.
    lines = (
        "#!/bin/sh",
        f"while [ -e {holds} ] && grep -q '{stage.apps['green'].port} down' {play.nginx.file}",
    )
    judge.write_text("\n".join((*lines, f"do touch {stands}; sleep 0.05; done", f"exec {own}", "")))
    judge.chmod(0o755)
    stage.daemon.stop()
    stage.service["traffic"] = traffic | {"test": [str(judge)], "timeout": "20s"}
    await stage.begin(stable=False)
    await stage.until_stable("v1")
    await play.deploy()
    holds.touch()
    stage.apps["green"].control(fail_every=2)
    await eventually(stands.exists, within=20, what="the judge stands still")
    reloads = play.nginx.reloads()
    stage.daemon.kill()
    assert play.nginx.file.read_text() == play.says("blue")
    holds.unlink()
    await stage.daemon.begin()
    rollback = await stage.rollback(within=25)
    assert rollback["state"] == "completed", rollback["history"]
    assert play.nginx.reloads() == reloads + 1
    assert play.nginx.file.read_text() == play.says("blue")
    assert len(await stage.switches()) == 1
    await stage.audit_holds()
