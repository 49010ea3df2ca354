"""Back-test records: what a rule would have done on history, and whether that is enough to let it act.

The file is written by `watchdog backtest` (`watchdog.lab.record`) and meant to be committed beside the rules; it is
read by `watchdog.config.backtest_file`. This module must never open it, and never judge a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from watchdog.config.fields import Count, Rate
from watchdog.settings.model import PositiveDuration, Settings

#: The name of the file beside the configuration, where `backtest.record` does not say another.
RECORD_FILE = "backtests.json"
#: Largest file in bytes: some twenty thousand records.
LARGEST_RECORD = 8 * 1024 * 1024

_Number = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class BackTest(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"since": "from", "until": "to"},
):
    """What one rule would have done on one service from `since` to `until`, asked every `step_seconds`.

    `judgement` is `Rule.judgement` of the rule that was replayed: another one was not. `samples` were looked at, of
    which a share of `known` (0..1) had a verdict. `incidents` are those of any level; `rollbacks` how often the rule
    would have asked for a rollback, of which `near_deployments` within the armed time of a real deployment (left out
    where none is known). `blind_seconds` is the longest time without a verdict. `made_at` is when it was made.
    """

    service: str
    rule: str
    judgement: str
    since: _Aware
    until: _Aware
    made_at: _Aware
    step_seconds: _Number
    samples: _Count
    known: Annotated[float, msgspec.Meta(ge=0, le=1)]
    incidents: _Count
    incidents_per_week: _Number
    rollbacks: _Count
    near_deployments: _Count | None = None
    blind_seconds: _Number | None = None

    @property
    def span(self) -> timedelta:
        """How much history was looked at."""
        return self.until - self.since


class RecordFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: records sorted by service and rule, one of each."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    backtests: tuple[BackTest, ...] = ()


class BacktestShape(Settings):
    """`backtest`: what a back-test must have shown before a rule may roll back by itself."""

    record: Path = Path(RECORD_FILE)
    """The file of back-test records, relative to this file."""
    max_rollbacks: Count | None = None
    """Most rollbacks that the rule would have asked for in the whole back-test."""
    max_noise: Rate | None = None
    """Most incidents of any level, such as `2 per 1w`."""
    max_age: PositiveDuration | None = None
    """How long ago the end of the back-tested time may be."""
    min_span: PositiveDuration | None = None
    """Least time that must have been back-tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTests:
    """The records of `file` by service and rule, and what is asked of them. `configured`: the section is written.

    `max_noise` is in incidents a week.
    """

    file: Path = Path(RECORD_FILE)
    configured: bool = False
    max_rollbacks: int | None = None
    max_noise: float | None = None
    max_age: timedelta | None = None
    min_span: timedelta | None = None
    records: Mapping[tuple[str, str], BackTest] = field(default_factory=dict)


def decode(content: bytes) -> RecordFile:
    """The file's content. Raises `msgspec.DecodeError` for what is none (`ValidationError` with a path)."""
    return msgspec.json.decode(content, type=RecordFile)
