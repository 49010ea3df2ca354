from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import STATE, invoke

Configure = Callable[..., Path]


def test_a_valid_configuration_is_summed_up(configuration: Configure) -> None:
    result = invoke("check", "-c", str(configuration()))
    assert result.exit_code == 0
    assert result.stdout == (
        "The configuration is valid: 1 service, 1 rule (1 can roll back), 1 source, 1 channel, 1 route.\n"
    )


def test_every_mistake_is_a_line_on_standard_output(configuration: Configure) -> None:
    path = configuration()
    path.write_text(
        path.read_text()
        .replace("rules: [error-rate]", "rules: [eror-rate]")
        .replace("to: [log]", "to: [lag]")
    )
    result = invoke("check", "-c", str(path))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}:") for line in lines)
    assert "'error-rate'" in lines[0]
    answer = json.loads(invoke("check", "-c", str(path), "--json").stdout)
    assert answer["ok"] is False
    assert answer["summary"] is None
    assert [
        f"{it['file']}:{it['line']}:{it['column']}: {it['message']}" for it in answer["problems"]
    ] == lines


def test_notes_go_to_standard_error_and_do_not_fail(configuration: Configure) -> None:
    path = configuration()
    path.write_text(path.read_text().replace("{log: {kind: log}}", "{log: {kind: log}, spare: {kind: log}}"))
    result = invoke("check", "-c", str(path))
    assert result.exit_code == 0
    assert result.stderr.startswith(f"note: {path}:")
    answer = json.loads(invoke("check", "-c", str(path), "--json").stdout)
    assert answer["ok"] is True
    assert [note for note in answer["notes"] if "spare" in str(note)]


def test_a_configuration_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = invoke("check", "-c", str(tmp_path / "nope.yaml"))
    assert result.exit_code == 1
    assert "No such file" in result.stdout


def test_the_doctor_finds_what_is_broken_and_says_what_to_do(
    configuration: Configure, free_port: Callable[[], int]
) -> None:
    path = configuration(prometheus=free_port())
    result = invoke("doctor", "-c", str(path))
    assert result.exit_code == 1
    rows = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert " bad " in rows["source prometheus"]
    assert " ok " in rows["switch of trips"]
    answer = json.loads(invoke("doctor", "-c", str(path), "--json").stdout)
    assert answer["ok"] is False
    bad = [one["what"] for one in answer["findings"] if one["health"] == "bad"]
    assert bad == ["source prometheus"]


def test_the_doctor_acts_on_nothing(configuration: Configure, tmp_path: Path) -> None:
    path = configuration()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    invoke("doctor", "-c", str(path))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert json.loads(STATE) == json.loads((tmp_path / "state.json").read_text())


def test_the_doctor_refuses_a_broken_configuration(configuration: Configure) -> None:
    path = configuration()
    path.write_text("version: 2\n")
    result = invoke("doctor", "-c", str(path))
    assert result.exit_code == 1
    assert f"{path}:1:" in result.stderr


def test_run_doctor_and_demo_stop_beside_the_other_distribution(
    configuration: Configure, tmp_path: Path
) -> None:
    other = tmp_path / "site" / "watchdog-6.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: watchdog\nVersion: 6.0.0\n")
    environ = {**os.environ, "PYTHONPATH": str(other.parent)}
    for command in (["run", "-c", str(configuration())], ["doctor", "-c", str(configuration())], ["demo"]):
        done = subprocess.run(
            [sys.executable, "-m", "watchdog", *command],
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
            env=environ,
        )
        assert done.returncode == 1
        assert "the distribution 'watchdog' 6.0.0" in done.stderr
        assert done.stdout == ""
