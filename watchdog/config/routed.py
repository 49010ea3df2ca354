"""What the routes would make of something with these labels: which one takes it, and who would be told when.

Labels are what somebody types, so that a name or value that nothing has is told with the nearest one. This module must
never tell anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from watchdog.config.loaded import Configuration, Position
from watchdog.config.problems import unknown
from watchdog.config.services import RESERVED_LABELS
from watchdog.core.errors import ConfigError
from watchdog.core.gathering import can_wait
from watchdog.core.message import NOTICES, Message, MessageKind
from watchdog.core.mute import MuteWindow, ends_at
from watchdog.core.routing import Route, route_for
from watchdog.core.rule import Severity
from watchdog.core.silence import LABEL, SILENCED
from watchdog.core.timeline import Told, timeline

#: What somebody who says nothing asks about. Notices are never louder than low.
SEVERITY, KIND = Severity.CRITICAL, MessageKind.INCIDENT_OPENED


class UnknownLabels(ConfigError):
    """Labels that nothing has; `str()` is a line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """`index` counts routes from 0. `mutes` are the windows in force, `muted_until` their end where they hold it back.

    `waits` tells whether it would wait for others of its group, where the route gathers.
    """

    labels: dict[str, str]
    severity: Severity
    kind: MessageKind
    at: datetime
    route: Route
    index: int
    place: Position | None
    told: tuple[Told, ...]
    mutes: tuple[MuteWindow, ...]
    muted_until: datetime | None
    waits: bool


def routed(
    configuration: Configuration, written: Iterable[str], *, severity: str | None, at: datetime
) -> Routed | None:
    """What becomes of something with labels such as `team=booking`; `None` when no route takes it.

    `service=NAME` brings the service's labels and environment. Raises `UnknownLabels` with everything that is wrong.
    """
    labels = _labels(configuration, written, severity)
    route = route_for(labels, configuration.routes)
    if route is None:
        return None
    index = next(number for number, one in enumerate(configuration.routes) if one is route)
    loud, kind = Severity(labels["severity"]), MessageKind(labels["kind"])
    quiet = kind in SILENCED | NOTICES
    until = partial(ends_at, route.mutes) if quiet else _never
    places = configuration.route_places
    return Routed(
        labels=labels,
        severity=loud,
        kind=kind,
        at=at,
        route=route,
        index=index,
        place=places[index] if index < len(places) else None,
        told=_told(route, loud, kind, at=at),
        mutes=tuple(window for window in route.mutes if window.holds(at)),
        muted_until=until(at),
        waits=route.gather is not None and can_wait(_message(kind, loud, at)),
    )


def _never(_at: datetime) -> datetime | None:
    return None


def _told(route: Route, severity: Severity, kind: MessageKind, *, at: datetime) -> tuple[Told, ...]:
    if kind not in NOTICES:
        return timeline(
            route, severity, at=at, muted_until=partial(ends_at, route.mutes) if kind in SILENCED else _never
        )
    muted = any(window.holds(at) for window in route.mutes)
    return (Told(at=at, channels=route.notices, what="notice"),) if route.notices and not muted else ()


def _message(kind: MessageKind, severity: Severity, at: datetime) -> Message:
    return Message(key="", kind=kind, severity=severity, headline="", created_at=at)


def _labels(configuration: Configuration, written: Iterable[str], severity: str | None) -> dict[str, str]:
    known = values(configuration)
    problems: list[str] = []
    given: dict[str, str] = {}
    for text in written:
        name, equals, value = text.partition("=")
        plain = name.removeprefix(LABEL) if name.startswith(LABEL) else name
        if not equals or not name:
            problems.append(f"{text!r} is not LABEL=VALUE, such as service=trips")
        elif plain not in known or (plain != name and plain in RESERVED_LABELS):
            problems.append(unknown("label", name, known))
        elif known[plain] and value not in known[plain]:
            problems.append(unknown(_what(plain), value, known[plain]))
        elif given.setdefault(plain, value) != value:
            problems.append(f"{plain} is both {given[plain]!r} and {value!r}")
    if severity is not None and severity not in list(Severity):
        problems.append(unknown("severity", severity, known["severity"]))
    elif severity is not None and given.setdefault("severity", severity) != severity:
        problems.append(f"severity is both {given['severity']!r} and {severity!r}")
    found, wrong = _with_service(configuration, given)
    problems += wrong
    if problems:
        raise UnknownLabels("\n".join(problems))
    own = {name: value for name, value in found.items() if name not in RESERVED_LABELS}
    return {
        **{f"{LABEL}{name}": value for name, value in own.items()},
        **dict.fromkeys(RESERVED_LABELS, ""),
        "severity": Severity.LOW if found.get("kind") in NOTICES else SEVERITY,
        "kind": KIND,
        **found,
    }


def _with_service(configuration: Configuration, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The labels with those of the service that they name, and where they contradict it."""
    entry = configuration.services.get(given.get("service", ""))
    if entry is None:
        return dict(given), []
    own = {**entry.service.labels, "environment": entry.service.environment}
    wrong = [
        f"{name} of service {entry.service.name!r} is {own[name]!r}, not {value!r}"
        if name in own
        else f"service {entry.service.name!r} has no label {name!r}"
        for name, value in given.items()
        if name not in ("service", "severity", "kind", "version") and own.get(name) != value
    ]
    return {**own, **given}, wrong


def values(configuration: Configuration) -> dict[str, frozenset[str]]:
    """Every label of services and routes, with all its values; an empty set of them where any is good."""
    services = [entry.service for entry in configuration.services.values()]
    found: dict[str, set[str]] = {}
    for service in services:
        for name, value in service.labels.items():
            found.setdefault(name, set()).add(value)
    for route in configuration.routes:
        for name, value in route.match.items():
            found.setdefault(name, set()).add(value)
    found["environment"] = found.get("environment", set()) | {service.environment for service in services}
    found |= {
        "service": {service.name for service in services},
        "severity": {one.value for one in Severity},
        "kind": {one.value for one in MessageKind},
        "version": set(),
    }
    return {name: frozenset(values) for name, values in found.items()}


def _what(label: str) -> str:
    return label if label in RESERVED_LABELS and label != "kind" else f"value of label {label}"
