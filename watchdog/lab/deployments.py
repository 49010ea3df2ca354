"""When deployments happened: what a back-test holds its rollbacks against, and which version to ask for when.

They come from the configuration's store, which is only read, or from a file that somebody wrote (CSV, JSON or YAML:
`service, version, variant, started_at[, ended_at]`). This module must never write, and never guess a deployment.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from watchdog.config.document import read
from watchdog.config.loaded import Configuration, Position
from watchdog.config.nodes import Node
from watchdog.config.problems import InvalidConfiguration, Problems, meant, quote, unknown
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.errors import StoreError
from watchdog.lab.csv_track import column_of
from watchdog.lab.timestamps import Reading, reading
from watchdog.store.interface import Reader
from watchdog.store.registry import make_reader

_WANTED = ("service", "version", "variant", "started_at")
_KNOWN = (*_WANTED, "ended_at")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
#: Largest file of deployments (bytes).
LARGEST = 64 * 2**20
#: How long the store may take (seconds), and how many of its records are read at once.
_WITHIN, _PAGE = 60.0, 500
#: These never took traffic.
_NEVER_LIVE = frozenset({DeploymentState.PENDING, DeploymentState.FAILED})


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a service on a variant, from `started_at` to `ended_at` (`None`: to this day).

    `id` is the record's in the store, empty where there is none. `armed` is false for what was not newly deployed: a
    version that was there at first sight, or that traffic went back to.
    """

    service: str
    version: str
    variant: str
    started_at: datetime
    ended_at: datetime | None = None
    id: str = ""
    armed: bool = True


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known, the earliest first. `notes` say what is not, and why."""

    known: tuple[Serving, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, service: str) -> tuple[Serving, ...]:
        """Those of one service."""
        return tuple(one for one in self.known if one.service == service)

    def moments(self, service: str) -> tuple[float, ...]:
        """When something new was deployed to a service: Unix seconds, the earliest first."""
        return tuple(sorted({one.started_at.timestamp() for one in self.of(service) if one.armed}))


def stored_deployments(configuration: Configuration, *, since: datetime | None = None) -> Deployments:
    """What the store of a configuration knows; nothing, with a note, where it is not there or cannot be read.

    Leaves out what ended before `since`. Must not be called inside a running loop.
    """
    path = Path(configuration.store_url.partition("sqlite:///")[2])
    if path.name and not path.exists():
        folder = configuration.path.parent.absolute()
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        return Deployments(notes=(f"deployments are not known: there is no store at {shown}",))
    try:
        found = asyncio.run(_all(make_reader(configuration.store), list(configuration.services)))
    except TimeoutError:
        return Deployments(notes=("deployments are not known: the store does not answer",))
    except StoreError as error:
        return Deployments(notes=(f"deployments are not known: {error}",))
    kept = (one for one in found if since is None or one.ended_at is None or one.ended_at > since)
    return Deployments(known=_in_order(kept))


async def _all(reader: Reader, services: list[str]) -> list[Serving]:
    found: list[Serving] = []
    try:
        async with asyncio.timeout(_WITHIN):
            for service in services:
                cursor: str | None = None
                while True:
                    page = await reader.deployments(service=service, cursor=cursor, limit=_PAGE)
                    found += [_served(one) for one in page.items if one.state not in _NEVER_LIVE]
                    cursor = page.next
                    if cursor is None:
                        break
    finally:
        await reader.aclose()
    return found


def _served(deployment: Deployment) -> Serving:
    return Serving(
        service=deployment.service,
        version=deployment.version,
        variant=deployment.variant,
        started_at=deployment.started_at,
        ended_at=deployment.ended_at,
        id=deployment.id,
        armed=deployment.armed,
    )


def read_deployments(path: Path, services: Iterable[str] | None = None) -> Deployments:
    """The deployments of a file, CSV by its name (`.csv`), else YAML, of which JSON is a part.

    A list of entries, or one below `deployments:` or `items:` (what the API answers). Where `ended_at` is missing the
    next deployment of the service ends it. Of other services than `services` there is a note, and nothing else.
    Raises `InvalidConfiguration` with all mistakes.
    """
    problems = Problems()
    file = _File(path, problems)
    entries = _of_csv(path, problems) if path.suffix.lower() == ".csv" else _of_document(path, problems)
    found = [one for entry in entries if (one := file.serving(entry)) is not None]
    times = file.times()
    problems.raise_if_any()
    moments = iter(times)
    known = [
        msgspec.structs.replace(
            one, started_at=next(moments), ended_at=None if one.ended_at is None else next(moments)
        )
        for one in found
    ]
    for one, entry in zip(known, file.entries, strict=True):
        if one.ended_at is not None and one.ended_at < one.started_at:
            problems.add(entry["ended_at"][0], "ended_at is before started_at")
    problems.raise_if_any()
    notes: list[str] = []
    if services is not None:
        wanted = set(services)
        strange = sorted({one.service for one in known} - wanted)
        notes = [f"{path}: {unknown('service', name, wanted)}; left out" for name in strange]
        known = [one for one in known if one.service in wanted]
    return Deployments(known=_ended(_in_order(known)), notes=tuple(notes))


def _in_order(found: Iterable[Serving]) -> tuple[Serving, ...]:
    return tuple(sorted(found, key=lambda one: (one.started_at, one.service, one.version)))


def _ended(found: tuple[Serving, ...]) -> tuple[Serving, ...]:
    """Where nothing says when one ended, the next one of its service ended it."""
    following: dict[str, datetime] = {}
    ended: list[Serving] = []
    for one in reversed(found):
        after = following.get(one.service)
        ended.append(one if one.ended_at or after is None else msgspec.structs.replace(one, ended_at=after))
        following[one.service] = one.started_at
    return tuple(reversed(ended))


#: What an entry says and where: by the name of the field.
_Entry = Mapping[str, tuple[Position, str]]


class _File:
    """The entries of one file; all times of it have one format."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._path, self._problems = path, problems
        self._reading: Reading | None = None
        #: The entries of which something was made.
        self.entries: list[_Entry] = []

    def serving(self, entry: _Entry) -> Serving | None:
        """The entry, with its times still to come; `None` where something is wrong with it."""
        fine = [self._time(*entry[name]) for name in ("started_at", "ended_at") if name in entry]
        if not all(name in entry for name in _WANTED) or not all(fine):
            return None
        self.entries.append(entry)
        now = datetime(1970, 1, 1, tzinfo=UTC)
        return Serving(
            service=entry["service"][1],
            version=entry["version"][1],
            variant=entry["variant"][1],
            started_at=now,
            ended_at=now if "ended_at" in entry else None,
        )

    def _time(self, at: Position, text: str) -> bool:
        try:
            if self._reading is None:
                self._reading = reading(text)
            self._reading.take(text)
        except ValueError as error:
            self._problems.add(at, str(error))
            return False
        return True

    def times(self) -> list[datetime]:
        """All times, in the order in which they were read."""
        if self._reading is None:
            return []
        try:
            seconds, _ = self._reading.seconds()
        except ValueError as error:
            self._problems.add(Position(file=self._path, line=1, column=1), str(error))
            return []
        return [datetime.fromtimestamp(at, UTC) for at in seconds.tolist()]


def _of_document(path: Path, problems: Problems) -> Iterator[_Entry]:
    root = _document(path, problems)
    if root is None:
        return
    listed = root.get("deployments") or root.get("items") or root
    if listed.items is None:
        words = f"expected a list of deployments, each with {', '.join(_WANTED)}; found {listed.describe()}"
        problems.add(listed.at, words)
        return
    for item in listed.items:
        yield from _of_node(item, problems)


def _document(path: Path, problems: Problems) -> Node | None:
    """The document. A time needs no quotes here, and `null` is allowed: the API answers so."""
    found = Problems()
    root = read(path, found, secrets=None)
    leaves = () if root is None else root.leaves()
    excused = {leaf.at for leaf in leaves if leaf.is_nothing or _DATE.match(leaf.written)}
    try:
        found.raise_if_any()
    except InvalidConfiguration as invalid:
        for problem in invalid.problems:
            if problem.at not in excused:
                problems.add(problem.at, problem.message)
    return root


def _of_node(item: Node, problems: Problems) -> Iterator[_Entry]:
    if item.entries is None:
        problems.add(item.at, f"expected a deployment, found {item.describe()}")
        return
    entry: dict[str, tuple[Position, str]] = {}
    for key, found in item.entries.items():
        if key not in _KNOWN:
            if (guess := meant(key, _KNOWN)) is not None:
                problems.add(found.at, f"unknown key {quote(key)}; did you mean {guess!r}?")
        elif found.node.items is not None or found.node.entries is not None:
            problems.add(found.node.at, f"expected text, found {found.node.describe()}")
        elif not found.node.is_nothing and found.node.written.strip():
            entry[key] = (found.node.at, found.node.written.strip())
        elif key in _WANTED:
            problems.add(found.node.at, f"no {key}")
    for name in _WANTED:
        if name not in item.entries:
            problems.add(item.at, f"missing key {name!r}")
    yield entry


def _of_csv(path: Path, problems: Problems) -> Iterator[_Entry]:
    start = Position(file=path, line=1, column=1)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        problems.add(start, f"cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError:
        problems.add(start, "is not text in UTF-8")
        return
    if len(content) > LARGEST:
        problems.add(start, f"is larger than {LARGEST // 2**20} MiB")
        return
    lines = text.splitlines()
    rows = csv.reader(io.StringIO(text))
    try:
        header = [name.strip().casefold() for name in next(rows, [])]
        if not _header_fits(header, lines, start, problems):
            return
        for row in rows:
            if any(field.strip() for field in row):
                yield _of_row(row, header, lines[rows.line_num - 1], rows.line_num, path, problems)
    except csv.Error as error:
        at = Position(file=path, line=max(rows.line_num, 1), column=1)
        problems.add(at, f"is not CSV: {error}")


def _header_fits(header: list[str], lines: list[str], start: Position, problems: Problems) -> bool:
    missing = [name for name in _WANTED if name not in header]
    if missing:
        found = ", ".join(quote(name) for name in header[:10]) or "nothing"
        words = (
            f"no column {', '.join(missing)}; the first line must name {', '.join(_WANTED)}, found {found}"
        )
        problems.add(start, words)
    for index, name in enumerate(header):
        guess = meant(name, _KNOWN) if name not in _KNOWN else None
        if guess is not None and guess not in header:
            at = Position(file=start.file, line=1, column=column_of(lines[0], index, ","))
            problems.add(at, f"unknown column {quote(name)}; did you mean {guess!r}?")
    return not missing


def _of_row(
    row: list[str], header: list[str], line: str, number: int, path: Path, problems: Problems
) -> _Entry:
    entry: dict[str, tuple[Position, str]] = {}
    for index, name in enumerate(header):
        at = Position(file=path, line=number, column=column_of(line, index, ","))
        text = row[index].strip() if index < len(row) else ""
        if text and name in _KNOWN:
            entry[name] = (at, text)
        elif name in _WANTED:
            problems.add(at, f"no {name}")
    return entry
