"""The ground that tests of rules stand on: rule files alone, or a whole configuration, with nothing outside asked.

This module must never know a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from watchdog.config.forms import Forms
from watchdog.config.load import load
from watchdog.config.loaded import Configuration, Problem, ServiceEntry
from watchdog.config.nodes import Node
from watchdog.config.problems import InvalidConfiguration, Problems, quote
from watchdog.config.providers import Providers, Registries
from watchdog.config.rule_files import RuleBook, named
from watchdog.config.rules import Known, Surroundings
from watchdog.config.services import where
from watchdog.config.trail import Trail
from watchdog.core.routing import Route
from watchdog.core.rule import Rule
from watchdog.core.service import Intervals, Limits, Service

#: What tests of rule files alone have: one service, one source, one channel, and a switch with two variants.
SERVICE, SOURCE, CHANNEL, VARIANTS = "app", "prometheus", "log", ("blue", "green")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Everything that tests of one file share.

    `known` are all names of rules, those with mistakes included. `variants` are those of every service's switch, the
    first one live. `bare` is set where there are rule files alone: then a test may name its service as it likes.
    """

    rules: Mapping[str, Rule]
    known: frozenset[str]
    services: Mapping[str, Service]
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: frozenset[str] = frozenset({SOURCE})
    channels: frozenset[str] = frozenset({CHANNEL})
    routes: tuple[Route, ...] = (Route(to=(CHANNEL,)),)
    limits: Limits = field(default_factory=Limits)
    intervals: Intervals = field(default_factory=Intervals)
    bare: bool = False


def of_rules(base: Path, place: Node, problems: Problems) -> Ground:
    """Of the rule files that a list names. Mistakes in them are told where they are, and where the file is named."""
    inner, trail = Problems(), Trail()
    files, _ = named(base, place, problems, trail)
    around = Surroundings(intervals=Intervals(), sources=None, windows={}, baselines={}, metrics={})
    book = RuleBook(around, Forms(Providers(Registries(), base, inner, trail), inner), inner, trail)
    book.read(files)
    found = _pass_on(inner, problems)
    for file, item in files.items():
        _point(item, [one for one in found if one.at.file == file], problems)
    rules = {name: _asked(one.rule) for name, one in book.rules.items() if one.rule is not None}
    labels = _labels(book.rules)
    service = Service(name=SERVICE, labels=labels, rules=tuple(book.rules))
    return Ground(
        rules=rules,
        known=frozenset(book.rules),
        services={SERVICE: service},
        sources=frozenset({rule.source for rule in rules.values() if rule.source} | {SOURCE}),
        bare=True,
    )


def of_configuration(
    base: Path, place: Node, environ: Mapping[str, str], problems: Problems
) -> Ground | None:
    """Of a configuration. `None` when it has mistakes: they are told, and where it is named."""
    if place.text is None:
        return None
    try:
        loaded = load(base / place.text, environ=environ)
    except InvalidConfiguration as invalid:
        for one in invalid.problems:
            problems.add(one.at, one.message)
        _point(place, invalid.problems, problems)
        return None
    return _configured(loaded)


def _configured(loaded: Configuration) -> Ground:
    return Ground(
        rules=loaded.rules,
        known=frozenset(loaded.rules),
        services={name: entry.service for name, entry in loaded.services.items()},
        variants={name: _variants(entry) for name, entry in loaded.services.items()},
        sources=frozenset(loaded.sources),
        channels=frozenset(loaded.channels),
        routes=loaded.routes,
        limits=loaded.limits,
        intervals=loaded.intervals,
    )


def _variants(entry: ServiceEntry) -> tuple[str, ...]:
    """Those that the switch's settings name; the usual two where only the target knows them."""
    written = getattr(entry.traffic.settings, "variants", None)
    return tuple(written) if isinstance(written, Mapping) and len(written) > 1 else VARIANTS


def _pass_on(inner: Problems, problems: Problems) -> tuple[Problem, ...]:
    """Tell what was found in rule files, and say what that was."""
    try:
        inner.raise_if_any()
    except InvalidConfiguration as invalid:
        for one in invalid.problems:
            problems.add(one.at, one.message)
        return invalid.problems
    return ()


def _point(item: Node, found: tuple[Problem, ...] | list[Problem], problems: Problems) -> None:
    """At the place that names a file: that it has mistakes, and where the first is."""
    if not found:
        return
    count = "a mistake" if len(found) == 1 else f"{len(found)} mistakes, the first"
    first = found[0]
    problems.add(item.at, f"{quote(item.text or '')} has {count} at {where(first.at)}: {first.message}")


def _asked(rule: Rule) -> Rule:
    """Rules that name no source are asked of the one that tests have."""
    return rule if rule.source is not None or rule.is_probe else replace(rule, source=SOURCE)


def _labels(rules: Mapping[str, Known]) -> dict[str, str]:
    """Every label that any rule wants of its service."""
    return {label: label for label in sorted(set().union(*(one.labels for one in rules.values())))}
