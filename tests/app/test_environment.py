from __future__ import annotations

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

from watchdog.app.environment import conflicting_distribution


def installed(folder: Path, name: str | None, version: str = "1.0") -> Distribution:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    named = f"Name: {name}\n" if name else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}Version: {version}\n")
    return PathDistribution(info)


def test_this_environment_is_its_own() -> None:
    assert conflicting_distribution() is None


def test_the_other_distribution_is_found_whatever_its_spelling(tmp_path: Path) -> None:
    conflict = conflicting_distribution([installed(tmp_path, "WatchDog", "6.0.0")])
    assert conflict is not None
    assert "6.0.0" in conflict
    assert "venv" in conflict


class Nameless(PathDistribution):
    """Python 3.12 and newer warn when the name is asked of metadata without one."""

    @property
    def name(self) -> str:
        raise AssertionError("asked for a name that may not be there")


def test_metadata_without_a_name_is_not_asked_for_one(tmp_path: Path) -> None:
    folder = tmp_path / "half.dist-info"
    folder.mkdir()
    assert conflicting_distribution([Nameless(folder)]) is None


def test_names_that_are_only_alike_and_broken_metadata_do_not_count(tmp_path: Path) -> None:
    found = [
        installed(tmp_path, name) for name in ("rollback-watchdog", "watchdog-gevent", "types-watchdog", None)
    ]
    assert conflicting_distribution(found) is None
