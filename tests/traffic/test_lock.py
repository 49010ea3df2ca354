"""One watchdog a switch on one host."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from tests.servers.process import Process
from watchdog.core.errors import StoreError, StoreLocked
from watchdog.traffic.lock import HostLock

IDENTITY = "haproxy:/run/haproxy/admin.sock:trips"
HOLDER = """
import signal, sys, pathlib
from watchdog.traffic.lock import HostLock
HostLock(sys.argv[1], pathlib.Path(sys.argv[2])).acquire()
print("held", flush=True)
signal.pause()
"""


def holder(folder: Path) -> Process:
    log = folder / "holder.log"
    argv = [sys.executable, "-c", HOLDER, IDENTITY, str(folder)]
    return Process(argv, log=log, ready=lambda: "held" in log.read_text())


def test_another_process_is_refused_with_the_file_and_the_holder(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    with holder(tmp_path) as other:
        with pytest.raises(StoreLocked) as caught:
            lock.acquire()
        assert f"process {other.pid}" in str(caught.value)
        assert str(lock.path) in str(caught.value)
        assert IDENTITY in str(caught.value)
        assert "one watchdog" in caught.value.advice
        assert not lock.held


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        other.kill()
        with HostLock(IDENTITY, tmp_path) as lock:
            assert lock.held
            assert lock.path.read_text() == f"{os.getpid()}\n"


def test_two_services_of_one_daemon_cannot_share_a_switch(tmp_path: Path) -> None:
    with HostLock(IDENTITY, tmp_path), pytest.raises(StoreLocked, match="held by this very process"):
        HostLock(IDENTITY, tmp_path).acquire()


def test_other_switches_are_free(tmp_path: Path) -> None:
    with HostLock(IDENTITY, tmp_path) as one, HostLock(IDENTITY + "2", tmp_path) as two:
        assert one.path != two.path
        assert re.fullmatch(r"rollback-watchdog-[0-9a-f]{16}\.lock", one.path.name)


def test_released_it_can_be_taken_again_and_the_file_stays(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    lock.acquire()
    lock.acquire()
    inode = lock.path.stat().st_ino
    lock.release()
    lock.release()
    assert not lock.held
    with HostLock(IDENTITY, tmp_path):
        assert lock.path.stat().st_ino == inode


def test_the_file_is_for_its_owner_only_and_not_for_children(tmp_path: Path) -> None:
    with HostLock(IDENTITY, tmp_path) as lock:
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
        ours = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
        inode = lock.path.stat().st_ino
        flags = [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in ours if _inode(fd) == inode]
        assert flags == [fcntl.FD_CLOEXEC]


def test_a_shorter_number_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    lock.path.write_text("12345678901234\nand more\n")
    with lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_a_holder_that_wrote_no_number_is_another_process(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    with lock.path.open("w") as file:
        file.write("somebody\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreLocked, match="held by another process"):
            lock.acquire()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    lock.path.symlink_to(precious)
    with pytest.raises(StoreError, match="is a link"):
        lock.acquire()
    assert precious.read_text() == "keep me"


def test_a_fifo_is_no_lock_and_does_not_make_it_wait(tmp_path: Path) -> None:
    lock = HostLock(IDENTITY, tmp_path)
    os.mkfifo(lock.path)
    with pytest.raises(StoreError, match="no plain file"):
        lock.acquire()


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: No such file") as caught:
        HostLock(IDENTITY, tmp_path / "nowhere").acquire()
    assert "folder exists" in caught.value.advice


def test_by_default_it_lies_where_every_daemon_of_the_host_looks() -> None:
    assert str(HostLock(IDENTITY).path.parent) in {"/run/lock", "/tmp", os.environ.get("TMPDIR")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_another_user_is_a_clear_error(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from watchdog.core.errors import StoreLocked;"
        "from watchdog.traffic.lock import HostLock; os.setgid(65534); os.setuid(65534)\n"
        "try: HostLock(sys.argv[1], pathlib.Path(sys.argv[2])).acquire()\n"
        "except StoreLocked as error: print(error, '|', error.advice)"
    )
    log = tmp_path / "log"
    with tempfile.TemporaryDirectory(prefix="wd-", dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        HostLock(IDENTITY, Path(folder)).path.touch(0o600)
        with Process([sys.executable, "-c", code, IDENTITY, folder], log=log) as process:
            process.wait()
    assert "locked by a file of user 0" in log.read_text()
    assert "another user's watchdog" in log.read_text()


def _inode(fd: int) -> int:
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0
