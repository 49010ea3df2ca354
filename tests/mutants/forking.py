"""Runs mutants inside one pytest session: all tests are collected once, and every mutant is a fork that runs its own.

Loaded as a plugin (`-p tests.mutants.forking`). The plan is a JSON file: for each mutant the tests that reach its
function. mutmut wrote all mutants of a function beside it; a fork puts the code of one of them in the function's place
and ends at the first test that fails. What it found is one line of JSON. The time of a mutant is counted in processor
seconds, so that a busy machine makes no mutant look killed.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

#: Nothing but generating: a mutant is killed by the first falsifying example, whatever the smallest one is.
settings.register_profile(
    "mutants",
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutants")

_FOLDER = "MUTANTS_FOLDER"
_PLAN = "MUTANTS_PLAN"
_FOUND = "MUTANTS_FOUND"
_SLOTS = "MUTANTS_SLOTS"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: A mutant that neither ends nor computes (it waits for what never comes) is given up after this many seconds.
_WALL = 600.0


class _FirstFailure:
    """Remembers the first test that failed."""

    def __init__(self) -> None:
        self.nodeid: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.nodeid is None:
            self.nodeid = report.nodeid


class Bodies:
    """The code of every mutant, read from the files that mutmut wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of: dict[str, dict[str, CodeType]] = {}

    def read(self, mutant: str) -> None:
        """Compile the file of a mutant; done before the fork, it is done once for all of its mutants."""
        self._code(mutant.rpartition(".")[0])

    def put(self, mutant: str) -> None:
        """From now on, in this process, the function is the mutant."""
        module, _, short = mutant.rpartition(".")
        changed = self._code(module)[short]
        mangled, _, _ = short.rpartition("__mutmut_")
        target: Any = importlib.import_module(module)
        if "ǁ" in mangled:
            _, holder, name = mangled.split("ǁ")
            target = getattr(target, holder)
        else:
            name = mangled.removeprefix("x_")
        found = inspect.getattr_static(target, name)
        found = inspect.unwrap(getattr(found, "__func__", found))
        found.__code__ = changed
        if found.__defaults__ or found.__kwdefaults__:
            self._put_defaults(found, module, short)

    def _put_defaults(self, found: FunctionType, module: str, short: str) -> None:
        """A default that is a plain value may be what was changed; others are left as they are."""
        tree = ast.parse((self._folder / f"{module.replace('.', '/')}.py").read_text())
        (node,) = [it for it in ast.walk(tree) if isinstance(it, _FUNCTIONS) and it.name == short]
        plain = {
            word.arg: default.value
            for word, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            if isinstance(default, ast.Constant)
        }
        found.__kwdefaults__ = {**(found.__kwdefaults__ or {}), **plain} or None
        if found.__defaults__:
            new = [it.value if isinstance(it, ast.Constant) else None for it in node.args.defaults]
            old = found.__defaults__
            kept = [isinstance(it, ast.Constant) for it in node.args.defaults]
            found.__defaults__ = tuple(new[i] if kept[i] else old[i] for i in range(len(old)))

    def _code(self, module: str) -> dict[str, CodeType]:
        if module not in self._of:
            file = self._folder / f"{module.replace('.', '/')}.py"
            self._of[module] = dict(_codes(compile(file.read_text(), str(file), "exec", dont_inherit=True)))
        return self._of[module]


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner.co_name, inner
            yield from _codes(inner)


class Forks:
    """The children that run now, and the lines they leave."""

    def __init__(self, items: list[pytest.Item], bodies: Bodies, found: Path) -> None:
        self._bodies = bodies
        self._items = {item.nodeid: item for item in items}
        self._found = found
        self._running: dict[int, tuple[str, float]] = {}

    def start(self, name: str, tests: list[str], seconds: float) -> None:
        if name:
            self._bodies.read(name)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self._child(name, [self._items[it] for it in tests if it in self._items], seconds)
                status = 0
            finally:
                os._exit(status)
        self._running[pid] = (name, time.monotonic())

    def wait_below(self, slots: int) -> None:
        """Wait until fewer than `slots` run."""
        while len(self._running) >= slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                self._give_up_the_old()
                time.sleep(0.005)
                continue
            name, started = self._running.pop(pid)
            if status != 0:
                self._write(
                    {"mutant": name, "end": "timeout", "seconds": round(time.monotonic() - started, 2)}
                )

    def _give_up_the_old(self) -> None:
        for pid, (_, started) in self._running.items():
            if time.monotonic() - started > _WALL:
                os.kill(pid, signal.SIGKILL)

    def _child(self, name: str, items: list[pytest.Item], seconds: float) -> None:
        started = time.monotonic()
        used = time.process_time()
        limit = int(used + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        if name:
            self._bodies.put(name)
        first = _FirstFailure()
        ran = 0
        if items:
            items[0].config.pluginmanager.register(first)
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                ran += 1
                if first.nodeid is not None:
                    break
        end = "killed" if first.nodeid else "survived" if items else "no tests"
        self._write(
            {
                "mutant": name,
                "end": end,
                "by": first.nodeid,
                "tests": ran,
                "cpu": round(time.process_time() - used, 2),
                "seconds": round(time.monotonic() - started, 2),
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        with self._found.open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: object) -> bool:
    """No test ends because the machine is busy: what hangs is ended by the parent."""
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    if session.testsfailed:
        raise session.Interrupted("the tests could not be collected")
    plan = json.loads(Path(os.environ[_PLAN]).read_text())
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all that it shares with this process
    forks = Forks(session.items, Bodies(Path(os.environ[_FOLDER])), Path(os.environ[_FOUND]))
    slots = int(os.environ.get(_SLOTS, "2"))
    for mutant in plan:
        forks.wait_below(slots)
        forks.start(mutant["mutant"], mutant["tests"], mutant["seconds"])
    forks.wait_below(1)
    return True
