"""The expectations of one rule test, read: every name must be one that could be there.

This module must never judge a recording.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.services import where
from watchdog.config.shape import shape
from watchdog.core.check import Reason
from watchdog.core.deployment import DeploymentState
from watchdog.core.guards import GUARDS
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Rule, Severity
from watchdog.core.units import parse_number
from watchdog.lab.expectations import Expectation, Fact
from watchdog.lab.recording import FIELDS, Change, What
from watchdog.lab.testfile_shapes import ExpectShape

#: The field that one word in place of a mapping says.
MAIN: Mapping[What, str] = {
    What.VERDICT: "level",
    What.INCIDENT: "state",
    What.GUARD: "guard",
    What.ROLLBACK: "state",
    What.SWITCH: "to",
    What.DEPLOYMENT: "state",
    What.NOTIFICATION: "kind",
    What.ESCALATION: "step",
    What.REPLY: "request",
}
#: Why guards say no (`watchdog.core.guards`): `targets` has reasons against a target, `arming` in core and in config
#: against a rule.
GUARD_REASONS = (
    *("observe", "not_approved", "paused", "not_leader", "not_armed", "too_late", "forbidden", "no_target"),
    *(
        "unknown",
        "not_ready",
        "not_live",
        "not_attributable",
        "no_baseline",
        "already_bad",
        "previous_bad_too",
    ),
    *("too_soon", "used_up", "too_many_rollbacks", "too_much_red", "not_confirmed", "managed"),
    *("no_variant", "never_seen", "replaced", "same_version", "not_stable", "target_forbidden", "tainted"),
    *("unknown_version", "never_backtested", "changed_since", "too_old", "too_short", "beyond_budget"),
)


def _values(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(one.value for one in enum)


_LEVELS = _values(Level)
#: Every word that a field can be, where there are only so many.
WORDS: Mapping[tuple[What, str], Collection[str]] = {
    (What.VERDICT, "level"): _LEVELS,
    (What.VERDICT, "held"): _LEVELS,
    (What.VERDICT, "reason"): _values(Reason),
    (What.INCIDENT, "kind"): _values(IncidentKind),
    (What.INCIDENT, "state"): _values(Change),
    (What.INCIDENT, "level"): _LEVELS,
    (What.INCIDENT, "severity"): _values(Severity),
    (What.GUARD, "guard"): tuple(GUARDS),
    (What.GUARD, "reason"): GUARD_REASONS,
    (What.GUARD, "when"): ("decision", "write"),
    (What.ROLLBACK, "state"): _values(RollbackState),
    (What.DEPLOYMENT, "state"): _values(DeploymentState),
    (What.NOTIFICATION, "kind"): _values(MessageKind),
    (What.NOTIFICATION, "severity"): _values(Severity),
    (What.ESCALATION, "severity"): _values(Severity),
    (What.REPLY, "request"): _values(RequestKind),
}
#: Fields that are true or false, and those that are numbers; others are texts.
FLAGS = frozenset({"fresh", "automatic", "repeat"})
NUMBERS = frozenset({"value", "step", "status"})
_NOTHING = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What expectations may name, beside what is the same for every test. `rules` are those that have no mistake."""

    services: Collection[str]
    sources: Collection[str]
    known: Collection[str]
    versions: Collection[str]
    variants: Collection[str]
    channels: Collection[str]
    rules: Mapping[str, Rule]

    def of(self, what: What, field: str) -> Collection[str] | None:
        """Every text that a field can be; `None` where it can be any."""
        match field:
            case "service":
                return {*self.services, *(self.sources if what is What.INCIDENT else ())}
            case "rule":
                return self.known
            case "version" | "from" | "to":
                return self.versions
            case "variant":
                return self.variants
            case "channel":
                return self.channels
            case _:
                return WORDS.get((what, field))


def expectations_of(place: Node, names: Names, problems: Problems) -> tuple[Expectation, ...]:
    """Every expectation under `expect`; mistakes are told."""
    found = (_Reader(node, names, problems).expectation() for node in place.items or ())
    return tuple(one for one in found if one is not None)


class _Reader:
    """Reads one expectation."""

    def __init__(self, node: Node, names: Names, problems: Problems) -> None:
        self._node = node
        self._names = names
        self._problems = problems

    def expectation(self) -> Expectation | None:
        before = len(self._problems)
        written, broken = shape(ExpectShape, self._node, self._problems)
        if written is None:
            return None
        kinds = [what for what in What if self._node.has(what)]
        if len(kinds) != 1:
            if not broken:
                have = f"found {' and '.join(kinds)}" if kinds else f"write one of {', '.join(What)}"
                self._problems.add(self._node.at, f"an expectation is about one kind of happening; {have}")
            return None
        after, by = self._span(written)
        times = self._times(written)
        facts = self._facts(kinds[0], self._node.find((kinds[0].value,)))
        if len(self._problems) > before:
            return None
        at = where(self._node.at)
        return Expectation(what=kinds[0], facts=facts, after=after, by=by, times=times, place=at)

    def _span(self, written: ExpectShape) -> tuple[timedelta | None, timedelta | None]:
        given = [key for key in ("at", "within", "by", "after") if self._node.has(key)]
        if len(given) > 1 and set(given) != {"by", "after"}:
            self._problems.add(
                self._node.at_key(given[1]), f"{given[1]!r} beside {given[0]!r}: one of them says when"
            )
        after, by = written.within or (written.after, written.by)
        if written.at is not None:
            after = by = written.at
        if after is not None and by is not None and after > by:
            self._problems.add(self._node.at_value(given[0]), "the span ends before it begins")
        return after, by

    def _times(self, written: ExpectShape) -> int | None:
        if self._node.has("never"):
            if self._node.has("times"):
                self._problems.add(
                    self._node.at_key("times"), "'times' beside 'never': one of them is enough"
                )
            if not written.never:
                self._problems.add(self._node.at_value("never"), "`never: false` says nothing; leave it out")
            return 0
        return written.times

    def _facts(self, what: What, place: Node) -> dict[str, tuple[Fact, ...]]:
        if place.reported:
            return {}
        if place.entries is None:
            if place.text == "any":
                return {}
            return self._fact(what, MAIN[what], place, {})
        facts: dict[str, tuple[Fact, ...]] = {}
        rule = place.get("rule")
        about = {} if rule is None or rule.text is None else {rule.text: self._names.rules.get(rule.text)}
        for name, entry in place.entries.items():
            if name not in FIELDS[what]:
                self._problems.add(entry.at, unknown(f"field of {what}", name, FIELDS[what]))
            else:
                facts |= self._fact(what, name, entry.node, about)
        return facts

    def _fact(
        self, what: What, name: str, place: Node, about: Mapping[str, Rule | None]
    ) -> dict[str, tuple[Fact, ...]]:
        items = [place] if place.items is None else place.items
        if not items:
            self._problems.add(place.at, "an empty list is never equal to anything; leave it out")
        values = [self._value(what, name, item, about) for item in items]
        return {name: tuple(value for value in values if value is not None)}

    def _value(self, what: What, name: str, item: Node, about: Mapping[str, Rule | None]) -> Fact | None:
        if item.reported:
            return None
        if item.entries is not None or item.items is not None or item.tag:
            self._problems.add(item.at, f"expected a value of {name!r}, found {item.describe()}")
            return None
        if name in FLAGS:
            if not isinstance(item.value, bool):
                self._problems.add(item.at, f"{name!r} is true or false, found {item.describe()}")
                return None
            return item.value
        if name in NUMBERS:
            return self._number(name, item, next(iter(about.values()), None))
        if isinstance(item.value, bool):
            self._problems.add(item.at, f"expected text, found {item.describe()}")
            return None
        known = self._names.of(what, name)
        if known is not None and item.written not in known:
            self._problems.add(item.at, unknown(_noun(what, name), item.written, known))
        return item.written

    def _number(self, name: str, item: Node, rule: Rule | None) -> float | None:
        """A number, in the unit of the rule that is named beside it."""
        try:
            if rule is not None and name == "value":
                return parse_number(item.written, rule.unit)
            return float(item.written)
        except ValueError as fault:
            words = f"{name!r} is a number, found {quote(item.written)}"
            self._problems.add(item.at, str(fault) if rule is not None else words)
            return None


def _noun(what: What, name: str) -> str:
    """What a field is called in a message about an unknown name."""
    alone = {"service", "rule", "channel", "variant", "guard", "severity", "level", "request"}
    if name in alone:
        return name
    if name in ("from", "to", "version"):
        return "version"
    return f"{name} of {what}"
