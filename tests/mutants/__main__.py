"""`python -m tests.mutants core|promises`: see README.md beside this file. Run by `make mutants`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants import breaking
from tests.mutants.plan import mutants_in, plan
from tests.mutants.report import found_in, table
from tests.named import ROOT

FOLDER = ROOT / "build" / "mutants" / "tree"
SEED = 4
#: All of the core, and the executor.
FILES = (
    *(f"watchdog/core/{path.name}" for path in sorted((ROOT / "watchdog" / "core").glob("*.py"))),
    "watchdog/engine/executor.py",
)
#: One small module: mutmut makes all mutants and notes all tests whichever it is told to run.
_ANY = "watchdog.core.clockstep*"


def make(folder: Path) -> Path:
    """Let mutmut write every mutant and note which test calls what; the folder in which they are."""
    if not (folder / "mutants" / "mutmut-stats.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        breaking.copied(folder)
        subprocess.run([sys.executable, "-m", "mutmut", "run", _ANY], cwd=folder, check=True)
    return folder / "mutants"


def core(*, sample: int | None, files: tuple[str, ...]) -> int:
    """Try the mutants, those that were tried before excepted, and print the score."""
    made = make(FOLDER)
    found, chosen = FOLDER / "found.jsonl", FOLDER / "plan.json"
    found.touch()
    done = found_in(found)
    todo = [it for it in plan(made, list(files), sample=sample, seed=SEED) if it["mutant"] not in done]
    chosen.write_text(json.dumps(todo))
    print(f"{len(todo)} mutants", flush=True)  # noqa: T201
    words = [
        "-p",
        "tests.mutants.forking",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-s",
    ]
    environ = {
        **os.environ,
        "MUTANTS_FOLDER": str(made),
        "MUTANTS_PLAN": str(chosen),
        "MUTANTS_FOUND": str(found),
        "MUTANTS_SLOTS": str(os.cpu_count() or 1),
    }
    with (FOLDER / "pytest.log").open("w") as log:
        argv = [sys.executable, "-m", "pytest", "-q", *words, *breaking.QUICK]
        subprocess.run(argv, cwd=FOLDER, env=environ, stdout=log, stderr=subprocess.STDOUT, check=False)
    ends = found_in(found)
    print(table((it for file in files for it in mutants_in(made, file)), ends))  # noqa: T201
    print("\n".join(name for name, end in ends.items() if end in {"survived", "no tests"}))  # noqa: T201
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("what", choices=["core", "promises"])
    parser.add_argument(
        "--sample", type=int, help="at most so many mutants of a module, chosen by a fixed seed"
    )
    parser.add_argument("--file", action="append", help="only these, such as watchdog/core/guards.py")
    given = parser.parse_args()
    if given.what == "promises":
        return breaking.main()
    return core(sample=given.sample, files=tuple(given.file or FILES))


if __name__ == "__main__":
    sys.exit(main())
