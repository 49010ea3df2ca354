"""Routes: which message goes where; and what there is where none is configured. Somebody is always told.

This module must never send anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from watchdog.config.escalations import Channels
from watchdog.config.loaded import Position, Provider
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, meant, unknown
from watchdog.config.providers import Providers
from watchdog.config.services import RESERVED_LABELS, Services
from watchdog.config.shape import shape
from watchdog.config.telling import GatherShape, RouteShape
from watchdog.core.ladder import Policy
from watchdog.core.message import MessageKind
from watchdog.core.mute import MuteWindow
from watchdog.core.routing import Gather, Route
from watchdog.core.rule import Severity

#: The channel that is there when none is configured.
FALLBACK = "log"
_LABEL = "label."


def fallback(
    root: Node, providers: Providers, problems: Problems
) -> tuple[dict[str, Provider], tuple[Route, ...]]:
    """The channel and the route of a configuration that has neither."""
    problems.note(root.at, "no channels and no routes: people are told in the log only")
    settings = providers.class_of("channel", FALLBACK).Settings()
    channel = Provider(kind=FALLBACK, settings=settings, at=root.at)
    return {FALLBACK: channel}, (Route(to=(FALLBACK,)),)


class Routes:
    """Compiles routes one by one, in order."""

    def __init__(
        self,
        channels: Channels,
        services: Services,
        problems: Problems,
        *,
        policies: Mapping[str, Policy | None] | None = None,
        mutes: Mapping[str, MuteWindow | None] | None = None,
    ) -> None:
        """A policy or window with mistakes is known by its name, as `None`."""
        self._channels = channels
        self._services = services
        self._problems = problems
        self._policies = policies or {}
        self._mutes = mutes or {}
        #: Compiled routes without mistakes.
        self.routes: list[Route] = []
        #: Where each of them stands.
        self.places: list[Position] = []
        #: Every channel, policy and mute window that a route names.
        self.used: set[str] = set()
        self.used_policies: set[str] = set()
        self.used_mutes: set[str] = set()

    def add(self, node: Node, *, last: bool) -> None:
        """Compile one route; only the `last` one has no match."""
        written, broken = shape(RouteShape, node, self._problems)
        if written is None:
            return
        self._check_where_to(node, broken)
        for key in ("to", "notices"):
            self._channels.check(node.get(key))
        self._channels.refuse_pages(node.get("notices"), "notices", but="NOTICES")
        if "match" not in broken:
            self._match(node, written.match, last=last)
        policy = self._policy(node.get("escalation"))
        names = (*(written.to or ()), *written.notices, *(policy.channels if policy is not None else ()))
        self.used.update(names)
        self.places.append(node.at)
        self.routes.append(
            Route(
                match={_plain(name): value for name, value in written.match.items()},
                to=tuple(written.to or ()),
                policy=policy,
                notices=written.notices,
                mutes=self._windows(node.get("mute")),
                gather=self._gather(node.get("gather"), written.gather, names),
                repeat_after=written.repeat,
            )
        )

    def _check_where_to(self, node: Node, broken: frozenset[str]) -> None:
        ladder = node.has("escalation")
        if ladder and node.has("to"):
            words = "a route has `to` or `escalation`, not both: leave one out"
            self._problems.add(node.at_key("escalation"), words)
        elif not ladder and not node.has("to") and not {"to", "escalation"} & broken:
            words = "missing key 'to': a list of channels; or `escalation`: the name of a policy"
            self._problems.add(node.at, words)
        if ladder and node.has("repeat"):
            words = "an escalation policy says itself when it repeats: write `repeat` there"
            self._problems.add(node.at_key("repeat"), words)

    def _policy(self, place: Node | None) -> Policy | None:
        if place is None or place.text is None:
            return None
        self.used_policies.add(place.text)
        if place.text not in self._policies:
            self._problems.add(place.at, unknown("escalation policy", place.text, self._policies))
        return self._policies.get(place.text)

    def _windows(self, place: Node | None) -> tuple[MuteWindow, ...]:
        items = (place.items or ()) if place is not None else ()
        for item in items:
            if item.text is not None:
                self.used_mutes.add(item.text)
                if item.text not in self._mutes:
                    self._problems.add(item.at, unknown("mute window", item.text, self._mutes))
        found = (self._mutes.get(item.text or "") for item in items)
        return tuple(window for window in found if window is not None)

    def _gather(
        self, place: Node | None, written: GatherShape | None, channels: Iterable[str]
    ) -> Gather | None:
        if place is None or written is None:
            return None
        by = place.get("by")
        for item in (by.items or ()) if by is not None else ():
            if item.text is not None:
                self._check_label(item.at, item.text, "what has none is one group")
        if written.interval == written.wait == timedelta():
            self._problems.add(place.at, "it gathers nothing: give `wait` or `interval` a duration")
        names = tuple(dict.fromkeys(_plain(name) for name in written.by))
        apart = tuple(name for name in dict.fromkeys(channels) if self._channels.pages(name))
        return Gather(by=names, wait=written.wait, interval=written.interval, apart=apart)

    def _match(self, node: Node, match: Mapping[str, str], *, last: bool) -> None:
        if last and match:
            words = "the last route must take everything: leave `match` out, or add a route without it"
            self._problems.add(node.at_key("match"), words)
        if not last and not match:
            at = node.at_key("match") if node.has("match") else node.at
            self._problems.add(
                at, "a route without `match` takes everything: the routes after it are never reached"
            )
        for name, value in match.items():
            self._check_label(node.at_key("match", name), name, "this route takes nothing now")
            self._check_value(node, name, value)

    def _check_label(self, at: Position, name: str, otherwise: str) -> None:
        """A label that no service has is a typo where it nearly is one that a service has."""
        labels = self._services.labels
        if name in RESERVED_LABELS or _plain(name) in labels:
            return
        guess = meant(name, [*RESERVED_LABELS, *labels, *(_LABEL + label for label in labels)])
        if guess:
            self._problems.add(at, f"no service has a label {_plain(name)!r}; did you mean {guess!r}?")
        else:
            self._problems.note(at, f"no service has a label {_plain(name)!r}: {otherwise}")

    def _check_value(self, node: Node, name: str, value: str) -> None:
        at = node.at_value("match", name)
        if name == "service" and value not in self._services.names:
            self._problems.add(at, unknown("service", value, self._services.names))
        elif name == "severity" and value not in list(Severity):
            self._problems.add(at, unknown("severity", value, [it.value for it in Severity]))
        elif name == "kind" and value not in list(MessageKind):
            self._problems.add(at, unknown("kind of message", value, [it.value for it in MessageKind]))
        elif name == "environment":
            self._check_known(node, name, value, self._services.environments)
        elif (values := self._services.labels.get(_plain(name))) is not None:
            self._check_known(node, name, value, values)

    def _check_known(self, node: Node, name: str, value: str, known: Collection[str]) -> None:
        """What nearly is a known value is a typo; what is like none may be there tomorrow."""
        if value in known:
            return
        place = node.find(("match", name))
        what = "is in environment" if name == "environment" else f"has a label {_plain(name)!r} that is"
        words = f"no service {what} {place.describe() if place.tag else repr(value)}"
        guess = None if place.tag else meant(value, known)
        if guess:
            self._problems.add(place.at, f"{words}; did you mean {guess!r}?")
        else:
            self._problems.note(place.at, f"{words}: this route takes nothing now")


def _plain(name: str) -> str:
    """`label.team` and `team` are the same label."""
    return name.removeprefix(_LABEL)
