"""Two watchdogs would undo each other's work: the second one refuses to start, and says why."""

from __future__ import annotations

import re

import pytest

from tests.e2e.daemon import Daemon
from tests.faults.fleet import Fleet

pytestmark = pytest.mark.timeout(60)


async def test_a_second_daemon_on_the_same_store_or_switch_refuses_to_start(fleet: Fleet) -> None:
    fleet.add("trips")
    await fleet.launch()
    second = Daemon(fleet.folder / "second")
    fleet.stack.callback(second.stop)
    own_store = second.settings["store"]
    second.rules = fleet.daemon.rules
    second.settings = {**fleet.daemon.settings, "server": {"listen": f"127.0.0.1:{second.port}"}}
    secret = second.folder / "secret"
    secret.write_text("never used")
    secret.chmod(0o600)

    said = await refusal(second)
    assert f"another watchdog (process {fleet.daemon.pid}) uses this store" in said
    assert f"{fleet.daemon.store}.lock" in said

    second.settings["store"] = own_store
    said = await refusal(second)
    assert f"haproxy:{fleet.haproxy.socket}:trips is already held by process {fleet.daemon.pid}" in said
    assert re.search(r"lock file /\S+\.lock", said)

    assert fleet.people.heard("store_failed") == [], "a mistake at a terminal is no emergency"
    # The first one goes on.
    await fleet.deploy_bad("v2")
    await fleet.rollback("completed")


async def refusal(daemon: Daemon) -> str:
    """What it says before it ends with 1."""
    before = daemon.output()
    daemon.write()
    daemon.start()
    assert await daemon.ends() == 1
    said = daemon.output().removeprefix(before)
    assert "Traceback" not in said
    return said
