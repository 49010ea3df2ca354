"""What the daemon holds: its store and the room for it, its kill switch, its secrets, its locks.

This module must never open a file for writing, and never read a secret.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from watchdog.app.finding import Finding, Health, worst
from watchdog.config.loaded import Configuration
from watchdog.core.errors import StoreError
from watchdog.core.traffic import Tier
from watchdog.engine.pause import PauseFile
from watchdog.store.interface import Condition, Reader, Remote
from watchdog.traffic.interface import TrafficSwitch
from watchdog.traffic.lock import HostLock

#: Less free space than this is worth a warning (bytes): the store grows by some kilobytes a decision.
LITTLE_SPACE: Final = 200 * 2**20
#: Less than this and the store may fail at the next decision (bytes).
_NO_SPACE: Final = 10 * 2**20
_EMPTY: Final = "the database is empty; the daemon makes its tables at its first start"
#: Every replica uses three.
_FEW_CONNECTIONS: Final = 6
#: So few more files: SQLite makes some beside its own.
_FEW_FILES: Final = 100


def file_of(url: str) -> Path | None:
    """The file behind a store's address; `None` for a store elsewhere."""
    scheme, _, rest = url.partition(":///")
    return Path(rest) if scheme == "sqlite" else None


async def store(configuration: Configuration, reader: Reader) -> list[Finding]:
    """Whether the store can be read, written and grow."""
    path = file_of(configuration.store_url)
    if path is not None and not path.exists():
        return [*_store_to_be(path), *_space(path)]
    about: list[Finding] = []
    try:
        if isinstance(reader, Remote):
            condition = await reader.condition()
            about = list(_database(condition))
            if condition.empty or worst(about) is Health.BAD:
                return about
        page = await reader.audit(limit=1)
    except StoreError as error:
        return [Finding(what="store", health=Health.BAD, detail=str(error), advice=error.advice)]
    count = page.items[0].seq if page.items else 0
    found = [Finding(what="store", health=Health.OK, detail=f"readable, {count} audit records"), *about]
    return found if path is None else [*found, *_writable(path), *_space(path)]


async def pause(configuration: Configuration) -> list[Finding]:
    """Whether the kill switch is on, and whether it could be looked at."""
    if configuration.pause_file is None:
        return []
    why = await PauseFile(configuration.pause_file).look()
    if not why:
        return [Finding(what="pause file", health=Health.OK, detail="not there: the watchdog may act")]
    health = Health.WARN if why.endswith("exists") else Health.BAD
    advice = "nothing will be switched; remove it when that is not wanted"
    return [Finding(what="pause file", health=health, detail=why, advice=advice)]


def rights(configuration: Configuration, secrets: Iterable[Path]) -> list[Finding]:
    """Files that the wrong people may read or change."""
    found = [*_open_to_all(configuration.path), *_readable_by_all(secrets)]
    return found or [
        Finding(
            what="rights", health=Health.OK, detail="only some may change the configuration or read secrets"
        )
    ]


def locks(switches: Iterable[TrafficSwitch]) -> list[Finding]:
    """Whether the daemon could take its locks on switches that need a single writer."""
    found = []
    for switch in switches:
        if switch.tier is Tier.B:
            path = HostLock(switch.identity).path
            owner = _owner(path)
            if owner is not None and os.geteuid() not in {0, owner}:
                found.append(
                    Finding(
                        what="locks",
                        health=Health.WARN,
                        detail=f"{path} is user {owner}'s: this user could not be the writer of {switch.identity}",
                        advice="run the doctor as the daemon's user; where that is so, remove the file",
                    )
                )
    return found


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def is_known(found: Iterable[Finding]) -> bool:
    """Whether the store, of which that was found, can be asked about services."""
    found = list(found)
    return worst(found) is not Health.BAD and not any(one.detail == _EMPTY for one in found)


def _database(condition: Condition) -> Iterator[Finding]:
    if condition.refused:
        yield Finding(
            what="store",
            health=Health.BAD,
            detail=f"the user of the store's url may not {condition.refused}",
            advice="let that user own the database: ALTER DATABASE … OWNER TO …",
        )
    elif condition.empty:
        yield Finding(what="store", health=Health.OK, detail=_EMPTY)
    few = condition.free < _FEW_CONNECTIONS
    yield Finding(
        what="database",
        health=Health.WARN if few else Health.OK,
        detail=f"PostgreSQL {condition.server}, {condition.size / 2**20:.0f} MiB, "
        f"{condition.free} connections are free",
        advice="raise max_connections: a watchdog uses three, and none may be missing" if few else "",
    )


def _store_to_be(path: Path) -> Iterator[Finding]:
    folder = path.parent
    if not folder.is_dir():
        advice = f"make it, owned by the watchdog's user: install -d {folder}"
        yield Finding(
            what="store", health=Health.BAD, detail=f"the folder {folder} does not exist", advice=advice
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        advice = "give the folder to the watchdog's user, or run the doctor as that user"
        yield Finding(
            what="store", health=Health.BAD, detail=f"this user may not write to {folder}", advice=advice
        )
    else:
        detail = f"{path} does not exist yet; the daemon makes it at its first start"
        yield Finding(what="store", health=Health.OK, detail=detail)


def _writable(path: Path) -> Iterator[Finding]:
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        advice = "give file and folder to the watchdog's user, or run the doctor as that user"
        yield Finding(
            what="store", health=Health.WARN, detail=f"this user may not write {path}", advice=advice
        )


def _space(path: Path) -> list[Finding]:
    try:
        free, inodes = shutil.disk_usage(path.parent).free, os.statvfs(path.parent)
    except OSError:
        return []  # the folder is not there, which was said
    return list(room(path, free=free, files=inodes.f_favail if inodes.f_files else None))


def room(path: Path, *, free: int, files: int | None) -> Iterator[Finding]:
    """Whether the store can grow: `free` bytes, and so many more `files` where their number is bounded."""
    advice = "free some space: what cannot be written down is not done"
    if free < LITTLE_SPACE:
        health = Health.BAD if free < _NO_SPACE else Health.WARN
        detail = f"only {free // 2**20} MiB are free in {path.parent}"
        yield Finding(what="disk", health=health, detail=detail, advice=advice)
    elif files is not None and files < _FEW_FILES:
        detail = f"only {files} more files fit into {path.parent}"
        yield Finding(what="disk", health=Health.WARN, detail=detail, advice=advice)
    else:
        detail = f"{free / 2**30:.1f} GiB are free in {path.parent}"
        yield Finding(what="disk", health=Health.OK, detail=detail)


def _open_to_all(path: Path) -> Iterator[Finding]:
    for place in (path, path.absolute().parent):
        try:
            mode = place.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield Finding(
                what="rights",
                health=Health.BAD,
                detail=f"everybody on this machine may change {place}, and so what the daemon runs",
                advice=f"chmod o-w {place}",
            )


def _readable_by_all(secrets: Iterable[Path]) -> Iterator[Finding]:
    for path in secrets:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & stat.S_IROTH and _reachable(path):
            yield Finding(
                what="rights",
                health=Health.WARN,
                detail=f"everybody on this machine may read the secret in {path}",
                advice=f"chmod o-rwx {path}",
            )


def _reachable(path: Path) -> bool:
    """Whether everybody may pass through the folders above."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
