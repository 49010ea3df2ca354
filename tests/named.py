"""Tests that pages name: do they exist, and did each of them run?

README.md names tests beside its promises, and tests/faults/README.md beside every known way of going wrong. Such a
table is worth only as much as the run behind it. So at the end of a whole run (`make test`: nothing chosen, nothing
left out) every named test must have run; one that was skipped, deselected or never collected makes the run fail.
Where a real component is missing and not required (`WATCHDOG_REQUIRE_REAL` is not set), its tests may be skipped;
those on a real Kubernetes API server may be wherever its binaries are not.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.servers.require import ASSETS, MISSING, REQUIRE_REAL

ROOT = Path(__file__).parents[1]
#: The pages whose tests must all have run at the end of a whole run.
PAGES = (ROOT / "README.md", ROOT / "tests" / "faults" / "README.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)+)(?:\[[^`\n]*\])?`")
#: What narrows a run, beside arguments and `-k`: with one of these it is no whole run.
_NARROWING = (
    "keyword",
    "deselect",
    "ignore",
    "ignore_glob",
    "lf",
    "last_failed",
    "stepwise",
    "collectonly",
    "maxfail",
)


def named_in(text: str) -> list[str]:
    """The tests that a text names in backticks, `tests/FILE.py::TEST`, without the parameters behind them."""
    return [found[1] for found in NAMED.finditer(text)]


@functools.cache
def written_in(file: str) -> frozenset[str]:
    """What tests a file defines: `test_name`, and `TestClass::test_name`. Empty when there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    return frozenset(_tests(ast.parse(path.read_text()), ""))


def _tests(node: ast.Module | ast.ClassDef, before: str) -> Iterator[str]:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test"):
            yield f"{before}{inner.name}"
        elif isinstance(inner, ast.ClassDef):
            yield from _tests(inner, f"{before}{inner.name}::")


def exists(named: str) -> bool:
    """Whether a named test is written somewhere."""
    file, _, test = named.partition("::")
    return test in written_in(file)


class NamedTests:
    """Watches a whole run, in the process that hears of all tests (of xdist: not the workers)."""

    def __init__(self, config: pytest.Config, pages: Sequence[Path] = PAGES) -> None:
        self._config = config
        self._named = frozenset(name for page in pages for name in named_in(page.read_text()))
        self._ran: set[str] = set()
        self._skipped: dict[str, str] = {}
        self.missing: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if name not in self._named:
            return
        if report.skipped:
            self._skipped[name] = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
        elif report.when == "call" or report.failed:
            self._ran.add(name)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} or not whole(self._config):
            return
        self.missing = [f"{name}: {why}" for name, why in sorted(self._unproved())]
        if self.missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _unproved(self) -> Iterator[tuple[str, str]]:
        for name in self._named - self._ran:
            why = self._skipped.get(name, "did not run")
            required = os.environ.get(REQUIRE_REAL) == "1" and ASSETS not in why
            if MISSING not in why or required:
                yield name, why

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.missing:
            return
        terminalreporter.section("NAMED AS PROOF AND NOT RUN", sep="!", red=True, bold=True)
        for line in self.missing:
            terminalreporter.line(line, red=True)


def whole(config: pytest.Config) -> bool:
    """Whether this run was asked for everything that `make test` runs."""
    return (
        config.args_source is not pytest.Config.ArgsSource.ARGS
        and config.option.markexpr == "not soak"
        and not any(getattr(config.option, name, None) for name in _NARROWING)
    )


def watch(config: pytest.Config) -> None:
    """For `pytest_configure`: the end of a whole run fails when a named test did not run."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(NamedTests(config), "named-tests")
