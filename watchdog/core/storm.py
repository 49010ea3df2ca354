"""A storm: many services turned bad at once, and people hear of them as one. What is remembered of it, as values.

`watchdog.core.storming` applies this. This module must never decide anything.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from watchdog.core.incident import Incident

#: So many services that turn bad within `WITHIN` are told one by one; the next ones are told as one.
SINGLY = 5
WITHIN = timedelta(minutes=1)
#: However many services join a storm, people hear of it no more often than this.
EVERY = timedelta(minutes=1)
#: When no more than `SINGLY` are left and nothing got better for so long, each of them is a matter of its own.
SETTLED = timedelta(minutes=2)
#: What the incident of a storm is about, in place of a service.
SUBJECT = "several services"


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between turns, but for what is stored with the incident.

    `singly` are the services that people heard of on their own lately, and when. `incident` is the open storm, which a
    service joined last at `joined_at`. `told_at` is when people last heard of it, `news` whether anything was folded
    since. `left` services were still in it at `left_at`, when that number last changed.
    """

    singly: dict[str, datetime] = {}
    incident: Incident | None = None
    joined_at: datetime | None = None
    told_at: datetime | None = None
    news: bool = False
    left: int = 0
    left_at: datetime | None = None
