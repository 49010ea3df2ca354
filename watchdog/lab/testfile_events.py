"""The events of one rule test: deployments, hands on the switch, people's wishes, clocks and outages.

This module must never carry one out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from watchdog.config.nodes import Entry, Node
from watchdog.config.problems import Problems, unknown
from watchdog.config.shape import shape
from watchdog.core.request import RequestKind
from watchdog.core.service import Service
from watchdog.core.traffic import VariantState
from watchdog.lab.script import ClockSet, Deployed, Down, Occurrence, Patched, Planned, Wanted
from watchdog.lab.testfile_shapes import (
    AcknowledgeShape,
    DeployShape,
    EventShape,
    RollbackWishShape,
    SilenceWishShape,
    VariantShape,
    VersionWishShape,
    WishShape,
)

S = TypeVar("S", WishShape, DeployShape, VariantShape)

#: What can stand beside `at` and `service`; exactly one of them does.
KINDS = tuple(name for name in EventShape.model_fields if name not in ("at", "service"))
#: What people ask for, and the shape of it where it is more than a name.
_WISHES: Mapping[str, tuple[RequestKind, type[WishShape]]] = {
    "acknowledge": (RequestKind.ACKNOWLEDGE, AcknowledgeShape),
    "unacknowledge": (RequestKind.UNACKNOWLEDGE, WishShape),
    "approve": (RequestKind.APPROVE, WishShape),
    "reject": (RequestKind.REJECT, WishShape),
    "close": (RequestKind.CLOSE, WishShape),
    "rollback": (RequestKind.ROLLBACK, RollbackWishShape),
    "pause": (RequestKind.PAUSE, WishShape),
    "resume": (RequestKind.RESUME, WishShape),
    "taint": (RequestKind.TAINT, VersionWishShape),
    "untaint": (RequestKind.UNTAINT, VersionWishShape),
    "mark_good": (RequestKind.MARK_GOOD, VersionWishShape),
    "silence": (RequestKind.SILENCE, SilenceWishShape),
}


@dataclass(slots=True, kw_only=True)
class Stage:
    """What events are about. `traffic` are the switches at the begin; `versions` grows with every deployment."""

    services: Mapping[str, Service]
    main: str
    traffic: Mapping[str, Mapping[str, VariantState]]
    channels: frozenset[str]
    versions: set[str] = field(default_factory=set)
    #: Which variant of each service was deployed to last.
    live: dict[str, str] = field(default_factory=dict)


def events_of(place: Node, stage: Stage, problems: Problems) -> tuple[Planned, ...]:
    """Every event under `events`, in their order in time; mistakes are told."""
    return tuple(
        sorted(
            (one for node in place.items or () for one in _event(node, stage, problems)),
            key=lambda one: one.at,
        )
    )


def variant_of(node: Node, problems: Problems) -> VariantState | None:
    """One variant: its weight alone, or a mapping."""
    if node.entries is None and isinstance(node.value, int) and not isinstance(node.value, bool):
        if node.value < 0:
            problems.add(node.at, f"{node.value} is no weight: 0 takes no traffic, more takes some")
            return None
        return VariantState(weight=node.value, ready=1, total=1)
    written, broken = shape(VariantShape, node, problems)
    if written is None or broken:
        return None
    total = written.total if not node.has("ready") or node.has("total") else written.ready
    return VariantState(weight=written.weight, version=written.version, ready=written.ready, total=total)


def _event(node: Node, stage: Stage, problems: Problems) -> Iterator[Planned]:
    written, broken = shape(EventShape, node, problems)
    if written is None:
        return
    kinds = [key for key in KINDS if node.has(key)]
    if len(kinds) != 1:
        if not broken:
            have = f"found {' and '.join(kinds)}" if kinds else f"write one of {', '.join(KINDS)}"
            problems.add(node.at, f"an event is one thing that happens; {have}")
        return
    service = written.service or stage.main
    if service not in stage.services:
        problems.add(node.at_value("service"), unknown("service", service, stage.services))
        return
    if broken or not node.has("at"):
        return
    for what in _happens(kinds[0], node, written, service, stage, problems):
        yield Planned(at=written.at, what=what)


def _happens(
    kind: str, node: Node, written: EventShape, service: str, stage: Stage, problems: Problems
) -> list[Occurrence]:
    place = node.find((kind,))
    match kind:
        case "deploy":
            return _deployed(place, service, stage, problems)
        case "patch":
            return _patched(place, service, stage, problems)
        case "clock":
            return [ClockSet(by=written.clock or timedelta())]
        case "switch_down":
            return [Down(lasts=written.switch_down or timedelta(), service=service)]
        case "channel_down":
            return _channels_down(place, written.channel_down or {}, stage, problems)
        case _:
            return _wanted(kind, place, service, stage, problems)


def _deployed(place: Node, service: str, stage: Stage, problems: Problems) -> list[Occurrence]:
    written = _read(DeployShape, place, "version", "a version", problems)
    if written is None:
        return []
    variants = stage.traffic[service]
    stage.versions.add(written.version)
    variant = written.variant or next((name for name in variants if name != stage.live.get(service)), None)
    if variant is None or variant not in variants:
        problems.add(place.at_value("variant"), unknown("variant", variant or "", variants))
        return []
    stage.live[service] = variant
    return [
        Deployed(
            service=service,
            version=written.version,
            variant=variant,
            announced=written.announced,
            rollback_allowed=written.rollback == "allowed",
        )
    ]


def _patched(place: Node, service: str, stage: Stage, problems: Problems) -> list[Occurrence]:
    before, variants = stage.traffic[service], dict[str, VariantState]()
    for name, entry in (place.entries or {}).items():
        if name not in before:
            problems.add(entry.at, unknown("variant", name, before))
        elif (state := variant_of(entry.node, problems)) is not None:
            variants[name] = state
            stage.versions |= {state.version} if state.version is not None else set()
    if not variants:
        return []
    return [Patched(service=service, variants=variants)]


def _channels_down(
    place: Node, written: Mapping[str, timedelta], stage: Stage, problems: Problems
) -> list[Occurrence]:
    for name in written:
        if name not in stage.channels:
            problems.add(place.at_key(name), unknown("channel", name, stage.channels))
    return [Down(lasts=lasts, channel=name) for name, lasts in written.items()]


def _wanted(kind: str, place: Node, service: str, stage: Stage, problems: Problems) -> list[Occurrence]:
    request, model = _WISHES[kind]
    in_short = "" if model in (VersionWishShape, SilenceWishShape) else "by"
    written = _read(model, place, in_short, "who asks", problems)
    if written is None:
        return []
    arguments = {} if written.reason is None else {"reason": written.reason}
    if isinstance(written, SilenceWishShape):
        arguments |= written.match
    if isinstance(written, AcknowledgeShape | SilenceWishShape) and written.lasts is not None:
        arguments["for_seconds"] = f"{written.lasts.total_seconds():g}"
    if isinstance(written, RollbackWishShape) and written.to is not None:
        arguments["to"] = _version(place, "to", written.to, stage, problems)
    if isinstance(written, VersionWishShape):
        arguments["version"] = _version(place, "version", written.version, stage, problems)
    return [Wanted(kind=request, service=service, arguments=arguments, by=written.by)]


def _version(place: Node, key: str, version: str, stage: Stage, problems: Problems) -> str:
    if version not in stage.versions:
        problems.add(place.at_value(key), unknown("version", version, stage.versions))
    return version


def _read(model: type[S], place: Node, in_short: str, meaning: str, problems: Problems) -> S | None:
    """A mapping as its shape, or one word in its place: the value of the key `in_short`."""
    if place.reported:
        return None
    if place.entries is None and in_short:
        if place.items is not None or place.tag or isinstance(place.value, bool):
            problems.add(place.at, f"expected {meaning}, or a mapping, found {place.describe()}")
            return None
        if not place.written:
            problems.add(place.at, f"expected {meaning}, found nothing; quote what is meant")
            return None
        place = Node(at=place.at, entries={in_short: Entry(at=place.at, node=place)})
    written, broken = shape(model, place, problems)
    return None if broken else written
