from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.process import ROOT

#: An owner without a place in the name space, as the kernel shows one (proc(5), overflowuid).
_STRANGER = 65534
_REPLACE = f"""
import msgspec, pathlib, sys
from watchdog.traffic import nginx_file
seen = msgspec.structs.replace(nginx_file.read(pathlib.Path(sys.argv[1])), uid={_STRANGER}, gid={_STRANGER})
nginx_file.replace(seen, "new", withdrawn=lambda: False)
"""


@pytest.mark.timeout(60)
def test_a_file_of_somebody_unknown_in_our_user_namespace_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "trips.conf"
    file.write_text("old")
    file.chmod(0o640)

    subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", _REPLACE, file],
        cwd=ROOT,
        check=True,
        timeout=30,
    )

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["trips.conf"]
