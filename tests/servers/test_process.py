"""Outside processes are started, waited for and always stopped."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.servers.process import Process

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_stops_its_process_also_after_a_failure(tmp_path: Path) -> None:
    pid = 0

    def fail_inside() -> None:
        nonlocal pid
        with Process(FOREVER, log=tmp_path / "log") as process:
            pid = process.pid
            assert process.exit_code is None
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail_inside()
    assert pid
    assert gone(pid)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", stubborn]
    log = tmp_path / "log"
    process = Process(argv, log=log, ready=lambda: "up" in log.read_text(), grace=0.2)
    with process:
        pid = process.pid
    assert gone(pid)
    assert process.exit_code == -signal.SIGKILL


def test_a_frozen_process_is_stopped(tmp_path: Path) -> None:
    with Process(FOREVER, log=tmp_path / "log") as process:
        process.freeze()
        pid = process.pid
    assert gone(pid)


def test_it_starts_again_after_a_kill(tmp_path: Path) -> None:
    with Process(FOREVER, log=tmp_path / "log") as process:
        first = process.pid
        process.kill()
        assert process.exit_code == -signal.SIGKILL
        process.start()
        assert process.pid != first


def test_one_that_ends_early_says_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "print('no such option'); raise SystemExit(3)"]
    process = Process(argv, log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3 .*no such option"):
        process.start()


def test_one_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    process = Process(FOREVER, log=tmp_path / "log", ready=lambda: False, within=0.2)
    with pytest.raises(RuntimeError, match=r"not ready in 0\.2 s"):
        process.start()
    assert gone(process.pid)


def test_it_runs_once_at_a_time(tmp_path: Path) -> None:
    with Process(FOREVER, log=tmp_path / "log") as process, pytest.raises(RuntimeError, match="runs already"):
        process.start()
