"""The score card: how often the daemon's judgement is wrong on labelled series, and how soon it is right.

The first fifth of each series calibrates and is never scored; the rest is judged sample by sample by the daemon's own
`evaluate`, on an injected clock, with nothing kept but what it keeps. Beside it stand the plain rules that people
write. This module must never show a sample to a rule before its time, and never a label to any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from watchdog.core.rule import BREACH_LEVELS, Direction, Level, Rule
from watchdog.lab.burns import burns_of
from watchdog.lab.replay import Replayed, replay
from watchdog.lab.score_events import Alert, Event, events_of, found
from watchdog.lab.score_figures import WEEK, Counted, Figures, figures_of
from watchdog.lab.score_rules import burn_slo, calibrating, for_rule, learnt_rule, naive_rule
from watchdog.lab.track import Track
from watchdog.lab.usual import references_of

#: The rules beside the one that is scored, in the order in which they are shown.
BASELINES = ("naive", "for3", "burn_rate")
#: Which levels of the workbook's wake somebody (`BurnLimit`): critical is 2, rollback is 3.
_PAGES = 2


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted over some series. `levels` by level, `baselines` by name; without those that do not apply."""

    series: int = 0
    events: int = 0
    levels: Mapping[str, Counted] = {}
    baselines: Mapping[str, Counted] = {}

    def __add__(self, other: Scored) -> Scored:
        """Both together."""
        return Scored(
            series=self.series + other.series,
            events=self.events + other.events,
            levels=_together(self.levels, other.levels),
            baselines=_together(self.baselines, other.baselines),
        )

    @property
    def figures(self) -> tuple[dict[str, Figures], dict[str, Figures]]:
        """Those of every level, and of every rule beside; all `None` where nothing was counted."""
        levels = {level.value: figures_of(self.levels.get(level.value, Counted())) for level in BREACH_LEVELS}
        baselines = {name: figures_of(self.baselines.get(name, Counted())) for name in BASELINES}
        return levels, baselines

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON types, without a NaN anywhere."""
        levels, baselines = self.figures
        return {
            "series": self.series,
            "events": self.events,
            "levels": {name: one.plain for name, one in levels.items()},
            "baselines": {name: one.plain for name, one in baselines.items()},
        }


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of every folder, by its path, and of all series together. `notes` say what to know about them."""

    folders: Mapping[str, Scored]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Scored:
        """All series together."""
        return sum(self.folders.values(), Scored())

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {**self.total.plain, "folders": {name: one.plain for name, one in self.folders.items()}}


def score(
    tracks: Sequence[Track],
    *,
    rule: Rule | None = None,
    direction: Direction = Direction.ABOVE,
    done: Callable[[], None] = lambda: None,
) -> Card:
    """The score card of labelled series, by the folder that is the first part of their names.

    `rule` is judged instead of what each series' calibration teaches (`learnt_rule`); then its own direction counts.
    `done` is called after each series. Raises `ValueError` for a rule that cannot be replayed from one series.
    """
    folders: dict[str, Scored] = {}
    notes: dict[str, None] = {}
    for track in tracks:
        folder = track.name.rpartition("/")[0] or "."
        scored, said = score_of(track, rule=rule, direction=direction if rule is None else rule.direction)
        folders[folder] = folders.get(folder, Scored()) + scored
        notes.update(dict.fromkeys(said))
        done()
    return Card(folders=folders, notes=tuple(notes))


def score_of(track: Track, *, rule: Rule | None, direction: Direction) -> tuple[Scored, tuple[str, ...]]:
    """The score of one series, and what to know about it. Without labels there are no events."""
    first = calibrating(track)
    labels = np.zeros(len(track), dtype=np.int8) if track.labels is None else track.labels
    course = Course(track, first, events_of(labels, first=first))
    judged = rule or learnt_rule(track, direction)
    replayed = replay(judged, track, references=references_of(judged, track), first=first)
    levels = {
        level.value: course.counted(alerts_of(replayed, level), replayed.known) for level in BREACH_LEVELS
    }
    baselines = dict(course.beside(direction))
    scored = Scored(series=1, events=len(course.events), levels=levels, baselines=baselines)
    return scored, replayed.notes


class Course:
    """The scored part of one series, from sample `first` on, with its events."""

    def __init__(self, track: Track, first: int, events: tuple[Event, ...]) -> None:
        self.track, self.first, self.events = track, first, events

    def counted(self, alerts: Sequence[Alert], judged: int) -> Counted:
        """What some alerts found."""
        times = self.track.times
        met = found(self.events, alerts)
        scored = len(self.track) - self.first
        lasted = float(times[-1] - times[self.first]) + self.track.step if scored else 0.0
        return Counted(
            events=met.events,
            found=len(met.delays),
            true=met.true,
            false=met.false,
            scored=scored,
            judged=judged,
            weeks=lasted / WEEK,
            delays=tuple(float(delay) for delay in met.delays),
            seconds=tuple(float(times[at] - times[began]) for began, at in met.late),
        )

    def beside(self, direction: Direction) -> Iterator[tuple[str, Counted]]:
        """What the plain rules would have found; one that could learn nothing has no verdict at all."""
        for name, rule in (
            ("naive", naive_rule(self.track, direction)),
            ("for3", for_rule(self.track, direction)),
        ):
            if rule is None:
                yield name, self.counted((), 0)
            else:
                replayed = replay(rule, self.track, first=self.first)
                yield name, self.counted(alerts_of(replayed, Level.CRITICAL), replayed.known)
        slo = burn_slo(self.track, direction)
        if slo is not None:
            burns = burns_of(slo, self.track)
            known = np.isfinite(burns.values)
            alerts = _stretches(burns.reached >= _PAGES, known, self.first)
            yield "burn_rate", self.counted(alerts, int(np.count_nonzero(known[self.first :])))


def alerts_of(replayed: Replayed, level: Level) -> tuple[Alert, ...]:
    """An alert lasts until its check is clear, as a page does."""
    return tuple(Alert(first=one.first, last=max(one.first, one.end - 1)) for one in replayed.episodes[level])


def _stretches(flags: NDArray[np.bool_], known: NDArray[np.bool_], first: int) -> tuple[Alert, ...]:
    """Where flags are up, from a sample on; where nothing is known nothing changes."""
    alerts: list[Alert] = []
    up = False
    for index in (int(one) for one in np.flatnonzero(known) if one >= first):
        if flags[index]:
            alerts = (
                [*alerts[:-1], replace(alerts[-1], last=index)]
                if up
                else [*alerts, Alert(first=index, last=index)]
            )
        up = bool(flags[index])
    return tuple(alerts)


def _together(one: Mapping[str, Counted], other: Mapping[str, Counted]) -> dict[str, Counted]:
    return {name: one.get(name, Counted()) + other.get(name, Counted()) for name in {**one, **other}}
