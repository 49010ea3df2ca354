"""What the machine must be for the daemon: alone in its Python environment, with a clock that is kept right.

This module must never set a clock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

from watchdog.app.environment import conflicting_distribution
from watchdog.app.finding import Finding, Health

#: `STA_UNSYNC` of adjtimex(2).
_UNSYNCHRONISED: Final = 0x40
#: Bytes of `struct timex` on Linux with 64 bits, and where its `status` stands.
_SIZE: Final = 208
_STATUS: Final = 40


def environment() -> Finding:
    """Whether PyPI's file-watching library is installed beside this one."""
    conflict = conflicting_distribution()
    if conflict is None:
        return Finding(
            what="environment", health=Health.OK, detail="nothing else installs a package 'watchdog'"
        )
    return Finding(
        what="environment", health=Health.BAD, detail=conflict, advice="use an environment of its own"
    )


def kernel_status() -> int | None:
    """The status bits of the kernel's clock; `None` where they cannot be asked for. Changes nothing."""
    timex = ctypes.create_string_buffer(_SIZE)  # modes 0: only read
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return ctypes.c_int.from_buffer(timex, _STATUS).value


def clock(status: Callable[[], int | None] = kernel_status) -> Finding:
    """Whether something keeps the machine's clock right. A clock that nobody keeps drifts until samples look stale."""
    found = status()
    if found is None:
        return Finding(what="clock", health=Health.OK, detail="whether it is kept right cannot be asked here")
    if found & _UNSYNCHRONISED:
        return Finding(
            what="clock",
            health=Health.WARN,
            detail="nothing keeps the clock of this machine right, as far as the kernel knows",
            advice="run an NTP client: systemd-timesyncd, chrony; in a container, on its host",
        )
    return Finding(what="clock", health=Health.OK, detail="kept right (NTP)")
