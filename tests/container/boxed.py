"""The daemon in a container: read-only, without a capability, not root; its store on a volume."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.container.engine import Engine
from tests.e2e.daemon import Daemon

NAME = "watchdog-under-test"
USER = 9911
STORE = "/var/lib/watchdog"


class Boxed(Daemon):
    """`podman run` in the foreground is its process: it ends with the container, and with its exit code."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        super().__init__(folder)
        self.engine = engine
        self.settings["store"] = {"url": f"sqlite:///{STORE}/watchdog.db"}
        self.settings["pause_file"] = f"{STORE}/pause"
        self.settings["server"]["tokens"][0]["token"] = "!file token"

    def mount(self, *sockets: Path) -> None:
        """What it is given: the configuration to read, the store to write, and the sockets of what it switches."""
        mounts = [f"{self.folder}:/etc/watchdog:ro", f"watchdog-store:{STORE}"]
        mounts += [f"{socket.parent}:{socket.parent}" for socket in sockets]
        options = [word for mount in mounts for word in ("--volume", mount)]
        options += ["--env", f"WATCHDOG_URL={self.url}"]
        self.argv = self.engine.run_argv(NAME, options=options)

    def write(self) -> None:
        super().write()
        for file in (self.folder, *self.folder.iterdir()):
            os.chown(file, USER, USER)

    def stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self.podman("stop", "--time", "40", NAME)
            self._child.wait(10.0)

    def podman(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.engine.podman(*words)
