"""Back-tests: what a rule would have done over a service's history, in the numbers by which people decide to arm it.

Everything is counted on replays (`watchdog.lab.replay`), so it is what the daemon's own evaluation says. Guards are
left out but for one: whether a rollback would have been within the time in which a real deployment is armed.
This module must never ask a source, and never judge a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from watchdog.config.backtests import BackTest
from watchdog.core.rule import BREACH_LEVELS, Level, Rule
from watchdog.lab.backtest_naive import naive_of
from watchdog.lab.burns import Burns, burns_of
from watchdog.lab.replay import Blindness, Episode, Replayed, replay
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import references_of

_WEEK = 7 * 86400.0


class Stretch(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A track to replay from index `first` on: what is earlier is only compared with.

    `version` is empty unless the track is one version's alone. `burns` are those of a rule with an `slo`, where more is
    known of them than the track says.
    """

    track: Track
    first: int = 0
    version: str = ""
    burns: Burns | None = None

    @property
    def judged(self) -> Track:
        """The part that is judged."""
        return self.track.part(self.first, len(self.track))


class Subject(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One rule on one service, and its history; a stretch for each version where they are asked apart.

    `deployments` are the moments (Unix seconds) at which new versions began, `None` where nobody knows them; each can
    be rolled back for `armed_for`.
    """

    service: str
    rule: Rule
    stretches: tuple[Stretch, ...]
    deployments: tuple[float, ...] | None = None
    armed_for: timedelta = timedelta(hours=1)
    notes: tuple[str, ...] = ()


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One incident that would have been: times in Unix seconds, `ended` is `None` where it lasted to the end.

    `level` is the worst that was held. `rolled_back` is when a rollback would have been asked for; `armed` whether that
    was within the time in which a deployment is armed (`None`: no rollback, or deployments are not known).
    """

    level: Level
    breached: float
    began: float
    ended: float | None
    peak: float
    version: str = ""
    rolled_back: float | None = None
    armed: bool | None = None


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert on one sample beyond `limit` would have done: 150 % of critical, and no evidence asked for."""

    limit: float | None
    alerts: int
    alerts_per_week: float
    near_deployments: int | None


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The values that were measured, in the rule's unit."""

    min: float
    median: float
    p99: float
    max: float


class Checked(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one rule on one service would have done.

    `samples` were looked at from `since` to `until` (Unix seconds), `step` seconds apart; `known` of them had a
    verdict, and `reasons` says of all why theirs was what it was. `missed` polls have no sample at all. `begun` counts
    by level how often it was reached. `near_deployments` are the rollbacks that could have happened: within the armed
    time of a deployment; `None` where none is known. `plain` is `None` where there is no such alert.
    """

    subject: Subject
    since: float
    until: float
    step: float
    samples: int
    known: int
    missed: int
    reasons: dict[str, int]
    incidents: tuple[Incident, ...]
    begun: dict[Level, int]
    near_deployments: int | None
    blind: tuple[Blindness, ...]
    values: Range | None
    plain: Plain | None
    notes: tuple[str, ...] = ()
    without_evidence: bool = False

    @property
    def rollbacks(self) -> int:
        """How often it would have asked for a rollback."""
        return self.begun[Level.ROLLBACK]

    @property
    def weeks(self) -> float:
        """How many weeks of polls were looked at."""
        return (self.samples + self.missed) * self.step / _WEEK

    @property
    def incidents_per_week(self) -> float:
        """Its noise: how many incidents of any level begin in a week."""
        return len(self.incidents) / self.weeks if self.weeks else 0.0

    @property
    def longest_blindness(self) -> float:
        """Seconds; 0 where people would never have been told that it is blind."""
        return max((one.ended - one.began for one in self.blind), default=0.0)

    def record(self, made_at: datetime) -> BackTest:
        """What the arming gate keeps of it."""
        return BackTest(
            service=self.subject.service,
            rule=self.subject.rule.name,
            judgement=self.subject.rule.judgement,
            since=datetime.fromtimestamp(self.since, UTC),
            until=datetime.fromtimestamp(self.until, UTC),
            made_at=made_at,
            step_seconds=self.step,
            samples=self.samples,
            known=round(self.known / self.samples, 4) if self.samples else 0.0,
            incidents=len(self.incidents),
            incidents_per_week=round(self.incidents_per_week, 3),
            rollbacks=self.rollbacks,
            near_deployments=self.near_deployments,
            blind_seconds=self.longest_blindness,
        )


def check(subject: Subject) -> Checked:
    """Replay it. Raises `ValueError` for a rule that cannot be replayed, or when there is nothing to replay."""
    stretches = tuple(one for one in subject.stretches if len(one.track) > one.first)
    if not stretches:
        raise ValueError("there is no sample in this time")
    told = [_replayed(subject, subject.rule, one) for one in stretches]
    incidents = tuple(
        incident
        for stretch, one in zip(stretches, told, strict=True)
        for incident in _incidents(subject, stretch, one)
    )
    steps = [one.track.step for one in stretches]
    checked = Checked(
        subject=subject,
        since=min(float(one.judged.times[0]) for one in stretches),
        until=max(float(one.judged.times[-1]) for one in stretches),
        step=max(steps),
        samples=sum(one.known + one.unknown for one in told),
        known=sum(one.known for one in told),
        missed=sum(one.missed for one in told),
        reasons=dict(sum((Counter(one.reasons) for one in told), Counter())),
        incidents=tuple(sorted(incidents, key=lambda one: one.began)),
        begun={level: sum(len(one.episodes[level]) for one in told) for level in BREACH_LEVELS},
        near_deployments=_near(subject, (one.rolled_back for one in incidents)),
        blind=tuple(sorted((silence for one in told for silence in one.blind), key=lambda one: one.began)),
        values=_range(subject.rule, stretches),
        plain=None,
        notes=tuple(dict.fromkeys((*subject.notes, *(note for one in told for note in one.notes)))),
        without_evidence=any(one.without_evidence for one in told),
    )
    return msgspec.structs.replace(checked, plain=_plain(checked, stretches))


def _replayed(subject: Subject, rule: Rule, stretch: Stretch) -> Replayed:
    references = references_of(
        rule, stretch.track, deployments=subject.deployments or (), watched_for=subject.armed_for
    )
    return replay(rule, stretch.track, references=references, burns=stretch.burns, first=stretch.first)


def _incidents(subject: Subject, stretch: Stretch, told: Replayed) -> list[Incident]:
    """Every episode of the mildest level, with the worst that it became."""
    found: list[Incident] = []
    for one in told.episodes[Level.WARNING]:
        inside = {level: _within(one, told.episodes[level]) for level in BREACH_LEVELS}
        worst = next(level for level in reversed(BREACH_LEVELS) if inside[level])
        rolled_back = inside[Level.ROLLBACK][0].began if inside[Level.ROLLBACK] else None
        found.append(
            Incident(
                level=worst,
                breached=one.breached,
                began=one.began,
                ended=one.ended,
                peak=one.peak,
                version=stretch.version,
                rolled_back=rolled_back,
                armed=None if rolled_back is None else _armed(subject, rolled_back),
            )
        )
    return found


def _within(one: Episode, others: Iterable[Episode]) -> list[Episode]:
    return [other for other in others if one.first <= other.first < one.end]


def _armed(subject: Subject, moment: float) -> bool | None:
    """Whether a deployment was so young at a moment that it could be rolled back."""
    if subject.deployments is None:
        return None
    armed_for = subject.armed_for.total_seconds()
    return any(0 <= moment - deployed <= armed_for for deployed in subject.deployments)


def _near(subject: Subject, moments: Iterable[float | None]) -> int | None:
    if subject.deployments is None:
        return None
    return sum(moment is not None and bool(_armed(subject, moment)) for moment in moments)


def compared(rule: Rule, stretch: Stretch) -> Floats:
    """What is compared with the thresholds, in the part that is judged: burn rates for an `slo`; NaN is nothing."""
    track = stretch.track
    if rule.slo is not None:
        values = (stretch.burns or burns_of(rule.slo, track, window=rule.window)).values
    elif track.failed is not None:
        values = np.where(track.failed, np.nan, track.values)
    else:
        values = track.values
    return np.where(np.isfinite(values), values, np.nan)[stretch.first :]


def _range(rule: Rule, stretches: tuple[Stretch, ...]) -> Range | None:
    values = np.concatenate([compared(rule, one) for one in stretches])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    median, p99 = np.quantile(values, (0.5, 0.99))
    return Range(min=float(values.min()), median=float(median), p99=float(p99), max=float(values.max()))


def _plain(checked: Checked, stretches: tuple[Stretch, ...]) -> Plain | None:
    """The same history for an alert without hold and evidence."""
    subject = checked.subject
    naive = naive_of(subject.rule)
    if naive is None:
        return None
    alerts = [
        episode.began
        for one in stretches
        for episode in _replayed(subject, naive, one).episodes[Level.ROLLBACK]
    ]
    return Plain(
        limit=naive.thresholds.rollback,
        alerts=len(alerts),
        alerts_per_week=len(alerts) / checked.weeks if checked.weeks else 0.0,
        near_deployments=_near(subject, alerts),
    )
