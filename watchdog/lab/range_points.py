"""Points: one expression over a grid of moments, as a Prometheus answered it.

Moments are multiples of the step since 1970, so that chunks of any two questions line up. This module must never
fill a gap: what was not answered is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.core.errors import WatchdogError
from watchdog.lab.track import Floats

Counts = NDArray[np.uint16]
Flags = NDArray[np.uint8]
#: How a point was answered: well, with warnings (something is missing), or with an error of its own.
FINE, PARTIAL, FAILED = 0, 1, 2
_MOST_SERIES = 2**16 - 1


class RangeError(WatchdogError):
    """A server that cannot be asked, or refuses the question. `str()` is for people, without a secret."""


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """The moments `first * step` to `last * step`, both included, in Unix seconds."""

    step: int
    first: int
    last: int

    def __len__(self) -> int:
        """How many moments."""
        return max(0, self.last - self.first + 1)

    @property
    def times(self) -> Floats:
        """All moments."""
        return np.arange(self.first, self.last + 1, dtype=np.float64) * self.step

    def chunks(self, points: int) -> tuple[Grid, ...]:
        """The same in pieces of at most so many points, cut where any other grid of this step is cut."""
        begins = range(self.first - self.first % points, self.last + 1, points)
        return tuple(
            Grid(step=self.step, first=max(self.first, begin), last=min(self.last, begin + points - 1))
            for begin in begins
        )

    def halves(self) -> tuple[Grid, Grid]:
        """Cut in two; both have a point where this one has two."""
        middle = (self.first + self.last) // 2
        return (
            Grid(step=self.step, first=self.first, last=middle),
            Grid(step=self.step, first=middle + 1, last=self.last),
        )


class Points(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One array entry a moment: how many `series` there were, the value where there was one, and how it was answered.

    `values` are NaN where there is not exactly one series; a series may be NaN itself. `notes` are warnings and errors
    of the server.
    """

    values: Floats
    series: Counts
    flags: Flags
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of it was answered well."""
        return not self.flags.any()

    @property
    def nothing(self) -> bool:
        """Whether there is no point at all."""
        return not self.series.any()


def points_of(
    grid: Grid, result: Iterable[Mapping[str, Any]], *, of: Mapping[str, str], warnings: Sequence[str] = ()
) -> Points:
    """The points of a matrix (`data.result`); only series with all the labels `of` count.

    Raises `ValueError` and its like for what is no matrix, or not on the grid.
    """
    values = np.full(len(grid), np.nan)
    series = np.zeros(len(grid), dtype=np.int64)
    for one in result:
        metric = one["metric"]
        if any(metric.get(label) != value for label, value in of.items()):
            continue
        pairs = one["values"]
        if not pairs:
            continue
        places = np.array([pair[0] for pair in pairs], dtype=np.float64) / grid.step - grid.first
        at = np.rint(places).astype(np.intp)
        if np.abs(places - at).max() * grid.step > 0.001 or at.min() < 0 or at.max() >= len(grid):
            raise ValueError("points at moments that were not asked for")
        if len(np.unique(at)) != len(at):
            raise ValueError("two points of one series at one moment")
        values[at] = np.array([pair[1] for pair in pairs], dtype=np.float64)
        series[at] += 1
    values[series != 1] = np.nan
    flags = np.full(len(grid), PARTIAL if warnings else FINE, dtype=np.uint8)
    return Points(
        values=values,
        series=np.minimum(series, _MOST_SERIES).astype(np.uint16),
        flags=flags,
        notes=tuple(warnings),
    )


def failed(grid: Grid, why: str) -> Points:
    """No point, because the question failed at these moments."""
    return Points(
        values=np.full(len(grid), np.nan),
        series=np.zeros(len(grid), dtype=np.uint16),
        flags=np.full(len(grid), FAILED, dtype=np.uint8),
        notes=(why,),
    )


def joined(pieces: Sequence[Points]) -> Points:
    """One after the other."""
    return Points(
        values=np.concatenate([piece.values for piece in pieces]),
        series=np.concatenate([piece.series for piece in pieces]),
        flags=np.concatenate([piece.flags for piece in pieces]),
        notes=tuple(dict.fromkeys(note for piece in pieces for note in piece.notes)),
    )


class _Stored(msgspec.Struct, array_like=True):
    values: bytes
    series: bytes


_decoder = msgspec.msgpack.Decoder(_Stored)


def packed(points: Points) -> bytes:
    """For the cache; only for what is `whole`."""
    stored = _Stored(
        values=points.values.astype("<f8").tobytes(), series=points.series.astype("<u2").tobytes()
    )
    return msgspec.msgpack.encode(stored)


def unpacked(grid: Grid, content: bytes) -> Points | None:
    """From the cache; `None` for what is not as long as the grid."""
    try:
        stored = _decoder.decode(content)
    except msgspec.MsgspecError:
        return None
    if len(stored.values) != 8 * len(grid) or len(stored.series) != 2 * len(grid):
        return None
    return Points(
        values=np.frombuffer(stored.values, dtype="<f8").astype(np.float64),
        series=np.frombuffer(stored.series, dtype="<u2").astype(np.uint16),
        flags=np.zeros(len(grid), dtype=np.uint8),
    )
