"""Services: their rules resolved, their profile merged in, their switch and readiness probe validated.

This module must never know how any switch works.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

from watchdog.config.arming import proofs_of
from watchdog.config.backtests import BackTests
from watchdog.config.loaded import Position, Provider, ServiceEntry
from watchdog.config.matching import Claims
from watchdog.config.nodes import Node
from watchdog.config.policy import Profile, policy_of
from watchdog.config.problems import Problems, meant, quote, unknown
from watchdog.config.providers import Providers
from watchdog.config.rules import Known
from watchdog.config.serving import ServiceShape, TagShape
from watchdog.config.shape import shape
from watchdog.config.variables import ADDRESS
from watchdog.core.arming import Proof
from watchdog.core.service import GitOps, Mode, Service
from watchdog.core.variables import NAMES, names_in

#: Labels that every message has by itself; a service's own would hide them from routes.
RESERVED_LABELS = ("service", "environment", "severity", "kind", "version")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")


class Services:
    """Compiles services one by one; what several of them must not share is remembered here."""

    def __init__(
        self,
        rules: Mapping[str, Known],
        profiles: Mapping[str, Profile],
        providers: Providers,
        problems: Problems,
        *,
        rules_whole: bool = True,
        backtests: BackTests | None = None,
        require_backtest: bool = False,
    ) -> None:
        """Not `rules_whole`: some could not be read, so that only names that are surely misspelt are unknown."""
        self._rules = rules
        self._rules_whole = rules_whole
        self._backtests = backtests or BackTests()
        self._require_backtest = require_backtest
        self._profiles = profiles
        self._providers = providers
        self._problems = problems
        self._names: dict[str, Position] = {}
        self._claims = Claims(problems)
        self._switches: dict[Hashable, tuple[str, Position]] = {}
        #: Compiled services without mistakes.
        self.entries: dict[str, ServiceEntry] = {}
        #: Every rule that any service uses.
        self.used: set[str] = set()
        #: Every label of any service with the values it has, and every environment.
        self.labels: dict[str, set[str]] = {}
        self.environments: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """Every service's name, those with mistakes included."""
        return frozenset(self._names)

    def add(self, node: Node) -> None:
        """Compile one service."""
        before = len(self._problems)
        written, broken = shape(ServiceShape, node, self._problems)
        if written is None:
            return
        self._name(node, written.name)
        self._labels(node, written)
        self.environments.add(written.environment)
        rules = self._rules_of(node, written, broken)
        traffic, ready = self._traffic(node, written.name or "?", broken)
        profile = self._profiles.get(written.environment, Profile())
        policy = policy_of(
            node, written.rollback, profile, rules, self._problems, rules_whole=self._rules_whole
        )
        if traffic is None or len(self._problems) > before:
            return
        mode = written.mode or profile.shape.mode or Mode.ENFORCE
        service = Service(
            name=written.name,
            environment=written.environment,
            labels=written.labels,
            rules=rules,
            mode=mode,
            gitops=written.gitops or profile.shape.gitops or GitOps.VETO,
            rollback=policy,
            proofs=self._proofs(written, profile, rules),
        )
        self.entries[service.name] = ServiceEntry(service=service, traffic=traffic, ready=ready)

    def _proofs(
        self, written: ServiceShape, profile: Profile, names: tuple[str, ...]
    ) -> dict[str, Proof] | None:
        asked = (written.require_backtest, profile.shape.require_backtest, self._require_backtest)
        if not next(one for one in asked if one is not None):
            return None
        rules = [rule for name in names if (rule := self._rules[name].rule) is not None]
        return proofs_of(written.name, rules, self._backtests)

    def _name(self, node: Node, name: str) -> None:
        if not node.has("name"):
            self._problems.add(node.at, "missing key 'name'")
        elif name:
            at = node.at_value("name")
            if name in self._names:
                words = f"duplicate service {quote(name)}; it also stands at {where(self._names[name])}"
                self._problems.add(at, words)
            self._names.setdefault(name, at)

    def _labels(self, node: Node, written: ServiceShape) -> None:
        for name in written.labels:
            if name in RESERVED_LABELS:
                words = f"a label cannot be named {name!r}: every message has a {name} of its own"
                self._problems.add(node.at_key("labels", name), words)
        for name, value in written.labels.items():
            self.labels.setdefault(name, set()).add(value)

    def _rules_of(self, node: Node, written: ServiceShape, broken: frozenset[str]) -> tuple[str, ...]:
        place = node.get("rules")
        if place is None or place.items is None:
            if place is None and "rules" not in broken:
                self._problems.add(node.at, "missing key 'rules'")
            return ()
        if not place.items:
            self._problems.add(place.at, "no rules: the service would not be watched")
        explicit: set[str] = set()
        found: dict[str, None] = {}
        for item in place.items:
            for name in self._resolve(item, explicit):
                self._check_labels(item, name, node, broken)
                self._claim(item, name, written, broken)
                found[name] = None
        self.used.update(found)
        return tuple(found)

    def _resolve(self, item: Node, explicit: set[str]) -> list[str]:
        if item.entries is not None:
            tag, _ = shape(TagShape, item, self._problems)
            if tag is None:
                return []
            names = [known.name for known in self._rules.values() if tag.tag in known.tags]
            if not names:
                tags = {tag for known in self._rules.values() for tag in known.tags}
                if self._rules_whole or meant(tag.tag, tags):
                    self._problems.add(
                        item.at_value("tag"), unknown("tag", tag.tag, tags) + "; no rule has it"
                    )
            return names
        name = item.text
        if name is None or item.tag:
            if not item.reported:
                words = f"expected the name of a rule or {{tag: TAG}}, found {item.describe()}"
                self._problems.add(item.at, words)
            return []
        if name not in self._rules:
            if self._rules_whole or meant(name, self._rules):
                self._problems.add(item.at, unknown("rule", name, self._rules))
            return []
        if name in explicit:
            self._problems.add(item.at, f"duplicate rule {quote(name)}")
        explicit.add(name)
        return [name]

    def _check_labels(self, item: Node, rule: str, service: Node, broken: frozenset[str]) -> None:
        labels = service.get("labels")
        has = set(labels.keys()) if labels is not None else set()
        for label in sorted(self._rules[rule].labels - has):
            if "labels" not in broken:
                words = f"rule {rule!r} uses $label.{label}, and this service has no label {label!r}"
                self._problems.add(item.at, words)

    def _claim(self, item: Node, rule: str, written: ServiceShape, broken: frozenset[str]) -> None:
        known = self._rules[rule]
        if known.match is None or {"labels", "name"} & broken:
            return
        self._claims.add(
            rule, known.match, armed=known.armed, service=written.name, labels=written.labels, at=item.at
        )

    def _traffic(
        self, node: Node, name: str, broken: frozenset[str]
    ) -> tuple[Provider | None, Provider | None]:
        place = node.get("traffic")
        if place is None or "traffic" in broken:
            if place is None and "traffic" not in broken:
                words = "missing key 'traffic': without a switch nothing can be rolled back"
                self._problems.add(node.at, words)
            return None, None
        alone = self._check_shared(place, name, place.fingerprint())
        traffic = self._providers.read("traffic", place, beside=("ready",))
        if traffic is not None and alone:
            self._check_object(place, name, traffic)
        self._note_variables(place.without("ready"))
        probe = place.get("ready")
        if probe is not None:
            return traffic, self._ready(probe)
        if traffic is not None:
            knows = getattr(self._providers.class_of("traffic", traffic.kind), "knows_readiness", None)
            if knows is not None and not knows(traffic.settings):
                words = (
                    "this switch may not tell whether a variant is ready: without `ready` in its JSON or a `ready` "
                    "probe here, readiness is unknown, which is a veto"
                )
                self._problems.note(place.at, words)
        return traffic, None

    def _note_variables(self, switch: Node) -> None:
        for leaf in switch.leaves():
            for word in names_in(leaf.text or ""):
                if word in NAMES or word.startswith("label."):
                    words = f"${word} is not filled in here, a switch takes it as it is written"
                    self._problems.note(leaf.at, words)

    def _check_shared(self, place: Node, name: str, mark: Hashable) -> bool:
        """Whether this is the first service with that switch."""
        owner, at = self._switches.setdefault(mark, (name, place.at))
        if at is place.at:
            return True
        words = f"the same switch as service {owner!r} at {where(at)}; two services would fight over it"
        self._problems.add(place.at, words)
        return False

    def _check_object(self, place: Node, name: str, traffic: Provider) -> None:
        """One object is one switch, however else it is configured, where the kind says what names its object.

        Who annotates a listed object must not make a configuration that no watchdog starts with.
        """
        names = getattr(self._providers.class_of("traffic", traffic.kind), "OBJECT", None)
        if names is not None:
            values = tuple(getattr(traffic.settings, one) for one in names)
            self._check_shared(place, name, (traffic.kind, *values))

    def _ready(self, node: Node) -> Provider | None:
        asked = False
        for leaf in node.leaves():
            text = leaf.text or ""
            asked = asked or ADDRESS in text
            for word in names_in(text):
                self._problems.add(leaf.at, f"${word} is not known here; only {ADDRESS} of the target is")
            for word in _PLACEHOLDER.findall(text):
                if "{" + word + "}" != ADDRESS:
                    self._problems.add(
                        leaf.at, f"{{{word}}} is not known here; only {ADDRESS} of the target is"
                    )
        if not asked:
            self._problems.note(
                node.at, f"does not name {ADDRESS}: the same place is asked for every variant"
            )
        return self._providers.read("probe", node)


def where(at: Position) -> str:
    """`FILE:LINE:COL`."""
    return f"{at.file}:{at.line}:{at.column}"
