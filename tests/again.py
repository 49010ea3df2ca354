"""A second chance for a few tests that wait for real servers: `python -m tests.again`, after a run that was not green.

Thousands of tests share a small machine with hundreds of real servers, and now and then one of them is slower than a
deadline. The tests that failed are run once more, alone, and named, whatever comes of it. What is pure or a proof gets
no second chance, nor do more failures than a busy machine can explain.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: More than so many failures are no accident.
MOST = 6
#: Virtual time, or a proof: whatever fails once here is wrong.
NEVER = (
    "tests/core/",
    "tests/engine/",
    "tests/store/",
    "tests/faults/test_crash.py",
    "tests/faults/test_state_machine.py",
    "tests/faults/test_machine_plays.py",
    "tests/faults/test_storm.py",
    "tests/faults/test_steps.py",
)
#: Among those, what waits for a real server all the same.
REAL = (
    "tests/store/test_postgresql.py",
    "tests/store/test_migrate_postgresql.py",
    "tests/store/test_standing_transaction.py",
)
_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def refused(failed: list[str]) -> str:
    """Why there is no second chance; empty when there is one."""
    if not failed:
        return "nothing failed by name"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed, more than {MOST}"
    pure = [name for name in failed if name.startswith(NEVER) and not name.startswith(REAL)]
    strict = [*pure, *(name for name in failed if "::" not in name)]
    return f"no second chance for {', '.join(strict)}" if strict else ""


def main() -> int:
    """Run again what failed; answers the exit code."""
    failed = sorted(json.loads(_FAILED.read_text())) if _FAILED.exists() else []
    if why := refused(failed):
        sys.stderr.write(f"not run again: {why}\n")
        return 1
    _say("failed once, run again alone", failed)
    again = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:randomly", *failed], check=False)
    _say("passed the second time, look into them" if again.returncode == 0 else "failed twice", failed)
    return again.returncode


def _say(what: str, names: list[str]) -> None:
    sys.stdout.write("\n  ".join([f"{what.upper()}:", *names]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
