"""The scripts behind `make`, with programs of our own in place of apt, python and the user's id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class Machine:
    """A folder of programs that comes first on PATH; each writes its arguments into `calls`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "calls"
        self.has("id", "echo 0")
        self.has("apt-get", 'echo "apt-get $*" >>"$CALLS"; [ "${*#*update}" = "$*" ]')
        self.has("dpkg-query", "exit 1")

    def has(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/bash\n{script}\n")
        file.chmod(0o755)

    def run(self, *argv: str, path: str = "/usr/bin:/bin", **environment: str) -> tuple[int, str]:
        done = subprocess.run(
            argv,
            env={
                "PATH": f"{self.folder}:{path}",
                "CALLS": str(self.log),
                "POLICY_RC_D": str(self.folder / "policy-rc.d"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def packages(machine: Machine, **environment: str) -> tuple[int, str]:
    return machine.run(str(ROOT / ".ci" / "packages"), "no-such-server", **environment)


def test_packages_are_installed_although_there_are_no_new_lists(machine: Machine) -> None:
    code, _ = packages(machine)
    assert code == 0
    update, install = machine.calls
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends no-such-server")
    assert all("-o Acquire::http::Timeout=10" in call for call in machine.calls)
    assert all("-o Acquire::Retries=0" in call for call in machine.calls)
    assert not (machine.folder / "policy-rc.d").exists()


@pytest.mark.parametrize(("required", "attempts", "code"), [("0", 1, 0), ("1", 2, 1)])
def test_a_machine_without_network_is_tried_twice_only_where_it_must_be(
    machine: Machine, required: str, attempts: int, code: int
) -> None:
    machine.has("apt-get", 'echo "apt-get $*" >>"$CALLS"; echo no network; exit 100')
    ended, told = packages(machine, WATCHDOG_REQUIRE_REAL=required)
    assert ended == code
    assert "MISSING: no-such-server" in told
    assert "no network" in told
    assert len([call for call in machine.calls if " install " in call]) == attempts


def python(version: tuple[int, int]) -> str:
    """An interpreter of this version, as far as the script asks; it makes no environment."""
    asked = 'sys.version_info = (*V, 0); exec(compile(sys.argv[1], "x", "exec"))'.replace("V", str(version))
    return (
        f'if [ "$1" = -c ]; then exec {sys.executable} -c \'import sys; {asked}\' "$2"; fi; echo "$*"; exit 1'
    )


@pytest.mark.parametrize(
    ("found", "chosen", "noticed"),
    [
        ({"python3": (3, 14), "python3.12": (3, 12)}, "3.12", False),
        ({"python3.11": (3, 11), "python3.13": (3, 13)}, "3.13", False),
        ({"python3": (3, 14)}, "3.14", True),
    ],
    ids=str,
)
def test_the_interpreter_is_one_that_the_lock_file_is_for(
    machine: Machine, tmp_path: Path, found: dict[str, tuple[int, int]], chosen: str, noticed: bool
) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python"):
        machine.has(name, python(found[name]) if name in found else "exit 127")
    code, told = machine.run(str(ROOT / ".ci" / "venv"), str(tmp_path / "venv"))
    assert code == 1
    assert f"[venv] Python {chosen} (" in told
    assert ("ATTENTION" in told) is noticed
