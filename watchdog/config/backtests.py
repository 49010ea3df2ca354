"""Back-test records: what a rule would have done on history, and whether that is enough to let it act.

The file is written by `watchdog backtest` (`watchdog.lab.record`) and meant to be committed beside the rules; here it
is read. This module must never write it, and never judge a sample.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec

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


def decode(content: bytes) -> RecordFile:
    """The file's content. Raises `msgspec.DecodeError` for what is none (`ValidationError` with a path)."""
    return msgspec.json.decode(content, type=RecordFile)
