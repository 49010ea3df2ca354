"""The daemon as a unit of a real systemd, with the lines of the shipped unit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.eventually import eventually
from tests.servers.process import ROOT
from tests.systemd.manager import UserManager
from tests.systemd.unit import UNIT, user_unit

NAME = UNIT.name
PROPERTIES = ("ActiveState", "SubState", "Result", "MainPID", "NRestarts", "StatusText", "NotifyAccess")

#: Nothing but times is another than shipped, and where the test can look.
_DROP_IN = """
[Service]
WatchdogSec=3s
RestartSec=100ms
Environment=PYTHONPATH={root}
StandardOutput=append:{log}
StandardError=append:{log}
BindReadOnlyPaths={readable}
BindPaths={writable}
ReadWritePaths={writable}
ExecStopPost=sh -c 'echo $SERVICE_RESULT >>{ends}'
"""


class Service(Daemon):
    """Started and stopped by the manager, everything else as any other daemon of the tests."""

    def __init__(self, folder: Path, manager: UserManager) -> None:
        super().__init__(folder)
        self.manager = manager
        #: More folders that the unit may see: those of sockets.
        self.more: list[Path] = []
        self._ends = folder / "ends"

    @property
    def pid(self) -> int:
        return self.manager.seen_from_outside(int(self.state["MainPID"]))

    @property
    def state(self) -> dict[str, str]:
        """What the manager says about it now."""
        return self.manager.show(NAME, *PROPERTIES)

    @property
    def endings(self) -> list[str]:
        """How each of its processes ended, in the manager's words: `success`, `watchdog`, `timeout` …"""
        return self._ends.read_text().split() if self._ends.exists() else []

    @property
    def exit_code(self) -> int | None:
        """None while the manager runs it, or is about to."""
        return None if self.state["ActiveState"] in {"active", "activating", "reloading"} else 1

    def start(self) -> Service:
        """Start it and wait for what the manager waits for: READY."""
        self.install()
        done = self.manager.systemctl("start", NAME)
        assert done.returncode == 0, f"{done.stderr}{self.output()[-3000:]}{self.manager.output()[-2000:]}"
        return self

    def install(self) -> None:
        """Put the unit where the manager finds it."""
        (self.manager.units / NAME).write_text(user_unit(config=self.config))
        drop_in = self.manager.units / f"{NAME}.d" / "test.conf"
        drop_in.parent.mkdir(exist_ok=True)
        readable = {str(ROOT), sys.prefix, sys.base_prefix}
        writable = [self.folder, *self.more]
        drop_in.write_text(
            _DROP_IN.format(
                root=ROOT,
                ends=self._ends,
                log=self.log,
                readable=" ".join(sorted(readable)),
                writable=" ".join(map(str, writable)),
            )
        )
        assert self.manager.systemctl("daemon-reload").returncode == 0

    def stop(self) -> None:
        if self.manager.exit_code is None:
            self.manager.systemctl("stop", NAME)

    async def restarted(self, times: int = 1, *, within: float = 30.0) -> None:
        """Wait until the manager has started it anew so many times, and it is ready."""

        def again() -> bool:
            state = self.state
            assert int(state["NRestarts"]) <= times, f"restarted {state['NRestarts']} times"
            return int(state["NRestarts"]) == times and state["ActiveState"] == "active"

        await eventually(again, within=within, every=0.1, what="a new start")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
