"""What is back-tested: histories of a configuration's checks from its sources, or series from files for one rule.

Rules with a baseline get as much earlier history as they are compared with. This module must never judge a sample, and
never ask for more than a check's own history.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from watchdog.config.loaded import Configuration
from watchdog.config.problems import unknown
from watchdog.core.baseline import reach
from watchdog.core.errors import ConfigError
from watchdog.core.rule import Rule
from watchdog.core.service import RollbackPolicy
from watchdog.lab.backtest import Stretch, Subject
from watchdog.lab.burns import burns_from
from watchdog.lab.cache import Cache
from watchdog.lab.csv_track import read_folder
from watchdog.lab.deployments import Deployments
from watchdog.lab.history import History, Progress, Span, Unasked, histories
from watchdog.lab.track import Track

_ARMED_FOR = RollbackPolicy().armed_for


class Inputs(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything to replay, what cannot be and why, and remarks on the whole."""

    subjects: tuple[Subject, ...]
    unasked: tuple[Unasked, ...] = ()
    notes: tuple[str, ...] = ()


def wanted(
    configuration: Configuration, *, services: Sequence[str] = (), rules: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """The checks that are meant: all, or those of these services and rules.

    Raises `ConfigError` for a name that the configuration does not have, and where no check is left.
    """
    for name in services:
        if name not in configuration.services:
            raise ConfigError(unknown("service", name, configuration.services))
    for name in rules:
        if name not in configuration.rules:
            raise ConfigError(unknown("rule", name, configuration.rules))
    found = [
        (service, rule)
        for service, entry in configuration.services.items()
        for rule in entry.service.rules
        if (not services or service in services) and (not rules or rule in rules)
    ]
    if not found:
        what = f"{', '.join(services) or 'no service'} has none of the rules {', '.join(rules)}"
        raise ConfigError(f"there is nothing to back-test: {what if rules else 'no service has a rule'}")
    return found


def asked_inputs(
    configuration: Configuration,
    checks: Sequence[tuple[str, str]],
    span: Span,
    *,
    deployments: Deployments,
    armed_for: timedelta | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Inputs:
    """The histories of checks over a time. Raises `RangeError` when a server cannot be asked."""
    leads: dict[timedelta, list[tuple[str, str]]] = {}
    for service, rule in checks:
        leads.setdefault(reach(configuration.rules[rule]), []).append((service, rule))
    found: list[History] = []
    unasked: list[Unasked] = []
    notes: list[str] = []
    for lead, group in leads.items():
        earlier = msgspec.structs.replace(span, begin=span.begin - lead)
        answered = histories(
            configuration, group, earlier, deployments=deployments, cache=cache, progress=progress
        )
        found += answered.found
        unasked += answered.unasked
        notes += answered.notes
    subjects = []
    for service, rule in checks:
        own = [one for one in found if (one.service, one.rule.name) == (service, rule)]
        if own:
            policy = configuration.services[service].service.rollback
            subjects.append(_subject(own, span, deployments, armed_for=armed_for or policy.armed_for))
    return Inputs(subjects=tuple(subjects), unasked=tuple(unasked), notes=tuple(dict.fromkeys(notes)))


def _subject(own: list[History], span: Span, deployments: Deployments, *, armed_for: timedelta) -> Subject:
    rule = own[0].rule
    return Subject(
        service=own[0].service,
        rule=rule,
        stretches=tuple(
            Stretch(
                track=one.track,
                first=_first(one.track, span.begin),
                version=one.version,
                burns=None if rule.slo is None else burns_from(rule, one.parts),
            )
            for one in own
        ),
        deployments=_moments(deployments, own[0].service),
        armed_for=armed_for,
        notes=tuple(dict.fromkeys(note for one in own for note in one.notes)),
    )


def read_inputs(
    path: Path,
    rule: Rule,
    *,
    begin: datetime | None = None,
    end: datetime | None = None,
    service: str | None = None,
    deployments: Deployments,
    armed_for: timedelta = _ARMED_FOR,
) -> Inputs:
    """The series of a file, or of every one below a folder, as the history of one rule.

    Each counts as a service of its own name, unless there is one file and `service` says whose it is. Raises
    `InvalidSeries` with what is wrong in the files, `ConfigError` where `service` cannot be meant.
    """
    read = read_folder(path)
    if service is not None and len(read.series) > 1:
        raise ConfigError(
            f"{path} has {len(read.series)} series; --service says whose one is: name its file instead"
        )
    subjects = []
    for one in read.series:
        name = service or one.track.name.removesuffix(".csv")
        track = one.track.part(0, _first(one.track, end, after=True)) if end is not None else one.track
        subjects.append(
            Subject(
                service=name,
                rule=rule,
                stretches=(Stretch(track=track, first=0 if begin is None else _first(track, begin)),),
                deployments=_moments(deployments, name),
                armed_for=armed_for,
                notes=one.notes,
            )
        )
    return Inputs(subjects=tuple(subjects), notes=(*read.skipped, *deployments.notes))


def _moments(deployments: Deployments, service: str) -> tuple[float, ...] | None:
    """When something new was deployed; `None` where nothing is known of the service."""
    return deployments.moments(service) if deployments.of(service) else None


def _first(track: Track, moment: datetime, *, after: bool = False) -> int:
    """The index of the first sample at a moment or later, or after it."""
    return int(np.searchsorted(track.times, moment.timestamp(), side="right" if after else "left"))
