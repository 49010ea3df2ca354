"""The shipped unit under a real systemd: started, reloaded, stopped, and started anew when the reactor stands still."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.faults.fleet import Fleet
from tests.servers.process import Process
from tests.systemd.manager import UserManager
from tests.systemd.service import NAME, Service

pytestmark = pytest.mark.timeout(120)


async def test_it_is_ready_says_how_it_goes_reloads_and_stops(
    tmp_path: Path, stack: AsyncExitStack, service: Service, manager: UserManager
) -> None:
    stage = Stage(tmp_path, stack)
    service.settings["sources"] = {}
    stage.daemon = service
    await stage.open(begin=False)
    service.more = [stage.haproxy.socket.parent]
    await stage.begin(stable=False)
    state = service.state
    assert (state["ActiveState"], state["SubState"], state["NRestarts"]) == ("active", "running", "0")
    assert state["StatusText"] == "watching 1 service, no incident"
    service.pause_file.touch()
    shown = "PAUSED by file, watching 1 service, no incident"
    await eventually(lambda: service.state["StatusText"] == shown, within=15, every=0.2, what="a new status")

    service.settings["intervals"]["critical"] = "400ms"
    service.write()
    done = await asyncio.to_thread(manager.systemctl, "reload", NAME)
    assert done.returncode == 0, done.stderr
    await eventually(lambda: '"config_reloaded"' in service.output(), what="a reload")
    await eventually(lambda: service.state["ActiveState"] == "active", what="the end of the reload")
    good = service.config.read_text()
    service.config.write_text(good.replace('"routes"', '"rotues"'))
    done = await asyncio.to_thread(manager.systemctl, "reload", NAME)
    assert done.returncode == 0, done.stderr
    await eventually(lambda: '"config_refused"' in service.output(), what="a refusal")
    await eventually(lambda: service.state["ActiveState"] == "active", what="the end of the reload")
    assert service.state["MainPID"] == state["MainPID"], "the daemon goes on with what it has"

    done = await asyncio.to_thread(manager.systemctl, "stop", NAME)
    assert done.returncode == 0
    assert service.endings == ["success"]
    assert service.state["ActiveState"] == "inactive"
    assert service.output().rstrip().splitlines()[-1].count('"stopped"') == 1
    assert service.answers("/healthz") == 0


async def in_the_middle(fleet: Fleet, service: Service) -> None:
    """A rollback is decided and on disk; HAProxy stands still, so nothing is moved yet."""
    service.more = [*service.more, Path("/tmp")]  # where its sockets lie
    await fleet.launch(proxied=True)
    await fleet.watched()
    fleet.haproxy.freeze()
    fleet.turn_bad()
    await fleet.intended()


async def it_was_killed_by_the_watchdog(fleet: Fleet, service: Service) -> None:
    """Once, for its silence; and the daemon after it has done what was left: exactly once."""
    await service.restarted()
    await fleet.moved_once()
    assert service.endings == ["watchdog"]
    await fleet.audit_holds()


async def test_a_frozen_process_is_started_anew_and_resumes_its_rollback(
    fleet: Fleet, service: Service
) -> None:
    await in_the_middle(fleet, service)
    service.freeze()
    fleet.haproxy.thaw()
    await it_was_killed_by_the_watchdog(fleet, service)


async def test_a_reactor_that_hangs_in_a_living_loop_is_started_anew_and_resumes_its_rollback(
    fleet: Fleet, service: Service
) -> None:
    await in_the_middle(fleet, service)
    argv = [sys.executable, "-m", "tests.systemd.threads", str(service.pid)]
    log = service.folder / "threads.log"
    holder = Process(argv, log=log, ready=lambda: log.read_text() == "held\n")
    await fleet.start(holder)
    fleet.haproxy.thaw()
    alive = 0

    async def dead() -> bool:
        nonlocal alive
        alive += await asyncio.to_thread(service.answers, "/metrics") == 200
        return service.endings == ["watchdog"]

    await eventually(dead, within=20, every=0.2, what="the manager's patience at its end")
    assert alive, "the loop lived"
    await it_was_killed_by_the_watchdog(fleet, service)
    assert "Fatal Python error: Aborted" in service.output(), "it says where it hung"


async def test_a_stop_waits_for_a_switch_under_way_and_is_no_failure(fleet: Fleet, service: Service) -> None:
    await in_the_middle(fleet, service)
    done = await asyncio.to_thread(service.manager.systemctl, "stop", NAME)
    assert done.returncode == 0
    assert service.endings == ["success"]
    assert "intents_left_for_the_next_start" in service.output()
    fleet.haproxy.thaw()
    await service.begin()
    await fleet.moved_once()
