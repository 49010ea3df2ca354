"""`kubernetes:` at the top level, and kinds that need it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.config.tiny_providers import TINY
from tests.servers.certificates import Certificate
from watchdog.cluster.settings import ClusterSettings
from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Configuration

GOOD = Path(__file__).parent / "good"
#: Runs `watchdog check` where `kubernetes_asyncio` is not installed.
WITHOUT = """
import sys
class Hiding:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, *more):
        return None if name.startswith("kubernetes_asyncio") else self.finder.find_spec(name, *more)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from watchdog.cli.main import main
sys.argv = ["watchdog", "check", "-c", sys.argv[1]]
main()
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Configuration]:
    """`read(line)`: a good configuration with this line more."""

    def make(line: str) -> Configuration:
        text = (GOOD / "main.yaml").read_text().replace("[rules.yaml]", f"[{GOOD / 'rules.yaml'}]")
        path = tmp_path / "watchdog.yaml"
        path.write_text(f"{text}\n{line}\n")
        return load(path, environ={}, registries=TINY)

    return make


def test_left_out_everything_has_its_default(read: Callable[[str], Configuration]) -> None:
    assert read("").kubernetes == ClusterSettings()
    assert read("").kubernetes.timeout == timedelta(seconds=5)


def test_relative_files_begin_at_the_configuration(
    read: Callable[[str], Configuration], tmp_path: Path
) -> None:
    Certificate(tmp_path)
    (tmp_path / "config").touch()
    found = read(
        "kubernetes: {kubeconfig: config, ca_file: certificate.pem, context: prod, timeout: 2s}"
    ).kubernetes
    assert (found.kubeconfig, found.ca_file) == (tmp_path / "config", tmp_path / "certificate.pem")
    assert (found.context, found.timeout) == ("prod", timedelta(seconds=2))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kubernetes: {kubeconfig: gone}", r":26: .*/gone cannot be read: No such file or directory"),
        ("kubernetes: {kubeconfig: .}", r":26: .* is not a regular file"),
        ("kubernetes: {ca_file: gone}", r":23: .*/gone cannot be read: No such file or directory"),
        ("kubernetes: {ca_file: watchdog.yaml}", r":23: .*/watchdog.yaml holds no certificates in PEM"),
        ("kubernetes: kubeconfig", r":13: "),
        ("kubernetes: {timeout: 0s}", r":23: '0s' is out of range: more than 0s is needed"),
    ],
)
def test_a_mistake_is_told_at_its_place(read: Callable[[str], Configuration], line: str, words: str) -> None:
    with pytest.raises(InvalidConfiguration, match=words):
        read(line)


def test_a_context_that_the_kubeconfig_lacks_is_told_with_the_nearest(
    read: Callable[[str], Configuration], tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("contexts: [{name: production}, {name: staging}]\n")
    with pytest.raises(
        InvalidConfiguration, match=r":43: unknown context 'prodution'; did you mean 'production'\?"
    ):
        read("kubernetes: {kubeconfig: config, context: prodution}")
    assert read("kubernetes: {kubeconfig: config, context: staging}").kubernetes.context == "staging"


@pytest.mark.parametrize("text", ["", "{", "contexts: 1", "contexts: [1, {name: 2}]", "- a", "a: \x00"])
def test_of_what_is_no_kubeconfig_nothing_is_said_of_contexts(
    read: Callable[[str], Configuration], tmp_path: Path, text: str
) -> None:
    (tmp_path / "config").write_text(text)
    assert read("kubernetes: {kubeconfig: config, context: any}").kubernetes.context == "any"


@pytest.mark.timeout(60)
def test_a_kind_that_wants_the_cluster_names_its_extra(tmp_path: Path) -> None:
    traffic = "{kind: kubernetes-service, namespace: prod, service: trips, selector: version}"
    path = tmp_path / "watchdog.yaml"
    path.write_text(
        f"version: 1\nrules: [{GOOD / 'rules.yaml'}]\n"
        'sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}}\n'
        f"services:\n  - {{name: trips, rules: [error-rate], traffic: {traffic}}}\n"
        "discover: {namespaces: [prod], rules: [error-rate]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(path)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (
        "kind 'kubernetes-service' needs an extra: pip install 'rollback-watchdog[kubernetes]'" in done.stdout
    )
    assert (
        "watchdog.yaml:6:1: 'discover' needs an extra: pip install 'rollback-watchdog[kubernetes]'"
        in done.stdout
    )
    assert done.returncode == 1
