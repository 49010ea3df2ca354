"""A real systemd, as a user's manager in namespaces of its own: nothing of the host's is touched.

Its processes live in one process namespace, whose end is theirs; its control groups below one folder, which is removed.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from pathlib import Path

from tests.servers.process import Process
from tests.servers.require import do_without, require

_SYSTEMD = Path("/lib/systemd/systemd")
_GROUPS = Path("/sys/fs/cgroup")
#: A manager that is process 1 would take itself for the system's; so bash is.
_BEGIN = """
set -- "$@" $WATCHDOG_GROUPS
for pair in "${@:3}"; do mount --bind "${pair%%:*}" "${pair##*:}"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/lock
mkdir -m 700 /run/user-manager
env -i PATH="$PATH" LANG=C.UTF-8 HOME="$1" XDG_RUNTIME_DIR=/run/user-manager SYSTEMD_UNIT_PATH="$1/units:" \
    "$2" --user --log-target=console --log-level=info &
wait
"""


class UserManager(Process):
    """`systemctl` speaks to it; units lie in `units`; what they print goes where they say."""

    def __init__(self, folder: Path) -> None:
        for binary in ("unshare", "nsenter", "setpriv"):
            require(binary, package="util-linux")
        require("systemctl", package="systemd")
        self.folder = folder
        self.units = folder / "units"
        self.units.mkdir(parents=True)
        self._groups: dict[Path, Path] = {}
        namespaces = ("--mount", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc")
        begin = ("bash", "-ec", _BEGIN, "bash", str(folder), str(_SYSTEMD))
        super().__init__(
            ["unshare", *namespaces, *begin], log=folder / "manager.log", ready=self._is_up, within=20.0
        )

    def start(self) -> UserManager:
        """Start it, or skip the test loudly where namespaces are not to be had."""
        self._groups = _own_groups(f"watchdog-test-{os.getpid()}-{time.monotonic_ns()}")
        inner = shlex.join(self.argv)
        # Some hierarchies take nobody in before they are set up (cpuset); systemd does without them. Where we are in,
        # our group becomes the hierarchy that the manager sees.
        enter = "".join(
            f"if echo $$ 2>/dev/null >{group}/cgroup.procs; then found+=({group}:{hierarchy}); fi\n"
            for group, hierarchy in self._groups.items()
        )
        self.argv = ["bash", "-ec", f'{enter}export WATCHDOG_GROUPS="${{found[*]}}"\nexec {inner}']
        try:
            return super().start()
        except RuntimeError as error:
            self.stop()
            do_without(f"a systemd in namespaces of its own ({str(error).splitlines()[-1]})")

    def stop(self) -> None:
        """End every process of the namespace with its first one, and remove the control groups."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait(5.0)
        deadline = time.monotonic() + 5.0
        while any(group.exists() for group in self._groups) and time.monotonic() < deadline:
            for group in self._groups:
                _remove(group)

    def systemctl(self, *words: str, within: float = 60.0) -> subprocess.CompletedProcess[str]:
        """What `systemctl --user WORDS…` says."""
        argv = ["nsenter", "-t", str(self.first), "-m", "-p", "-C", "env"]
        return subprocess.run(
            [*argv, "XDG_RUNTIME_DIR=/run/user-manager", "systemctl", "--user", "--no-pager", *words],
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        done = self.systemctl("show", f"--property={','.join(names)}", unit)
        assert done.returncode == 0, done.stderr
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    @property
    def first(self) -> int:
        """Process 1 of the namespace, as the test sees it."""
        return _children(self.pid)[0]

    def seen_from_outside(self, inner: int) -> int:
        """The number that a process of the namespace has for the test."""
        space = Path(f"/proc/{self.first}/ns/pid").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (folder / "ns/pid").readlink() == space and _inner(folder) == inner:
                    return int(folder.name)
        raise ProcessLookupError(f"no process {inner} in the namespace")

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            return self.systemctl("is-system-running").stdout.strip() == "running"
        return False


def _children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _inner(folder: Path) -> int:
    lines = (folder / "status").read_text().splitlines()
    (numbers,) = [line.split()[1:] for line in lines if line.startswith("NSpid:")]
    return int(numbers[-1])


def _own_groups(name: str) -> dict[Path, Path]:
    """A new control group below ours in each hierarchy, and the hierarchy: there the manager makes its own."""
    made = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kinds, ours = line.split(":", 2)
        unified = _GROUPS / "unified" if (_GROUPS / "unified").exists() else _GROUPS
        hierarchy = _GROUPS / kinds.removeprefix("name=") if kinds else unified
        group = hierarchy / ours.strip("/") / name
        with contextlib.suppress(OSError):
            group.mkdir()
            made[group] = hierarchy
    return made


def _remove(group: Path) -> None:
    """Remove a control group and those below it, as far as they are empty."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
