"""The shipped unit, made fit for a test: its own paths, and without what only the system's manager may do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import ROOT

FOLDER = ROOT / "systemd"
UNIT = FOLDER / "rollback-watchdog.service"
VENV = "/opt/rollback-watchdog/venv"
CONFIG = "/etc/watchdog/watchdog.yaml"

#: A user's manager has one user, folders of his, and no places under /run/systemd to hide things behind.
NOT_FOR_USERS = (
    *("User", "Group", "StateDirectory", "StateDirectoryMode"),
    *("ProtectHome", "ProtectKernelLogs", "ProtectKernelTunables"),
)


def user_unit(*, config: Path) -> str:
    """The shipped unit for a user's manager, with the virtual environment of the tests. All else is as shipped."""
    text = with_paths(UNIT.read_text(), {VENV: sys.prefix, CONFIG: str(config)})
    lines = text.splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in NOT_FOR_USERS]
    assert len(lines) - len(kept) == len(NOT_FOR_USERS), "the unit has changed: see NOT_FOR_USERS"
    return "\n".join(kept) + "\n"


def with_paths(text: str, paths: Mapping[str, str]) -> str:
    """The text with other paths; each must occur in it."""
    for path, other in paths.items():
        assert path in text, f"no {path} in the unit"
        text = text.replace(path, other)
    return text
