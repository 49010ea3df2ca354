"""Files with tests of rules (`NAME.test.yaml`), read: every test as a script to play and what is expected of it.

By the same machinery as the configuration, so that every mistake of a file is told at once, each at its place. This
module must never play a test, nor ask anything outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from watchdog.config.document import read
from watchdog.config.loaded import Position
from watchdog.config.nodes import Node
from watchdog.config.policy import Profile, policy_of
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.rule_files import want_version
from watchdog.config.shape import shape
from watchdog.core.request import RequestKind
from watchdog.core.rule import Rule
from watchdog.core.service import Service
from watchdog.core.traffic import VariantState
from watchdog.lab.expectations import Expectation
from watchdog.lab.script import Feed, Planned, Script, Wanted
from watchdog.lab.testfile_events import Stage, events_of, variant_of
from watchdog.lab.testfile_expect import Names, expectations_of
from watchdog.lab.testfile_ground import VARIANTS, Ground, of_configuration, of_rules
from watchdog.lab.testfile_series import Measured, feeds_of, service_named
from watchdog.lab.testfile_shapes import BEGINS, RuleTestShape, RuleTestsShape, ServiceUnderTestShape

#: What serves at the begin where a test does not say it.
_SERVING = "v1"
_NOTHING = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test: what to play, and what must come of it."""

    script: Script
    expectations: tuple[Expectation, ...]
    strict: bool
    at: Position

    @property
    def name(self) -> str:
        """What it shows, in words."""
        return self.script.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One file without mistakes. `rules` are those that its tests are about: what services use of what it names."""

    path: Path
    cases: tuple[Case, ...]
    rules: Mapping[str, Rule] = field(default_factory=dict)


def read_suite(path: Path, *, environ: Mapping[str, str]) -> Suite:
    """The tests in a file. Raises `InvalidConfiguration` with every mistake, those in the rules it names included.

    `environ` is what `!env` reads in a configuration that it names.
    """
    problems = Problems()
    root = read(path, problems, secrets=None)
    if root is not None:
        _refuse_rules(root)
    written, broken = (None, frozenset[str]()) if root is None else shape(RuleTestsShape, root, problems)
    if root is None or written is None:
        problems.raise_if_any()
        raise AssertionError("a file without mistakes has a shape")
    want_version(root, problems)
    ground = _ground(path.parent, root, broken, environ, problems)
    place = root.get("tests")
    if place is not None and not place.items and "tests" not in broken:
        problems.add(place.at, "no tests: at least one is needed")
    cases: list[Case] = []
    if ground is not None and place is not None:
        seen: dict[str, Position] = {}
        for node in place.items or ():
            cases += _CaseReader(node, written, root, ground, problems).read(seen)
    problems.raise_if_any()
    rules = ground.rules if ground is not None else {}
    used = {
        name for service in (ground.services.values() if ground is not None else ()) for name in service.rules
    }
    return Suite(
        path=path, cases=tuple(cases), rules={name: rule for name, rule in rules.items() if name in used}
    )


def _refuse_rules(root: Node) -> None:
    """A file of rules is no file of tests, and one sentence says it better than a mistake for each of its keys."""
    rules = root.get("rules")
    if rules is not None and not root.has("tests") and any(one.entries for one in rules.items or ()):
        only = Problems()
        words = (
            "these are rules; tests of them stand beside them, in a file NAME.test.yaml that names this one"
        )
        only.add(root.at_key("rules"), words)
        only.raise_if_any()


def _ground(
    base: Path, root: Node, broken: frozenset[str], environ: Mapping[str, str], problems: Problems
) -> Ground | None:
    rules, config = root.get("rules"), root.get("config")
    if (rules is None) == (config is None):
        if not {"rules", "config"} & broken:
            at = root.at if config is None else root.at_key("config")
            problems.add(
                at, "write either `rules`, such as [web.yaml], or `config`, the file of a configuration"
            )
        return None
    if {"rules", "config"} & broken:
        return None
    if config is not None:
        return of_configuration(base, config, environ, problems)
    if rules is not None and not rules.items:
        problems.add(rules.at, "no rule files: at least one is needed, such as [web.yaml]")
    return None if rules is None else of_rules(base, rules, problems)


class _CaseReader:
    """Reads one test of a file."""

    def __init__(
        self, node: Node, file: RuleTestsShape, root: Node, ground: Ground, problems: Problems
    ) -> None:
        self._node = node
        self._file = file
        self._root = root
        self._ground = ground
        self._problems = problems

    def read(self, seen: dict[str, Position]) -> Iterator[Case]:
        """The test, if it has no mistakes. `seen` are the names before it."""
        before = len(self._problems)
        written, broken = shape(RuleTestShape, self._node, self._problems)
        if written is None:
            return
        self._name(written.name, seen)
        services = self._services()
        main = next(iter(services), None)
        if main is None:
            return
        traffic = {name: self._traffic(name, main=main) for name in services}
        stage = Stage(
            services=services,
            main=main,
            traffic=traffic,
            channels=self._ground.channels,
            versions={spot.version for spots in traffic.values() for spot in spots.values() if spot.version},
            live={name: live for name, spots in traffic.items() if (live := _live(spots))},
        )
        events = self._events(stage)
        feeds = self._feeds(written, stage, main)
        expectations = self._expectations(stage)
        strict = self._file.strict if written.strict is None else written.strict
        listed = self._node.get("expect")
        if not strict and "expect" not in broken and (listed is None or not listed.items):
            words = "expects nothing: write `expect`, or `strict: true` where nothing may happen"
            self._problems.add(self._node.at, words)
        if broken or len(self._problems) > before:
            return
        script = Script(
            name=written.name,
            begins=self._begins(written),
            until=_until(feeds, events, expectations) if written.until is None else written.until,
            services=_measured(services, feeds),
            rules=self._ground.rules,
            traffic=traffic,
            routes=self._ground.routes,
            limits=self._ground.limits,
            recheck=self._ground.intervals.recheck,
            feeds=feeds,
            events=(*(_vouched(traffic) if written.stable else ()), *events),
        )
        yield Case(script=script, expectations=expectations, strict=strict, at=self._node.at)

    def _name(self, name: str, seen: dict[str, Position]) -> None:
        at = self._node.at_value("name")
        if name in seen:
            self._problems.add(at, f"duplicate test {quote(name)}; it also stands in line {seen[name].line}")
        seen.setdefault(name, at)

    def _begins(self, written: RuleTestShape) -> datetime:
        return written.begins or self._file.begins or BEGINS

    def _services(self) -> dict[str, Service]:
        """The service under test, first, and every other one that the test names."""
        main = self._main()
        if main is None:
            return {}
        services, others = {main.name: main}, dict.fromkeys(self._others())
        for name in others:
            if name in self._ground.services and not (self._ground.bare and name != main.name):
                services.setdefault(name, self._ground.services[name])
        return services

    def _others(self) -> Iterator[str]:
        """Names of services in series, events and expectations; unknown ones are told where they are read."""
        series, events, expect = (self._node.get(key) for key in ("series", "events", "expect"))
        yield from (
            name for key in (series.keys() if series is not None else ()) if (name := service_named(key))
        )
        for one in (events.items or ()) if events is not None else ():
            yield one.find(("service",)).text or ""
        for one in (expect.items or ()) if expect is not None else ():
            for entry in (one.entries or {}).values():
                if (place := entry.node.get("service")) is not None:
                    yield from (item.text or "" for item in place.items or [place])

    def _main(self) -> Service | None:
        place = self._node.get("service") or self._root.get("service")
        known = self._ground.services
        if place is None:
            if len(known) == 1:
                return next(iter(known.values()))
            words = f"missing key 'service': which one is tested? (known: {', '.join(sorted(known))})"
            self._problems.add(self._node.at, words)
            return None
        if place.entries is None:
            if place.text is None or place.tag:
                if not place.reported:
                    self._problems.add(place.at, f"expected the name of a service, found {place.describe()}")
                return None
            return self._known(place.text, place.at)
        written, broken = shape(ServiceUnderTestShape, place, self._problems)
        if written is None or "name" in broken:
            return None
        name = written.name or (next(iter(known)) if len(known) == 1 else None)
        if name is None:
            self._problems.add(place.at, f"missing key 'name' (known: {', '.join(sorted(known))})")
            return None
        service = self._known(name, place.at_value("name"))
        return None if service is None else self._changed(service, written, place)

    def _known(self, name: str, at: Position) -> Service | None:
        known = self._ground.services
        if self._ground.bare:
            return replace(next(iter(known.values())), name=name)
        if name not in known:
            self._problems.add(at, unknown("service", name, known))
        return known.get(name)

    def _changed(self, service: Service, written: ServiceUnderTestShape, place: Node) -> Service:
        """The service with what is different for it in this test."""
        rules = service.rules if written.rules is None else written.rules
        for index, name in enumerate(written.rules or ()):
            if name not in self._ground.known:
                at = place.at_value("rules", index)
                self._problems.add(at, unknown("rule", name, self._ground.known))
        policy = policy_of(place, written.rollback, Profile(), rules, self._problems)
        node = place.get("rollback")
        own = {
            key: getattr(policy, key)
            for key in (node.keys() if node is not None else ())
            if key in policy.__struct_fields__
        }
        return replace(
            service,
            environment=written.environment or service.environment,
            labels={**service.labels, **(written.labels or {})},
            rules=rules,
            mode=written.mode or service.mode,
            gitops=written.gitops or service.gitops,
            rollback=replace(service.rollback, **own),
        )

    def _traffic(self, service: str, *, main: str) -> dict[str, VariantState]:
        place = self._node.get("traffic") or self._root.get("traffic")
        if place is not None and place.entries is not None and service == main:
            found = {name: variant_of(entry.node, self._problems) for name, entry in place.entries.items()}
            return {name: state for name, state in found.items() if state is not None}
        first, *others = self._ground.variants.get(service, VARIANTS)
        serving = VariantState(weight=100, version=_SERVING, ready=1, total=1)
        return {first: serving, **{name: VariantState(weight=0, ready=1, total=1) for name in others}}

    def _events(self, stage: Stage) -> tuple[Planned, ...]:
        place = self._node.get("events")
        return () if place is None else events_of(place, stage, self._problems)

    def _feeds(self, written: RuleTestShape, stage: Stage, main: str) -> tuple[Feed, ...]:
        place = self._node.get("series")
        if place is None:
            return ()
        among = Measured(
            rules=self._ground.rules,
            known=self._ground.known,
            services=stage.services,
            main=main,
            versions=stage.versions,
        )
        return feeds_of(place, among, written.every or self._file.every, self._problems)

    def _expectations(self, stage: Stage) -> tuple[Expectation, ...]:
        place = self._node.get("expect")
        names = Names(
            services=stage.services,
            sources=self._ground.sources,
            known=self._ground.known,
            versions=stage.versions,
            variants={name for spots in stage.traffic.values() for name in spots},
            channels=self._ground.channels,
            rules=self._ground.rules,
        )
        return () if place is None else expectations_of(place, names, self._problems)


def _measured(services: Mapping[str, Service], feeds: tuple[Feed, ...]) -> tuple[Service, ...]:
    """The services with those of their rules that have a series: what nothing is said of is not asked."""
    asked = {(feed.service, feed.rule) for feed in feeds}
    return tuple(
        replace(one, rules=tuple(rule for rule in one.rules if (one.name, rule) in asked))
        for one in services.values()
    )


def _live(spots: Mapping[str, VariantState]) -> str | None:
    return next((name for name, spot in spots.items() if spot.live), None)


def _vouched(traffic: Mapping[str, Mapping[str, VariantState]]) -> Iterator[Planned]:
    """Somebody said of what serves at the begin that it is good."""
    for service, spots in traffic.items():
        for version in dict.fromkeys(spot.version for spot in spots.values() if spot.live and spot.version):
            arguments = {"version": version, "reason": "it serves when the test begins"}
            yield Planned(
                at=_NOTHING,
                what=Wanted(kind=RequestKind.MARK_GOOD, service=service, arguments=arguments, by="the test"),
            )


def _until(
    feeds: tuple[Feed, ...], events: tuple[Planned, ...], expectations: tuple[Expectation, ...]
) -> timedelta:
    """Until everything that the test speaks of is over."""
    moments = [feed.samples[-1].at for feed in feeds if feed.samples]
    moments += [one.at for one in events]
    moments += [at for one in expectations for at in (one.after, one.by) if at is not None]
    return max(moments, default=_NOTHING)
