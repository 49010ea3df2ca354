"""What the Python environment must not hold: PyPI's file-watching library, which imports under our name.

Both install a package `watchdog`; whichever came last has overwritten files of the other. This module must never
import anything that such a mixture could have replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import Distribution, distributions

#: How the other distribution is called.
_OTHER = "watchdog"


def conflicting_distribution(found: Iterable[Distribution] | None = None) -> str | None:
    """What to tell the user when the other distribution is installed beside this one; `None` when all is well.

    `found` are the installed distributions, by default those of this interpreter.
    """
    for distribution in distributions() if found is None else found:
        # A folder half removed can have metadata without a name; `.name` complains about that since Python 3.12.
        metadata = distribution.metadata
        if metadata and "Name" in metadata and metadata["Name"].lower() == _OTHER:
            return (
                f"the distribution 'watchdog' {distribution.version} (a file-watching library) is installed in this "
                "Python environment and uses the same package name; give rollback-watchdog an environment of its "
                "own: python3 -m venv /opt/rollback-watchdog/venv && /opt/rollback-watchdog/venv/bin/pip install "
                "rollback-watchdog"
            )
    return None
