"""The series of one rule test: which rule each one is of, and what it stands for. This module must never play one."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from watchdog.config.loaded import Position
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.shape import shape
from watchdog.core.rule import Ratio, Rule, Unit
from watchdog.core.service import Service
from watchdog.lab.notation import MOST_SAMPLES, Drawn, Form, NotationError, drawn
from watchdog.lab.script import Feed, Sample
from watchdog.lab.testfile_shapes import SeriesShape

_KEY = re.compile(r"(?:(?P<service>[^/@]*)/)?(?P<rule>[^/@]*)(?:@(?P<version>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the keys of series may name. `known` are rules, those with mistakes included."""

    rules: Mapping[str, Rule]
    known: frozenset[str]
    services: Mapping[str, Service]
    main: str
    versions: Collection[str]


def feeds_of(place: Node, among: Measured, every: timedelta | None, problems: Problems) -> tuple[Feed, ...]:
    """Every series under `series`; mistakes are told. `every` is how far apart samples are, unless they say so."""
    feeds: list[Feed] = []
    left = MOST_SAMPLES
    for key, entry in (place.entries or {}).items():
        found = _named(key, place, among, problems)
        rule = None if found is None else among.rules.get(found[1])
        if found is None or rule is None:
            continue
        feed = _feed(entry.node, found, rule, every, left, problems)
        if feed is not None:
            left -= len(feed.samples)
            feeds.append(feed)
    return tuple(feeds)


def service_named(key: str) -> str:
    """The service that a key names; empty for the one under test."""
    match = _KEY.fullmatch(key)
    return (match["service"] or "") if match is not None else ""


def _named(key: str, place: Node, among: Measured, problems: Problems) -> tuple[str, str, str] | None:
    """Service, rule and version of a key; `None` where one is unknown."""
    match, at = _KEY.fullmatch(key), place.at_key(key)
    if match is None:
        problems.add(at, f"{quote(key)} is no series; write RULE, RULE@VERSION or SERVICE/RULE")
        return None
    service, name, version = match["service"] or among.main, match["rule"], match["version"] or ""
    before = len(problems)
    if service not in among.services:
        problems.add(at, unknown("service", service, among.services))
    if name not in among.known:
        problems.add(at, unknown("rule", name, among.known))
    elif service in among.services and name not in among.services[service].rules:
        problems.add(at, f"service {quote(service)} does not use rule {quote(name)}")
    if match["version"] is not None:
        _check_version(version, name, at=at, among=among, problems=problems)
    return (service, name, version) if len(problems) == before else None


def _check_version(version: str, name: str, *, at: Position, among: Measured, problems: Problems) -> None:
    rule = among.rules.get(name)
    if rule is not None and not rule.per_version:
        problems.add(
            at, f"rule {quote(name)} names neither $version nor $variant: it has one series for all versions"
        )
    elif version not in among.versions:
        problems.add(at, unknown("version", version, among.versions))


def _feed(
    node: Node,
    found: tuple[str, str, str],
    rule: Rule,
    every: timedelta | None,
    most: int,
    problems: Problems,
) -> Feed | None:
    service, name, version = found
    written = SeriesShape(samples="")
    place: Node | None = node
    if node.entries is not None:
        shaped, broken = shape(SeriesShape, node, problems)
        place = node.get("samples")
        if shaped is None or broken or place is None:
            return None
        written = shaped
    samples = None if place is None else _drawn(place, rule, most, problems)
    if samples is None:
        return None
    apart = written.every or every or rule.interval
    return Feed(
        service=service,
        rule=name,
        version=version,
        samples=tuple(_sample(one, written.starts + nth * apart) for nth, one in enumerate(samples)),
        events=None if written.events is None else float(written.events),
    )


def _sample(one: Drawn, at: timedelta) -> Sample:
    return Sample(at=at, value=one.value, failed=one.failed, events=one.events)


def _drawn(place: Node, rule: Rule, most: int, problems: Problems) -> tuple[Drawn, ...] | None:
    if place.reported:
        return None
    if place.items is not None or place.tag or isinstance(place.value, bool):
        words = f"expected samples such as 0.01 x5, none x2, found {place.describe()}"
        problems.add(place.at, words)
        return None
    ratio = isinstance(rule.form, Ratio)  # of an objective, too: burn rates are made of shares
    form = Form(unit=Unit.RATIO if ratio else rule.unit, probe=rule.is_probe, ratio=ratio)
    try:
        return drawn(place.written, form, most=most)
    except NotationError as fault:
        problems.add(place.spot(fault.offset), f"{fault}{_where(place, fault.offset)}")
        return None


def _where(place: Node, offset: int) -> str:
    """Where in the text, if the place in the file does not say so."""
    return f" (character {offset + 1} of the text)" if place.inset is None and offset else ""
