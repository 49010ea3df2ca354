"""Tracks: the history of one measurement, as the polls of one check would have seen it.

Whatever it was read from (CSV, a Prometheus range, a simulator), everything in `watchdog.lab` judges tracks. This
module must never judge, and never repair: what was unsorted or twice is the reader's to refuse or to say.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Track(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Samples of one measurement, oldest first; all arrays are of shape (samples,).

    `times` are Unix seconds, strictly increasing. `values` are in the base unit of the rule, NaN where there is no
    data; `failed` is true where the question failed (an error, not no data). `events` and `bad` are counts in the
    window, where known, NaN like the value. `labels` is 1 where somebody marked the sample as anomalous.
    `sampled` is when the newest raw sample behind a value was taken (Unix seconds): polls that saw the same one are
    one sample. `None`: each at its own time. `more` is true where the value is the least that it can be.
    `step` is the usual distance of two samples (seconds). `name` says for people where it is from.
    """

    name: str
    times: Floats
    values: Floats
    step: float
    events: Floats | None = None
    bad: Floats | None = None
    failed: NDArray[np.bool_] | None = None
    labels: NDArray[np.int8] | None = None
    sampled: Floats | None = None
    more: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """How many samples."""
        return len(self.times)

    def part(self, first: int, end: int) -> Track:
        """The samples from index `first` up to, not including, `end`."""
        changed: dict[str, Any] = {
            field: array[first:end]
            for field in ("times", "values", "events", "bad", "failed", "labels", "sampled", "more")
            if (array := getattr(self, field)) is not None
        }
        return msgspec.structs.replace(self, **changed)
