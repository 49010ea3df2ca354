from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from watchdog.lab.cache import Cache, default_folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_got_again_by_another_process(tmp_path: Path) -> None:
    Cache(tmp_path / "a" / "b").put(b"key", b"body")
    cache = Cache(tmp_path / "a" / "b")
    assert cache.get(b"key") == b"body"
    assert cache.get(b"other") is None
    assert cache.notes == []


def test_a_newer_answer_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"key", b"old")
    cache.put(b"key", b"new")
    assert cache.get(b"key") == b"new"
    assert len(files(tmp_path)) == 1, "nothing is left aside"


def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    Cache(tmp_path / "cache").put(b"key", b"body")
    (file,) = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) & 0o077 == 0


def test_a_file_of_another_key_is_not_given_out(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(b"one", b"body")
    (one,) = files(tmp_path)
    cache.put(b"two", b"other")
    (two,) = (file for file in files(tmp_path) if file != one)
    two.write_bytes(one.read_bytes())
    assert cache.get(b"two") is None
    assert cache.notes == [f"a file of the cache was damaged ({two}); it is asked for anew"]
    assert not two.exists()


def test_a_folder_that_cannot_be_written_is_said_once_and_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    for key in (b"one", b"two"):
        cache.put(key, b"body")
        assert cache.get(key) is None
    assert sum("cannot be written" in note for note in cache.notes) == 1


def test_what_was_used_least_recently_is_thrown_away_beyond_the_limit(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=3500)
    for number in range(4):
        cache.put(b"%d" % number, bytes(1000))
        (newest,) = set(files(tmp_path)) - {path for path in files(tmp_path) if path.stat().st_mtime < 1e9}
        os.utime(newest, (number, number))
    assert cache.get(b"0") is not None, "using it makes it new"
    cache.prune()
    assert [cache.get(b"%d" % number) is not None for number in range(4)] == [True, False, True, True]


def test_what_a_killed_writer_left_is_thrown_away_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=0)
    cache.put(b"key", b"body")
    folder = files(tmp_path)[0].parent
    old, young, foreign = folder / "old.part", folder / "young.part", folder / "notes.txt"
    for path in (old, young, foreign):
        path.write_text("half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    cache.prune()
    assert files(tmp_path) == sorted([young, foreign])


def test_a_folder_that_is_not_there_needs_no_pruning(tmp_path: Path) -> None:
    Cache(tmp_path / "none").prune()
    assert not (tmp_path / "none").exists()


def test_the_folder_is_where_the_desktop_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert default_folder() == tmp_path / "caches" / "rollback-watchdog" / "backtest"
    for unset in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert default_folder() == tmp_path / ".cache" / "rollback-watchdog" / "backtest"
