"""Dealing: a rule with `match` is asked once for all its services, and the series of the answer are dealt out here.

What a service gets is what it would have got had its rule been asked for it alone: no series is no data, several
series of one part are several for that service only, a failed question is one for everybody. Series that belong to
nobody are counted and otherwise left alone. This module must never guess whose a series is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from watchdog.core.baseline import Earlier
from watchdog.core.check import CheckId
from watchdog.core.checks import SharedPoll, sharing
from watchdog.core.comparing import Comparison, comparison
from watchdog.core.events import Observed
from watchdog.core.observation import Answer, Value
from watchdog.core.promql import with_matcher, with_selectors
from watchdog.core.rule import Direction, Form, MetricForm, ProbeForm, Query, Rule
from watchdog.core.variables import quote_promql
from watchdog.core.world import World

#: What a series has in the labels by which it is dealt, in the order of these labels.
Key = tuple[str, ...]

#: Beyond this many characters of names a poll for some services asks for all of them: selectors have bounds, too.
NARROW_UNTIL = 800


class Part(msgspec.Struct, frozen=True):
    """One number of an answer: which part of the form it is, and the labels of its series."""

    name: str
    labels: Mapping[str, str]
    value: float


class Dealt(msgspec.Struct, frozen=True, kw_only=True):
    """An answer dealt out. `hands` are the answers of those that have a series, `nothing` is everybody else's."""

    hands: dict[Key, Answer]
    nothing: Answer

    def of(self, key: Key) -> Answer:
        """The answer for one service."""
        return self.hands.get(key, self.nothing)

    def strangers(self, keys: Iterable[Key]) -> int:
        """How many of the hands belong to none of these services."""
        return len(self.hands.keys() - set(keys))


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """One service at the table: its check, and what its series have in the labels of `match`."""

    check: CheckId
    key: Key


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One question for many services: they have the same rule."""

    rule: Rule
    hands: tuple[Hand, ...]


def tables(world: World, poll: SharedPoll, *, now: datetime) -> tuple[Table, ...]:
    """Who is asked for at one poll. One table, but where an incident keeps a rule that was changed since."""
    found: list[tuple[Rule, list[Hand]]] = []
    for service in world.services.values():
        shared = sharing(service, poll, now=now)
        if shared is None:
            continue
        check, rule = shared
        hands = next((hands for known, hands in found if known is rule or known == rule), None)
        if hands is None:
            hands = []
            found.append((rule, hands))
        if rule.match is not None:
            hands.append(Hand(check=check, key=rule.match.values(service.name, service.service.labels)))
    return tuple(Table(rule=rule, hands=tuple(hands)) for rule, hands in found)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Some or all of a table's services, who are compared with the same. `needs` is empty without a baseline."""

    rule: Rule
    by: Key
    hands: tuple[Hand, ...]
    asked: Earlier | None = None
    needs: dict[CheckId, Comparison] = {}


def rounds(world: World, table: Table, *, now: datetime) -> tuple[Round, ...]:
    """The questions for one table: one, but where services are compared with values of different moments."""
    rule, by = table.rule, tuple(table.rule.match.labels) if table.rule.match else ()
    if rule.baseline is None:
        return (Round(rule=rule, by=by, hands=table.hands),)
    groups: dict[Earlier | None, list[tuple[Hand, Comparison]]] = {}
    for hand in table.hands:
        needed = comparison(world.services[hand.check.service], hand.check, rule, now=now)
        if needed is not None:
            groups.setdefault(needed.asked, []).append((hand, needed))
    return tuple(
        Round(
            rule=rule,
            by=by,
            hands=tuple(hand for hand, _ in group),
            asked=asked,
            needs={hand.check: needed for hand, needed in group},
        )
        for asked, group in groups.items()
    )


def deal(parts: Iterable[Part], whole: Answer, by: tuple[str, ...]) -> Dealt:
    """Deal the numbers of an answer out by the labels `by`.

    `whole` has the names of all parts and what is the same for everybody. A series that lacks one of the labels
    belongs to nobody: a missing label is not an empty name.
    """
    heaps: dict[Key, dict[str, list[float]]] = {}
    for part in parts:
        key = tuple(part.labels.get(label, "") for label in by)
        if all(key):
            heaps.setdefault(key, {}).setdefault(part.name, []).append(part.value)
    empty: dict[str, tuple[float, ...]] = dict.fromkeys(whole.parts, ())
    hands = {
        key: msgspec.structs.replace(
            whole,
            parts=empty | {name: tuple(values) for name, values in heap.items()},
            answered=_record(by, key, heap),
        )
        for key, heap in heaps.items()
    }
    return Dealt(hands=hands, nothing=msgspec.structs.replace(whole, parts=empty, answered=""))


def _record(by: tuple[str, ...], key: Key, heap: Mapping[str, list[float]]) -> str:
    """A service's share of the answer, for the record: the whole answer has a thousand of them."""
    return msgspec.json.encode({"series": dict(zip(by, key, strict=True)), "parts": heap}).decode()


def narrowed(rule: Rule, form: Form, hands: Iterable[Hand]) -> MetricForm:
    """A form of the rule for these services only, or as it is for none: its selectors with one more condition a label.

    A `query` is what its author wrote and is asked as it is, and so is a form for more services than fit into one.
    Raises `ValueError` for a form that is not asked of a source.
    """
    if isinstance(form, ProbeForm) or rule.match is None:
        raise ValueError(f"rule {rule.name!r} is not asked for several services")
    keys = [hand.key for hand in hands]
    if isinstance(form, Query) or not keys:
        return form
    matchers = [
        matcher
        for index, label in enumerate(rule.match.labels)
        if (matcher := _matcher(label, sorted({key[index] for key in keys})))
    ]

    def change(selector: str) -> str:
        for matcher in matchers:
            selector = with_matcher(selector, matcher)
        return selector

    return with_selectors(form, change)


def _matcher(label: str, values: list[str]) -> str:
    if len(values) == 1:
        return f'{label}="{quote_promql(values[0])}"'
    pattern = "|".join(re.escape(value) for value in values)
    return "" if len(pattern) > NARROW_UNTIL else f'{label}=~"{quote_promql(pattern)}"'


def worst_first(rule: Rule, found: Iterable[Observed]) -> list[Observed]:
    """Observations of one rule in the order in which they should be judged: what may decide must not wait for the rest.

    What is no value comes last.
    """
    sign = -1.0 if rule.direction is Direction.ABOVE else 1.0

    def place(observed: Observed) -> tuple[bool, float]:
        value = observed.observation
        return (False, sign * value.value) if isinstance(value, Value) else (True, 0.0)

    return sorted(found, key=place)
