"""The real daemon and somebody outside who notices when it falls silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.channels.receiver import Receiver, hang, receiving
from tests.e2e.daemon import Daemon
from tests.eventually import eventually

pytestmark = pytest.mark.timeout(90)

CANARY = "canary-5d1c-8e20"


class DeadManService(Receiver):
    """Raises the alarm when it was not asked for `grace` seconds; `up` again with the next time."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.grace = grace
        self.seen = 0
        self.up = False
        self._timer: asyncio.TimerHandle | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super().serve(reader, writer)
        self.seen += 1
        self.up = True
        self.rest()
        self._timer = asyncio.get_running_loop().call_later(self.grace, self._alarm)

    def rest(self) -> None:
        """Raise no alarm any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _alarm(self) -> None:
        self.up = False


@contextlib.asynccontextmanager
async def dead_man(grace: float = 3.0) -> AsyncIterator[DeadManService]:
    async with receiving(DeadManService(grace)) as service:
        assert isinstance(service, DeadManService)
        yield service
    service.rest()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One service, with a check that is polled three times a second."""
    made = Daemon(tmp_path / "daemon")
    state = tmp_path / "state.json"
    variants = {
        "blue": {"weight": 100, "ready": 1, "total": 1},
        "green": {"weight": 0, "ready": 1, "total": 1},
    }
    state.write_text(json.dumps({"variants": variants, "revision": "1"}))
    made.rules = [
        {
            "name": "alive",
            "probe": {"kind": "command", "argv": ["true"], "timeout": "10s"},
            "threshold": {"critical": "3 failures", "rollback": "5 failures"},
        }
    ]
    made.settings["services"] = [
        {
            "name": "trips",
            "rules": ["alive"],
            "traffic": {"kind": "command", "read": ["cat", str(state)], "apply": ["false", "{variant}"]},
        }
    ]
    del made.settings["sources"]
    yield made
    await asyncio.to_thread(made.stop)


def beats(daemon: Daemon, service: Receiver, path: str = CANARY) -> None:
    url = f"http://127.0.0.1:{service.port}/ping/{path}"
    daemon.settings["heartbeat"] = {"url": url, "every": "300ms", "timeout": "2s"}


async def test_when_the_daemon_is_killed_somebody_outside_notices(daemon: Daemon) -> None:
    async with dead_man() as outside:
        beats(daemon, outside)
        await daemon.begin()
        await eventually(lambda: outside.seen >= 3 and outside.up, within=30, what="signs of life")
        status = await daemon.get("status")
        assert status["late"] == []
        assert status["heartbeat"]["last_success_at"]
        assert (status["heartbeat"]["withheld"], status["heartbeat"]["error"]) == (False, "")
        assert {one.path for one in outside.received} == {f"/ping/{CANARY}"}

        os.kill(daemon.pid, signal.SIGKILL)
        await eventually(lambda: not outside.up, within=30, what="the alarm outside")

        await asyncio.to_thread(daemon.stop)
        await daemon.begin()
        await eventually(lambda: outside.up, within=30, what="a sign of life after the restart")
    assert CANARY not in daemon.output()


async def test_a_stopped_process_falls_silent_too(daemon: Daemon) -> None:
    async with dead_man() as outside:
        beats(daemon, outside)
        await daemon.begin()
        await eventually(lambda: outside.up, within=30, what="a sign of life")
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: not outside.up, within=30, what="the alarm outside")
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        await eventually(lambda: outside.up, within=60, what="a sign of life afterwards")


async def test_checks_that_hang_withhold_it(daemon: Daemon, tmp_path: Path) -> None:
    """The round is never complete, whatever else goes on."""
    stuck = tmp_path / "stuck"
    wait = f"import os, time\nwhile os.path.exists({str(stuck)!r}): time.sleep(0.05)"
    daemon.rules[0]["probe"] = {"kind": "command", "argv": [sys.executable, "-c", wait], "timeout": "50s"}
    async with dead_man() as outside:
        beats(daemon, outside)
        await daemon.begin()
        await eventually(lambda: outside.up, within=30, what="a sign of life")
        stuck.touch()
        await eventually(lambda: not outside.up, within=30, what="the alarm outside")
        assert daemon.answers("/healthz") == 200
        stuck.unlink()
        await eventually(lambda: outside.up, within=30, what="a sign of life afterwards")


async def test_one_that_hangs_disturbs_nothing_and_a_reload_leads_to_another(daemon: Daemon) -> None:
    async with dead_man() as silent, dead_man() as other:
        silent.after_reading = hang
        beats(daemon, silent)
        await daemon.begin()

        async def told() -> bool:
            return "within" in (await daemon.get("status"))["heartbeat"]["error"]

        await eventually(told, within=30, what="the fault in the status")
        assert "HEARTBEAT not taken" in (await daemon.says("status")).out
        polled = [check["judged_at"] for check in (await daemon.get("services/trips"))["checks"]]

        async def goes_on() -> bool:
            checks = (await daemon.get("services/trips"))["checks"]
            return [check["judged_at"] for check in checks] > polled

        await eventually(goes_on, within=30, what="another poll")

        beats(daemon, other, path="another")
        daemon.write()
        os.kill(daemon.pid, signal.SIGHUP)
        await eventually(lambda: other.up, within=30, what="a sign of life at the new address")
        assert {one.path for one in other.received} == {"/ping/another"}
        _, page = await daemon.page("/metrics")
        assert 'watchdog_late{what="outbox"} 0.0' in page
        assert "watchdog_heartbeat_withheld 0.0" in page
    assert CANARY not in daemon.output()
