from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.trail import Trail

RULES = """version: 1
rules:
  - name: up
    query: up
    unit: none
    evidence: {events: up, min_events: 1}
    threshold: {critical: 1, rollback: 2}
"""
MAIN = """version: 1
rules: [rules/*.yaml]
sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9090", bearer_token: !file secret}}
services:
  - name: trips
    rules: [up]
    traffic: {kind: command, read: [cat, state], apply: [move, "{variant}"]}
"""


@pytest.fixture
def main(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES)
    (tmp_path / "secret").write_text("a very secret word")
    (tmp_path / "secret").chmod(0o600)
    path = tmp_path / "watchdog.yaml"
    path.write_text(MAIN)
    return path


def trail_of(path: Path) -> Trail:
    trail = Trail()
    with contextlib.suppress(InvalidConfiguration):
        assert load(path, environ={}, trail=trail).trail is trail
    return trail


def test_a_trail_is_what_it_was_as_long_as_nothing_changes(main: Path) -> None:
    trail = trail_of(main)
    assert trail.again() == trail
    assert trail_of(main) == trail
    os.utime(main)
    assert trail.again() == trail, "only contents count"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("watchdog.yaml", "# a comment\n" + MAIN),
        ("rules/a.yaml", RULES + "\n"),
        ("rules/b.yaml", RULES),
        ("secret", "another secret word"),
    ],
)
def test_every_file_that_counts_is_on_it(main: Path, file: str, text: str) -> None:
    trail = trail_of(main)
    (main.parent / file).write_text(text)
    assert trail.again() != trail
    assert trail_of(main).again() == trail.again() or file == "rules/b.yaml"


@pytest.mark.parametrize("file", ["watchdog.yaml", "rules/a.yaml", "secret"])
def test_a_file_that_is_gone_is_a_change(main: Path, file: str) -> None:
    trail = trail_of(main)
    (main.parent / file).unlink()
    assert trail.again() != trail
    gone = trail_of(main)
    assert gone.again() == gone
    assert gone != trail


@pytest.mark.parametrize("file", ["watchdog.yaml", "secret"])
def test_a_folder_in_its_place_is_one_and_the_same_mistake(main: Path, file: str) -> None:
    (main.parent / file).unlink()
    (main.parent / file).mkdir()
    trail = trail_of(main)
    assert trail.again() == trail
    (main.parent / file).rmdir()
    assert trail.again() != trail


def test_a_link_that_leads_elsewhere_is_a_change_only_by_what_is_there(main: Path) -> None:
    rules = main.parent / "rules"
    rules.rename(main.parent / "..first")
    rules.symlink_to("..first")
    trail = trail_of(main)
    other = main.parent / "..second"
    other.mkdir()
    (other / "a.yaml").write_text(RULES)
    rules.unlink()
    rules.symlink_to("..second")
    assert trail.again() == trail
    (other / "a.yaml").write_text(RULES + "# more\n")
    assert trail.again() != trail


def test_what_can_be_read_once_only_never_changes(tmp_path: Path, main: Path) -> None:
    """`-c <(…)`: a pipe."""
    read, write = os.pipe()
    try:
        os.write(write, main.read_bytes())
        os.close(write)
        pipe = Path(f"/dev/fd/{read}")
        trail = Trail()
        trail.read(pipe, main.read_bytes(), limit=1_000_000)
        assert trail.again() == trail
    finally:
        os.close(read)


def test_the_hash_for_the_record_knows_no_secrets(main: Path) -> None:
    trail = trail_of(main)
    (main.parent / "secret").write_text("another secret word")
    rotated = trail_of(main)
    assert rotated != trail
    assert rotated.digest == trail.digest
    main.write_text(MAIN + "# a comment\n")
    assert trail_of(main).digest != trail.digest


def test_a_certificate_authority_is_on_it(main: Path) -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        pytest.skip("there are no authorities on this machine")
    own = main.parent / "ca.pem"
    own.write_bytes(bundle.read_bytes()[:500_000])
    main.write_text(MAIN.replace("bearer_token", "ca_file: ca.pem, bearer_token"))
    trail = trail_of(main)
    mark = trail.mark(own)
    assert mark
    own.write_bytes(bundle.read_bytes()[:500_000] + b"\n")
    assert trail.again().mark(own) != mark
    assert trail.mark(main.parent / "nothing") == ""
