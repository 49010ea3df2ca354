"""Series in CSV files, read into tracks: `TimeStamp,Value[,Label][,Events][,Bad]`, in any order and letter case.

What is missing, `null` or not finite is no data. What is out of order is sorted, what is twice is dropped, and both
are said (`notes`): real exports have them. A sample that is there twice with different values counts as the last one
says; where that happens to more than one in ten, there are several series in the file, which is an error.
Gaps stay gaps. This module must never fill in a value, and never pass over a line that it cannot read.
"""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.config.loaded import Position, Problem
from watchdog.config.problems import InvalidConfiguration, in_order, meant, quote
from watchdog.lab.timestamps import Reading, reading
from watchdog.lab.track import Floats, Track

Indexes = NDArray[np.intp]
#: So many problems of one file are told; what is wrong with every line needs no million messages.
MAX_PROBLEMS = 20
#: Samples that are there several times with different values, as a share of all, beyond which a file is refused.
MAX_CONFLICTS = 0.1
#: The columns that mean something, by the names that exporters give them (letters only, small).
_COLUMNS = {
    "time": ("timestamp", "time", "datetime", "date", "timestamps"),
    "value": ("value", "values"),
    "label": ("label", "labels", "isanomaly", "anomaly"),
    "events": ("events", "total"),
    "bad": ("bad",),
}
_SHOWN = {"time": "TimeStamp", "value": "Value", "label": "Label", "events": "Events", "bad": "Bad"}
_MEANINGS = {name: meaning for meaning, names in _COLUMNS.items() for name in names}
_NOTHING = frozenset({"", "nan", "null", "none", "na", "n/a", "nil", "-", "?", "#n/a"})
_LABELS = {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1, "false": 0, "true": 1, "nan": 0, "null": 0}
_DELIMITERS = ",;\t"


class Series(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One series. `notes` say in sentences what was sorted, dropped or decided while reading; none is a mistake."""

    path: Path
    track: Track
    notes: tuple[str, ...] = ()


class Folder(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Every series below a folder, by path. `skipped` are files that hold none, `problems` mistakes in others."""

    series: tuple[Series, ...]
    skipped: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class InvalidSeries(InvalidConfiguration):
    """Files that cannot be read as series. `problems` are in the order of file, line and column."""


class NoSeries(InvalidSeries):
    """A file that is no series at all: empty, without a sample, or of other columns."""


def read_series(path: Path, *, name: str | None = None) -> Series:
    """The series in a file; `name` is the track's, else the path.

    Raises `InvalidSeries` with all that is wrong with it (at most `MAX_PROBLEMS`), `NoSeries` where it is none.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _File(path, name or str(path)).read(file)
    except OSError as error:
        raise InvalidSeries((problem_at(path, 1, 1, error.strerror or str(error)),)) from error
    except UnicodeDecodeError:
        raise InvalidSeries((problem_at(path, 1, 1, "is not UTF-8 text"),)) from None
    except csv.Error as error:
        raise InvalidSeries((problem_at(path, 1, 1, f"is not CSV: {error}"),)) from error


def read_folder(folder: Path, *, readable: bool = False) -> Folder:
    """Every `*.csv` below a folder, recursively; a file is its own folder. Tracks are named by the path from there.

    Raises `InvalidSeries` with what is wrong in any of them, also when there is none. With `readable`, files with
    mistakes are left out instead (`Folder.problems`), as long as others can be read.
    """
    if not folder.is_dir():
        return Folder(series=(read_series(folder, name=folder.name),))
    series: list[Series] = []
    skipped: list[str] = []
    problems: list[Problem] = []
    for path in files_below(folder):
        try:
            series.append(read_series(path, name=path.relative_to(folder).as_posix()))
        except NoSeries as none:
            skipped.append(str(none))
        except InvalidSeries as invalid:
            problems.extend(invalid.problems)
    if problems and not (readable and series):
        raise InvalidSeries(in_order(problems))
    if not series:
        told = "".join(f"\n{reason}" for reason in skipped)
        raise NoSeries((problem_at(folder, 1, 1, f"there is no series (*.csv) below this folder{told}"),))
    return Folder(series=tuple(series), skipped=tuple(skipped), problems=in_order(problems))


def files_below(folder: Path) -> tuple[Path, ...]:
    """The CSV files below a folder, sorted by path. Hidden ones are left out, links to folders not followed."""
    found = [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(".csv") and not name.startswith(".")
    ]
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


class _File:
    """One file while it is read."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._columns: dict[str, int] = {}
        self._width = 0
        self._above = 1  #: lines up to and including the header
        self._times: Reading | None = None
        self._numbers: dict[str, array[float]] = {}
        self._labels = bytearray()
        self._lines = array("q")
        #: Line, index of the field (-1 is the line as a whole) and words of every problem.
        self._wrong: list[tuple[int, int, str]] = []
        self._notes: list[str] = []

    def read(self, lines: Iterator[str]) -> Series:
        first = next(lines, "")
        while first and not first.strip():
            first = next(lines, "")
            self._above += 1
        if not first:
            raise NoSeries((problem_at(self._path, 1, 1, "is empty"),))
        delimiter = max(_DELIMITERS, key=first.count)
        self._header(next(csv.reader([first], delimiter=delimiter)))
        self._rows(csv.reader(lines, delimiter=delimiter))
        self._refuse_if_wrong(delimiter)
        if self._times is None:
            raise NoSeries((problem_at(self._path, 1, 1, "has a header, but no sample"),))
        return self._series(self._times)

    def _header(self, names: list[str]) -> None:
        self._width = len(names)
        letters = ["".join(c for c in name.casefold() if c.isalnum()) for name in names]
        ignored: list[str] = []
        for index, (name, plain) in enumerate(zip(names, letters, strict=True)):
            meaning = _MEANINGS.get(plain)
            if meaning is None:
                guess = meant(plain, [it for it in _MEANINGS if _MEANINGS[it] not in self._columns])
                if guess:
                    words = f"unknown column {quote(name)}; did you mean {_SHOWN[_MEANINGS[guess]]!r}?"
                    self._wrong.append((self._above, index, words))
                else:
                    ignored.append(quote(name))
            elif meaning in self._columns:
                self._wrong.append(
                    (self._above, index, f"column {quote(name)}: there are two columns for {_SHOWN[meaning]}")
                )
            else:
                self._columns[meaning] = index
        self._want(names)
        if ignored:
            self._notes.append(f"columns that mean nothing here are ignored: {', '.join(ignored)}")

    def _want(self, names: list[str]) -> None:
        missing = [_SHOWN[meaning] for meaning in ("time", "value") if meaning not in self._columns]
        if not missing or self._wrong:
            return
        found = ", ".join(quote(name) for name in names[:10])
        wanted = f"no column {' and no column '.join(missing)}"
        words = f"{wanted}; the first line must name TimeStamp and Value, found {found}"
        if len(missing) == 2:
            raise NoSeries((problem_at(self._path, 1, 1, words),))
        self._wrong.append((self._above, -1, words))

    def _rows(self, rows: Any) -> None:
        if self._wrong:
            return
        time_at, value_at, label_at = (self._columns.get(it, -1) for it in ("time", "value", "label"))
        others = [(self._columns[it], it) for it in ("events", "bad") if it in self._columns]
        values = self._numbers["value"] = array("d")
        for _, name in others:
            self._numbers[name] = array("d")
        for row in rows:
            at = -1
            try:
                if len(row) != self._width and not _fits(row, self._width):
                    continue
                at = time_at
                if not row[at] and not any(row):
                    continue
                self._take_time(row[at].strip())
                at = value_at
                values.append(_number(row[at]))
                for at, name in others:
                    self._numbers[name].append(_count(row[at]))
                if label_at >= 0:
                    at = label_at
                    self._labels.append(_label(row[at]))
                self._lines.append(rows.line_num + self._above)
            except ValueError as error:
                self._wrong.append((rows.line_num + self._above, at, str(error)))
                if len(self._wrong) > MAX_PROBLEMS:
                    return

    def _take_time(self, text: str) -> None:
        if not text:
            raise ValueError("no time")
        if self._times is None:
            self._times = reading(text)
        self._times.take(text)

    def _refuse_if_wrong(self, delimiter: str) -> None:
        if not self._wrong:
            return
        told = self._wrong[:MAX_PROBLEMS]
        if len(self._wrong) > MAX_PROBLEMS:
            line, index, words = told[-1]
            told[-1] = (line, index, f"{words} (and more: only the first {MAX_PROBLEMS} are told)")
        problems = [
            problem_at(self._path, line, column, words)
            for (line, _, words), column in zip(told, self._places(told, delimiter), strict=True)
        ]
        raise InvalidSeries(tuple(problems))

    def _places(self, told: list[tuple[int, int, str]], delimiter: str) -> list[int]:
        """The column, counted from 1, at which each wrong field begins: the file is read once more up to there."""
        lines = {line: "" for line, _, _ in told}
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            for number, text in enumerate(file, start=1):
                if number in lines:
                    lines[number] = text
                if number >= told[-1][0]:
                    break
        return [1 if index < 0 else column_of(lines[line], index, delimiter) for line, index, _ in told]

    def _series(self, times: Reading) -> Series:
        try:
            seconds, notes = times.seconds()
        except ValueError as undecided:
            problem = problem_at(self._path, self._lines[0], 1, str(undecided))
            raise InvalidSeries((problem,)) from undecided
        self._notes += notes
        values = _floats(self._numbers["value"])
        steps = np.diff(seconds)
        # Of samples of the same time those without a value come first, the later line last: the last one is kept.
        order = None if np.all(steps > 0) else np.lexsort((~np.isnan(values), seconds))
        if order is not None:
            self._say_order(seconds)
            kept, last = self._without_twins(seconds[order], order)
        else:
            kept, last = np.arange(len(seconds)), np.arange(len(seconds))
        numbers = {name: _floats(found)[kept] for name, found in self._numbers.items()}
        labels: NDArray[np.int8] | None = None
        if "label" in self._columns:
            marked = np.frombuffer(self._labels, dtype=np.uint8).astype(np.int8)
            labels = marked if order is None else np.maximum.reduceat(marked[order], last)
        seconds = seconds[kept]
        step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
        track = Track(
            name=self._name,
            times=seconds,
            values=numbers["value"],
            step=step,
            events=numbers.get("events"),
            bad=numbers.get("bad"),
            labels=labels,
        )
        return Series(path=self._path, track=track, notes=tuple(self._notes))

    def _say_order(self, seconds: Floats) -> None:
        late = np.flatnonzero(seconds < np.maximum.accumulate(seconds))
        if len(late):
            where = f"first in line {self._lines[int(late[0])]}"
            self._notes.append(f"{_samples(len(late))} earlier than one above ({where}); sorted by time")

    def _without_twins(self, seconds: Floats, order: Indexes) -> tuple[Indexes, Indexes]:
        """Which samples are kept, in order, and where in `order` each of their groups of the same time begins."""
        begins = np.flatnonzero(np.diff(seconds, prepend=-math.inf) > 0)
        ends = np.append(begins[1:], len(seconds)) - 1
        kept = order[ends]
        twins = len(seconds) - len(begins)
        if not twins:
            return kept, begins
        same = np.flatnonzero(np.diff(seconds) == 0)
        differs = np.zeros(len(same), dtype=np.bool_)
        for found in self._numbers.values():
            numbers = _floats(found)[order]
            one, other = numbers[same], numbers[same + 1]
            differs |= (one != other) & ~(np.isnan(one) & np.isnan(other))
        conflicts = int(np.count_nonzero(differs))
        if conflicts:
            line = self._lines[int(order[same[np.flatnonzero(differs)[0]] + 1])]
            words = (
                f"{_samples(conflicts)} of a time that was there with another value (first in line {line})"
            )
            if conflicts > max(1.0, MAX_CONFLICTS * len(begins)):
                raise InvalidSeries(
                    (problem_at(self._path, line, 1, f"{words}: are there several series in this file?"),)
                )
            self._notes.append(f"{words}; the last value counts")
        if twins > conflicts:
            self._notes.append(f"{_samples(twins - conflicts)} twice with the same value; counted once")
        return kept, begins


def _fits(row: list[str], width: int) -> bool:
    """Whether a row of another width can be read all the same; an empty one is none. Raises `ValueError`."""
    if not any(field.strip() for field in row):
        return False
    if len(row) > width and not any(field.strip() for field in row[width:]):
        return True
    raise ValueError(f"{len(row)} fields, the first line has {width}")


def _number(text: str) -> float:
    """The value; NaN for one that is missing or not finite."""
    try:
        number = float(text)
    except ValueError:
        if text.strip().casefold() in _NOTHING:
            return math.nan
        raise ValueError(f"{quote(text)} is not a number") from None
    if "_" in text:
        raise ValueError(f"{quote(text)} is not a number")
    return number if math.isfinite(number) else math.nan


def _count(text: str) -> float:
    number = _number(text)
    if number < 0:
        raise ValueError(f"{quote(text)} is not a number of events")
    return number


def _label(text: str) -> int:
    label = _LABELS.get(text.strip().casefold())
    if label is None:
        raise ValueError(f"{quote(text)} is not a label: 1 is anomalous, 0 or nothing is not")
    return label


def column_of(line: str, index: int, delimiter: str) -> int:
    """Where the field of that index begins in a line, counted from 1."""
    quoted = False
    for at, character in enumerate(line):
        if index == 0:
            return at + 1
        if character == '"':
            quoted = not quoted
        elif character == delimiter and not quoted:
            index -= 1
    return len(line.rstrip("\r\n")) + 1 if index else 1


def _floats(numbers: array[float]) -> Floats:
    return np.frombuffer(numbers, dtype=np.float64)


def _samples(count: int) -> str:
    return "1 sample is" if count == 1 else f"{count} samples are"


def problem_at(path: Path, line: int, column: int, message: str) -> Problem:
    """A mistake at a place of a file."""
    return Problem(at=Position(file=path, line=line, column=column), message=message)
