"""The files of `systemd/`, judged by systemd's own tools; nothing is started."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.process import ROOT
from tests.servers.require import require
from tests.systemd.unit import FOLDER, UNIT, VENV, with_paths
from watchdog.app.notify import EXTENSION, LONGEST_PAUSE
from watchdog.app.people import FLUSH_WITHIN
from watchdog.app.term import FINISH_WITHIN, STOP_WITHIN
from watchdog.config.schema import PAUSE_FILE, STORE_URL

DROP_INS = sorted((FOLDER / "rollback-watchdog.service.d").glob("*.conf"))
NAME = "rollback-watchdog"


def run(*argv: str, package: str = "systemd") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require(argv[0], package=package), *argv[1:]],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def written(folder: Path, *drop_ins: Path) -> Path:
    """The unit, with drop-ins, for the virtual environment of the tests."""
    text = "\n".join(file.read_text() for file in (UNIT, *drop_ins))
    unit = folder / UNIT.name
    unit.write_text(with_paths(text, {VENV: sys.prefix}))
    return unit


def exposure(unit: Path) -> float:
    """How much `systemd-analyze security` says a broken daemon could do, from 0 to 10."""
    done = run("systemd-analyze", "security", "--no-pager", "--offline=yes", str(unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    return float(found[1])


@pytest.mark.parametrize("drop_ins", [[], *([one] for one in DROP_INS)], ids=str)
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path, drop_ins: list[Path]) -> None:
    done = run("systemd-analyze", "verify", "--man=no", str(written(tmp_path, *drop_ins)))
    # Other units of the machine may have faults of their own.
    said = [line for line in done.stderr.splitlines() if NAME in line]
    assert (done.returncode, said) == (0, [])


def test_a_broken_daemon_could_do_as_little_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
    told = re.search(r"says ([\d.]+) of 10, and ([\d.]+) with the drop-in for nginx", page)
    assert told
    haproxy, nginx = (FOLDER / f"{NAME}.service.d" / f"{name}.conf" for name in ("haproxy", "nginx"))
    assert exposure(written(tmp_path, haproxy)) == float(told[1]) <= 2.0
    assert exposure(written(tmp_path, nginx)) == float(told[2]) <= 2.0


def test_systemd_has_nothing_to_say_about_what_the_daemon_asks_of_nginx(tmp_path: Path) -> None:
    for file in (*FOLDER.glob("rollback-watchdog-nginx*"), *FOLDER.glob("*-nginx")):
        text = file.read_text().replace("/usr/local/lib/rollback-watchdog", str(tmp_path))
        (tmp_path / file.name).write_text(text)
        (tmp_path / file.name).chmod(0o755 if file.suffix == "" else 0o644)
    units = [str(path) for path in tmp_path.glob("rollback-watchdog-nginx*")]
    done = run("systemd-analyze", "verify", "--man=no", *units)
    said = [line for line in done.stderr.splitlines() if NAME in line]
    assert (len(units), done.returncode, said) == (2, 0, [])


def test_nginx_obeys_the_daemon_and_not_those_who_may_read_its_files() -> None:
    socket = (FOLDER / "rollback-watchdog-nginx.socket").read_text().splitlines()
    assert {f"SocketUser={NAME}", "SocketMode=0600"} <= set(socket)
    assert not [line for line in socket if line.startswith("SocketGroup=")]
    page = (ROOT / "docs" / "how-to" / "nginx.md").read_text()
    assert f"install -d -o {NAME} -g root -m 755 /etc/nginx/watchdog\n" in page


def test_a_socket_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    socket = tmp_path / "nginx.sock"
    done = subprocess.run(
        [sys.executable, "-I", str(FOLDER / "ask-nginx"), "test"],
        env={"NGINX_SOCKET": str(socket)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"ask-nginx: {socket}: [Errno 2] No such file or directory\n",
    )


def test_the_times_of_the_unit_fit_those_of_the_daemon() -> None:
    given = dict(re.findall(r"^(\w+Sec)=(\d+)s$", UNIT.read_text(), re.MULTILINE))
    stop = FINISH_WITHIN + STOP_WITHIN + FLUSH_WITHIN
    assert int(given["TimeoutStopSec"]) > stop.total_seconds() + 10
    assert int(given["WatchdogSec"]) > 2 * LONGEST_PAUSE.total_seconds()
    assert EXTENSION > 2 * LONGEST_PAUSE


def test_user_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(FOLDER / f"{NAME}.sysusers.conf"))
    assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc" / "passwd").read_text()
    assert re.search(
        rf"^{NAME}:x:\d+:\d+:Rollback Watchdog:/var/lib/watchdog:/usr/sbin/nologin$", users, re.MULTILINE
    )
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", str(FOLDER / f"{NAME}.tmpfiles.conf"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/watchdog").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "var/lib/watchdog").stat().st_mode & 0o777 == 0o750


def test_the_unit_is_where_the_defaults_are() -> None:
    text = UNIT.read_text()
    (state,) = re.findall(r"^StateDirectory=(.+)$", text, re.MULTILINE)
    assert str(PAUSE_FILE.parent) == f"/var/lib/{state}"
    assert STORE_URL.startswith(f"sqlite:////var/lib/{state}/")
