"""The image, built as the Dockerfile says and run with as few rights as there are."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.container.booted import Booted
from tests.container.boxed import NAME, USER, Boxed
from tests.container.engine import DOCKERFILE, IMAGE, Engine, run
from tests.e2e.stage import Stage
from tests.eventually import eventually
from tests.servers.process import ROOT
from watchdog import __version__
from watchdog.app.people import FLUSH_WITHIN
from watchdog.app.term import FINISH_WITHIN, STOP_WITHIN

# Nearly all of it for the base image. Parallel runs share the machine's cores.
pytestmark = pytest.mark.timeout(1800)


# One test, because several processes of a parallel run would each make the image.
async def test_the_image_and_its_daemon_as_a_container_and_as_a_service(
    engine: Engine, tmp_path: Path, stack: AsyncExitStack
) -> None:
    await it_runs_without_rights_rolls_back_is_healthy_and_stops(engine, tmp_path, stack)
    await it_runs_under_every_line_of_the_unit(engine, tmp_path / "configuration", stack)


async def it_runs_under_every_line_of_the_unit(engine: Engine, folder: Path, stack: AsyncExitStack) -> None:
    folder.mkdir()
    host = Booted(engine, folder)
    stack.callback(host.stop)
    await asyncio.to_thread(host.start)
    await eventually(host.is_up, within=60, every=0.5, what="a host that is up")
    await asyncio.to_thread(host.install)
    said = await asyncio.to_thread(
        host.shell, "systemctl start rollback-watchdog; systemctl status -l rollback-watchdog"
    )
    assert "active (running)" in said, said + host.shell("journalctl -u rollback-watchdog -o cat")
    assert 'Status: "watching 1 service, no incident' in said
    status = host.shell("cat /proc/$(systemctl show -P MainPID rollback-watchdog)/status")
    found = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.MULTILINE))
    user = host.shell("id -u rollback-watchdog").strip()
    assert (found["Uid"], found["CapEff"], found["CapBnd"]) == (user, "0" * 16, "0" * 16)
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert "rollback-watchdog-" in host.shell("ls /run/lock"), "the lock is where others see it"
    assert re.search(r"^-rw-r-----.* watchdog\.db$", host.shell("ls -l /var/lib/watchdog"), re.MULTILINE)
    assert "unbroken" in host.shell("watchdog audit verify -c /etc/watchdog/watchdog.yaml")
    host.shell("systemctl reload rollback-watchdog", must=True)
    await asyncio.to_thread(host.shell, "systemctl stop rollback-watchdog", must=True)
    assert host.shell("systemctl show -P Result rollback-watchdog").strip() == "success"


async def it_runs_without_rights_rolls_back_is_healthy_and_stops(
    engine: Engine, tmp_path: Path, stack: AsyncExitStack
) -> None:
    assert said_by(engine, "--version") == f"rollback-watchdog {__version__}\n"
    what_it_is(engine)
    stage = Stage(tmp_path, stack)
    stage.daemon = daemon = Boxed(tmp_path / "daemon", engine)
    await stage.open(begin=False)
    # The container's user is nobody of this host: on a real one, HAProxy's socket has a group.
    stage.haproxy.socket.chmod(0o666)
    stage.haproxy.socket.parent.chmod(0o755)
    daemon.mount(stage.haproxy.socket)
    await stage.begin()
    assert rights(daemon) == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Uid": str(USER)}
    await health(daemon)

    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    await stage.rollback("completed", within=30)
    assert stage.live() == {"blue"}

    done = await asyncio.to_thread(daemon.podman, "stop", "--time", "40", NAME)
    assert done.returncode == 0, done.stderr
    assert await daemon.ends() == 0, "not killed, and no failure"
    assert '"stopped"' in daemon.output()
    await daemon.begin(within=20)
    assert len(await stage.switches()) == 1, "the store is on the volume"
    await asyncio.to_thread(daemon.stop)
    assert daemon.exit_code == 0
    assert "Traceback" not in daemon.output()


def what_it_is(engine: Engine) -> None:
    """What an orchestrator reads from it; and its size, as the page says."""
    (image,) = json.loads(engine.podman("image", "inspect", IMAGE).stdout)
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["watchdog"]
    assert list(config["Volumes"]) == ["/var/lib/watchdog"]
    assert image["Healthcheck"]["Test"][0] == "CMD", "no shell"
    (base,) = json.loads(engine.podman("image", "inspect", engine.base()).stdout)
    added = (image["Size"] - base["Size"]) / 1e6
    page = (ROOT / "docs" / "how-to" / "container.md").read_text()
    (told,) = re.findall(r"(\d+) MB on top of its base", page)
    assert abs(added - int(told)) < 10, f"{added:.0f} MB on top of the base"
    found = said_by(engine, "/opt", "/src", "/tools", "/root", "-name", "pip", entrypoint="find")
    assert found.split() == [], "tools of the build, left in the image"


def said_by(engine: Engine, *words: str, entrypoint: str = "watchdog") -> str:
    """What a command says in the image, with nothing mounted."""
    argv = engine.run_argv("watchdog-asked", *words, options=("--entrypoint", entrypoint))
    return run(argv, must=entrypoint == "watchdog").stdout


def rights(daemon: Boxed) -> dict[str, str]:
    """What its first process may do."""
    status = daemon.podman("exec", NAME, "cat", "/proc/1/status").stdout
    found = dict(re.findall(r"^(\w+):\t(\w+)", status, re.MULTILINE))
    return {name: found[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Uid")}


async def health(daemon: Boxed) -> None:
    """The health check says yes, and no while the daemon stands still."""

    async def healthy() -> bool:
        return (await asyncio.to_thread(daemon.podman, "healthcheck", "run", NAME)).returncode == 0

    assert await healthy()
    daemon.podman("kill", "--signal", signal.SIGSTOP.name, NAME)
    assert not await healthy()
    daemon.podman("kill", "--signal", signal.SIGCONT.name, NAME)
    await eventually(healthy, within=15, what="health")


def test_the_page_gives_a_stop_enough_time() -> None:
    stop = FINISH_WITHIN + STOP_WITHIN + FLUSH_WITHIN
    page = (ROOT / "docs" / "how-to" / "container.md").read_text()
    times = [int(time) for time in re.findall(r"--stop-timeout[ =](\d+)", page)]
    assert times
    assert min(times) > stop.total_seconds() + 10


def test_the_dockerfile_names_no_registry_and_no_other_base() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert bases == ["python:3.11-slim"] * 2
    assert "://" not in DOCKERFILE.read_text().replace("http://127.0.0.1:9911", "")
