"""What an operator's own traffic script could be: the state is a JSON file. Run with its path and a verb:

    state_file_switch.py FILE read
    state_file_switch.py FILE apply VARIANT EXPECT MARK
    state_file_switch.py FILE verify VARIANT

`misbehave` in the file, a verb to a word, makes that verb do wrong (see `WRONGS`); with `late-` before the word only
after it has done what it should.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()


def leave_a_grandchild() -> None:
    """It keeps our output open and writes its number down."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    Path(sys.argv[1]).with_name("grandchild").write_text(str(grandchild.pid))
    if sys.argv[2] == "read":
        say(json.dumps(load()))
    os._exit(0)


def fail(code: int, said: str) -> None:
    sys.stderr.write(said + "\n")
    raise SystemExit(code)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def garbage() -> None:
    say("all is well, boss")
    raise SystemExit(0)


def flood() -> None:
    """A hundred megabytes."""
    for _ in range(100):
        os.write(1, b"x" * 1_000_000)


WRONGS: dict[str, Callable[[], None]] = {
    "hang": hang,
    "garbage": garbage,
    "flood": flood,
    "fail": lambda: fail(1, "cannot reach the load balancer, token " + os.environ.get("TOKEN", "unset")),
    "conflict": lambda: fail(3, "somebody else was here"),
    "refuse": lambda: fail(4, "not on a Friday"),
    "grandchild": leave_a_grandchild,
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def load() -> dict[str, Any]:
    state: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return {name: state[name] for name in ("variants", "revision", "paused") if name in state}


def apply(state: dict[str, Any], variant: str, expect: str) -> None:
    if str(state["revision"]) != expect:
        fail(3, f"at {state['revision']}")
    for name, facts in state["variants"].items():
        facts["weight"] = 100 if name == variant else 0
    state["revision"] += 1
    state["applied"] = [*state.get("applied", []), sys.argv[4:]]
    state["environment"] = dict(os.environ)
    file = Path(sys.argv[1])
    file.with_suffix(".new").write_text(json.dumps(state))
    file.with_suffix(".new").replace(file)


def main() -> None:
    verb = sys.argv[2]
    state: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    wrong = state.get("misbehave", {}).get(verb, "")
    late = wrong.removeprefix("late-")
    if wrong and late == wrong:
        WRONGS[wrong]()
    if verb == "read":
        say(json.dumps(load()))
    elif verb == "apply":
        apply(state, sys.argv[3], sys.argv[4])
    if wrong and late != wrong:
        WRONGS[late]()


if __name__ == "__main__":
    main()
