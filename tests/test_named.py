"""A whole run with a named test that did not run must fail, also when workers run the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.named import ROOT, exists, named_in
from tests.servers.require import REQUIRE_REAL

pytestmark = pytest.mark.timeout(120)

CONFTEST = """
from pathlib import Path
from tests.named import NamedTests
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(NamedTests(config, [Path(__file__).with_name("page.md")]))
"""
TESTS = """
import pytest
@pytest.mark.parametrize("n", [1, 2])
def test_runs(n): pass
@pytest.mark.skip(reason="too slow today")
def test_skipped(): pass
@pytest.mark.skip(reason="real component missing: haproxy")
def test_without_haproxy(): pass
@pytest.mark.skip(reason="real component missing: kube-apiserver: name its folder in KUBEBUILDER_ASSETS")
def test_without_kubernetes(): pass
@pytest.mark.soak
def test_long(): pass
class TestGroup:
    def test_inside(self): pass
"""
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["-m", "not soak", "-p", "no:randomly", "-p", "no:cacheprovider"]
testpaths = ["tests"]
markers = ["soak: long"]
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """`run("test_runs", "test_long", words=["-n", "2"])`: exit code and output of a run whose page names these."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)

    def start(*names: str, words: tuple[str, ...] = (), required: bool = False) -> tuple[int, str]:
        (tmp_path / "page.md").write_text("".join(f"| `tests/test_it.py::{name}` |\n" for name in names))
        environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "WATCHDOG_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=tmp_path,
            env={**environ, "PYTHONPATH": str(ROOT), **({REQUIRE_REAL: "1"} if required else {})},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return start


@pytest.mark.parametrize("words", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_whole_run_fails_when_a_named_test_did_not_run(
    run: Callable[..., tuple[int, str]], words: tuple[str, ...]
) -> None:
    code, told = run(
        "test_runs", "TestGroup::test_inside", "test_skipped", "test_long", "test_gone", words=words
    )

    assert code == 1, told
    _, _, below = told.partition("NAMED AS PROOF AND NOT RUN")
    assert [line for line in below.splitlines() if line.startswith("tests/")] == [
        "tests/test_it.py::test_gone: did not run",
        "tests/test_it.py::test_long: did not run",
        "tests/test_it.py::test_skipped: Skipped: too slow today",
    ], told


@pytest.mark.parametrize(("required", "code"), [(False, 0), (True, 1)], ids=["optional", "required"])
def test_a_missing_component_excuses_a_named_test_only_where_none_is_required(
    run: Callable[..., tuple[int, str]], required: bool, code: int
) -> None:
    ended, told = run("test_runs", "test_without_haproxy", required=required)

    assert ended == code, told


def test_kubernetes_excuses_a_named_test_everywhere(run: Callable[..., tuple[int, str]]) -> None:
    ended, told = run("test_runs", "test_without_kubernetes", required=True)

    assert ended == 0, told


@pytest.mark.parametrize("words", [("-k", "runs"), ("tests/test_it.py",), ("-x",)], ids=" ".join)
def test_a_run_of_chosen_tests_is_not_held_to_it(
    run: Callable[..., tuple[int, str]], words: tuple[str, ...]
) -> None:
    code, told = run("test_runs", "test_gone", words=words)

    assert code == 0, told


def test_a_named_test_is_found_with_its_class_and_without_its_parameters() -> None:
    here = "tests/test_named.py::test_a_run_of_chosen_tests_is_not_held_to_it"

    assert named_in(f"| `{here}[-x]`<br>`tests/a/test_b.py::TestC::test_d` | tests/e.py::test_f |") == [
        here,
        "tests/a/test_b.py::TestC::test_d",
    ]
    assert exists(here)
    assert not exists(here[:-1])
    assert not exists("tests/test_named.py::run")
    assert not exists("tests/no_such_file.py::test_x")
