"""The image with systemd as its first process: a host on which the unit is installed as the page says.

It needs all rights, because systemd takes them away again, one by one, for the unit.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.container.engine import IMAGE, LIMITS, Engine
from tests.servers.process import ROOT

_NAME = "watchdog-host"
#: Containers begin with private mounts, through which credentials do not reach the units.
_BEGIN = "mount --make-rshared /; chmod 1777 /run/lock; exec /lib/systemd/systemd"
_RULES = """version: 1
rules:
  - name: error-rate
    ratio: {bad: 'errors{version="$version"}', total: 'requests{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
"""
_STATE = {"variants": {"blue": {"weight": 100}, "green": {"weight": 0}}, "revision": "1"}
_SETTINGS = {
    "version": 1,
    "rules": ["rules.yaml"],
    "sources": {"app": {"kind": "scrape", "urls": ["http://127.0.0.1:9/metrics"]}},
    "channels": {"log": {"kind": "log"}},
    "routes": [{"to": ["log"]}],
}


class Booted:
    """`shell` runs a line as root on it."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def start(self) -> None:
        """Boot it; ready when `systemctl is-system-running` says something."""
        rights = ("--privileged", "--user=0", "--network=none", "--systemd=always", *LIMITS)
        mounts = ("--volume", f"{ROOT}/systemd:/systemd:ro", "--volume", f"{self._folder}:/configuration:ro")
        words = (
            "run",
            "--detach",
            "--rm",
            "--name",
            _NAME,
            *rights,
            *mounts,
            "--workdir=/",
            "--entrypoint=sh",
        )
        done = self._engine.podman(*words, IMAGE, "-c", _BEGIN)
        assert done.returncode == 0, done.stderr

    def is_up(self) -> bool:
        return self.shell("systemctl is-system-running").strip() in {"running", "degraded"}

    def install(self) -> None:
        """What the page says to do, but for the virtual environment, which is there; and a configuration."""
        traffic = {
            "kind": "command",
            "read": ["cat", "/etc/watchdog/state.json"],
            "apply": ["true", "{variant}"],
        }
        token = "!file /run/credentials/rollback-watchdog.service/ci-token"
        settings = {
            **_SETTINGS,
            "server": {"tokens": [{"name": "ci", "role": "operator", "token": "TOKEN"}]},
            "services": [{"name": "trips", "rules": ["error-rate"], "traffic": traffic}],
        }
        (self._folder / "watchdog.yaml").write_text(json.dumps(settings).replace('"TOKEN"', token))
        (self._folder / "rules.yaml").write_text(_RULES)
        (self._folder / "state.json").write_text(json.dumps(_STATE))
        (self._folder / "ci-token").write_text("a-token-that-is-long-enough")
        page = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
        steps = re.findall(r"^(?:install -m|systemd-).*$", page, re.MULTILINE)
        assert len(steps) == 5, steps
        drop_in = "/etc/systemd/system/rollback-watchdog.service.d/secrets.conf"
        (credential,) = re.findall(r"^LoadCredential=.*$", page, re.MULTILINE)
        for step in (
            *steps,
            "install -m 640 -g rollback-watchdog /configuration/*.* /etc/watchdog/",
            "install -D -m 600 /configuration/ci-token /etc/watchdog-secrets/ci-token",
            f"mkdir {Path(drop_in).parent}; printf '[Service]\\n{credential}\\n' >{drop_in}",
            "systemctl daemon-reload",
        ):
            self.shell(step, must=True)

    def shell(self, line: str, *, must: bool = False) -> str:
        """What the line prints, errors included."""
        done = self._engine.podman("exec", _NAME, "sh", "-c", f"{line} 2>&1")
        assert done.returncode == 0 or not must, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        self._engine.podman("rm", "--force", "--time", "0", _NAME)
