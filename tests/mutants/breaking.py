"""Breaks every promise once, in a copy, and sees who notices: the tests of the promise must, others need not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.promises import BROKEN, Broken
from tests.named import ROOT, named_in

#: The quick tests that must not be the ones that notice.
QUICK = ("tests/core", "tests/engine")
_COPIED = (
    "watchdog",
    "tests",
    "benchmarks",
    "config",
    "rules",
    "docs",
    "systemd",
    "pyproject.toml",
    "Makefile",
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/[\w/.]+(?:::\w+)*)", re.MULTILINE)


def rows() -> dict[str, tuple[str, ...]]:
    """Every promise of the README and the tests beside it."""
    _, _, below = (ROOT / "README.md").read_text().partition("| promise | held by |")
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return {line.split("|")[1].strip(): tuple(named_in(line)) for line in lines}


def row_of(broken: Broken) -> tuple[str, ...]:
    """The tests of the promise that this breaks."""
    found = [tests for promise, tests in rows().items() if broken.promise in promise]
    assert len(found) == 1, f"{broken.promise!r} stands in {len(found)} promises"
    return found[0]


def copied(folder: Path) -> Path:
    """A copy of the project that may be broken."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, folder / name)
    for page in ROOT.glob("*.md"):
        shutil.copy(page, folder / page.name)
    return folder


def failing(folder: Path, *words: str) -> set[str]:
    """The tests that fail in the copy, without their parameters."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *words]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise RuntimeError(
            f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return set(_FAILED.findall(done.stdout))


def broken_once(folder: Path, broken: Broken, *, quick: bool = True) -> tuple[set[str], set[str]]:
    """Which of the named tests, and which quick tests beside the promise's, notice this."""
    path = folder / broken.file
    text = path.read_text()
    assert text.count(broken.old) == 1, f"{broken.file}: {broken.old!r}"
    path.write_text(text.replace(broken.old, broken.new))
    try:
        named = failing(folder, *broken.killed_by)
        left = [f"--deselect={name}" for name in row_of(broken)]
        return named, failing(folder, *QUICK, "--maxfail=30", *left) if quick else set()
    finally:
        path.write_text(text)


def main() -> int:
    """Break everything; 1 when a promise's own test did not notice. Others that notice are listed."""
    wrong = [f"no way of breaking: {row}" for row in rows() if not any(it.promise in row for it in BROKEN)]
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        for broken in BROKEN:
            named, others = broken_once(folder, broken)
            print(f"{broken.promise}: {broken.how}", flush=True)  # noqa: T201
            for test in broken.killed_by:
                print(f"  {'red  ' if test in named else 'GREEN'} {test}", flush=True)  # noqa: T201
            for test in sorted(others):
                print(f"  red, too: {test}", flush=True)  # noqa: T201
            wrong += [
                f"{test} does not notice: {broken.how}" for test in broken.killed_by if test not in named
            ]
    print("\n".join(wrong) or "Every promise was broken, and its tests noticed.")  # noqa: T201
    return bool(wrong)
