"""A service's rollback policy: its own values, over its environment's profile, over the defaults of design §6.

This module must never judge a rollback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, meant, quote, unknown
from watchdog.config.serving import ProfileShape, RollbackShape
from watchdog.core.service import RollbackPolicy
from watchdog.core.units import format_duration

#: Rollbacks that ended are remembered this long for the limits (`watchdog.core.step`).
REMEMBERED = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The profile of one environment, and where it stands; the default is an empty one."""

    shape: ProfileShape = field(default_factory=ProfileShape)
    node: Node | None = None


def policy_of(
    node: Node,
    own: RollbackShape,
    profile: Profile,
    rules: Iterable[str],
    problems: Problems,
    *,
    rules_whole: bool = True,
) -> RollbackPolicy:
    """The policy of the service at `node`, which uses `rules`, and perhaps more where they are not `rules_whole`."""
    values: dict[str, Any] = {}
    for name in RollbackPolicy.__struct_fields__:
        for shape in (own, profile.shape.rollback):
            if (value := getattr(shape, name)) is not None:
                values[name] = value
                break
    place = _place("confirm", node, profile)
    values["confirm"] = (
        () if place is None else _confirm(place, tuple(rules), problems, rules_whole=rules_whole)
    )
    policy = RollbackPolicy(**values)
    if policy.armed_for <= policy.warmup:
        at = _place("armed_for", node, profile) or _place("warmup", node, profile) or node
        words = (
            f"armed for {format_duration(policy.armed_for)}, of which {format_duration(policy.warmup)} is warm-up: "
            "only a dead probe could roll a deployment back"
        )
        problems.note(at.at, words)
    if policy.cooldown > REMEMBERED:
        at = _place("cooldown", node, profile) or node
        words = f"longer than {format_duration(REMEMBERED)} cannot be kept: so long rollbacks are counted"
        problems.add(at.at, words)
    if policy.max_per_day == 0:
        at = _place("max_per_day", node, profile) or node
        problems.note(at.at, "max_per_day 0 never rolls back by itself; `mode: observe` says so more clearly")
    return policy


def _place(name: str, node: Node, profile: Profile) -> Node | None:
    own = node.get("rollback", name)
    if own is None and profile.node is not None:
        return profile.node.get("rollback", name)
    return own


def _confirm(
    place: Node, rules: tuple[str, ...], problems: Problems, *, rules_whole: bool
) -> tuple[str, ...]:
    if place.reported or (place.text == "none" and not place.tag):
        return ()
    if place.items is not None and not place.items:
        problems.add(place.at, "an empty list confirms nothing; write none")
    names: list[str] = []
    for item in [place] if place.items is None else place.items:
        if item.text is None or item.tag:
            if not item.reported:
                problems.add(item.at, f"expected none or names of rules, found {item.describe()}")
        elif item.text not in rules:
            words = unknown("rule", item.text, rules) + "; a service confirms with rules that it uses"
            if rules_whole or meant(item.text, rules):
                problems.add(item.at, words)
        elif item.text in names:
            problems.add(item.at, f"duplicate rule {quote(item.text)}")
        else:
            names.append(item.text)
    return tuple(names)
