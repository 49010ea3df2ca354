"""The state of traffic as a switch reports it, and the one change a rollback makes to it.

A switch is always "set the weights to B if the state is A at revision R", never "undo".
This module must never read or write a switch.
"""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec


class Tier(StrEnum):
    """`A`: the target refuses a stale write. `B`: it cannot, so there must be one writer."""

    A = "A"
    B = "B"


class VariantState(msgspec.Struct, frozen=True, kw_only=True):
    """One variant as the switch shows it.

    `weight` above 0 means live. `version` is `None` when the switch does not know it. `ready` of `total` are units of
    capacity (servers, pods); `ready` is `None` when unknown, which is a veto for a target, never a yes.
    `requests` is the switch's own ever-growing counter of requests sent there, where it has one.
    `addresses` are `host:port` of the units, for a readiness probe; `note` says why something is unknown.
    `content` tells what runs there apart beyond the version, where the switch knows (a hash, compared for equality):
    the same version with other settings is another content, and one that was only started again is the same.
    """

    weight: int
    version: str | None = None
    ready: int | None = None
    total: int | None = None
    requests: int | None = None
    addresses: tuple[str, ...] = ()
    note: str = ""
    content: str = ""

    @property
    def live(self) -> bool:
        """Whether it takes traffic."""
        return self.weight > 0


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps the target as a source says, and does not now, because a rollback suspended it.

    `owner` names it for people, with what may turn it on again; `rollback` is the id that stands on it.
    """

    owner: str
    rollback: str


class TrafficState(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All variants of one service at one revision. Counters and readiness are not part of the revision.

    `mark` is the rollback that wrote last, where the target carries that. `paused` is a person's kill switch on the
    target itself, with its reason (`pause_reason`); empty when there is none, or the target can carry none.
    `managed_by` is who would undo a switch, in words; also when nobody can tell whether he would. `suspended` is what
    we keep from doing so. `noted` are others who write the target and undo nothing; `written_by` is who wrote it after
    us.
    """

    variants: dict[str, VariantState]
    revision: str
    read_at: datetime
    managed_by: str | None = None
    mark: str | None = None
    paused: str = ""
    suspended: Suspension | None = None
    noted: tuple[str, ...] = ()
    written_by: str = ""

    @functools.cached_property
    def live(self) -> tuple[str, ...]:
        """Names of the variants that take traffic, heaviest first."""
        names = [name for name, variant in self.variants.items() if variant.live]
        return tuple(sorted(names, key=lambda name: (-self.variants[name].weight, name)))

    def told(self, variant: str) -> str | None:
        """The version that the switch tells of a variant; a variant's own name tells nothing."""
        spot = self.variants.get(variant)
        return None if spot is None or spot.version in ("", variant) else spot.version


#: No reason for a pause is shown longer than this (characters).
_LONGEST_REASON = 200


def pause_reason(text: str) -> str:
    """What a mark on a target says, as one short printable line; never empty: a mark without a reason is one, too."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if not line:
        return "no reason given"
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"


#: Two reads of one switch overtake each other by seconds at most; more than this is a clock that was set back.
OVERTAKES_WITHIN = timedelta(minutes=1)


def read_before(state: TrafficState, moment: datetime) -> bool:
    """Whether a state was read before a moment, rather than after it by a clock that was set back since."""
    return timedelta() < moment - state.read_at < OVERTAKES_WITHIN


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to write: exactly `target` takes traffic afterwards, every variant in `away` takes none.

    Valid only while the state is at revision `expect`. `mark` (the rollback's id) and `epoch` are written into the
    switched object by targets that can carry them (tier A). `beside` tells that the target took traffic already when
    this was decided: then both being live is no half-done change. `suspend` asks to keep whoever would undo the change
    from doing so, before it is made (`gitops: pause`).
    """

    target: str
    away: tuple[str, ...]
    expect: str
    mark: str
    epoch: int = 0
    beside: bool = False
    suspend: bool = False
