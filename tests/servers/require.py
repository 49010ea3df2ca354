"""Real components: found, or skipped loudly, or (WATCHDOG_REQUIRE_REAL=1) a failure."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

REQUIRE_REAL = "WATCHDOG_REQUIRE_REAL"
MISSING = "real component missing"
#: Names where Kubernetes' binaries are looked for; no package has them, so their absence alone is never a failure.
ASSETS = "KUBEBUILDER_ASSETS"

# Debian keeps servers in sbin, which is not on every user's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def require(binary: str, *, package: str | None = None) -> str:
    """The path of `binary`. Without it the test is skipped, and fails where real components are required."""
    found = shutil.which(binary, path=_PLACES)
    if found is None:
        do_without(f"{binary} (apt install {package or binary})")
    return found


def do_without(what: str) -> NoReturn:
    """Skip the test, loudly, because `what` is not to be had here; fail where real components are required."""
    reason = f"{MISSING}: {what}"
    if os.environ.get(REQUIRE_REAL) == "1":
        pytest.fail(f"{reason}, and {REQUIRE_REAL}=1", pytrace=False)
    pytest.skip(reason)
