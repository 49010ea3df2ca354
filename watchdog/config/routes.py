"""Channels and routes: where messages can go, and which go where. Somebody is always told.

This module must never send anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from watchdog.config.loaded import Provider
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, meant, unknown
from watchdog.config.providers import Providers
from watchdog.config.schema import RouteShape
from watchdog.config.services import RESERVED_LABELS, Services
from watchdog.config.shape import shape
from watchdog.core.message import MessageKind
from watchdog.core.routing import Route
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

    def __init__(self, channels: Collection[str], services: Services, problems: Problems) -> None:
        self._channels = channels
        self._services = services
        self._problems = problems
        #: Compiled routes without mistakes.
        self.routes: list[Route] = []
        #: Every channel that a route names.
        self.used: set[str] = set()

    def add(self, node: Node, *, last: bool) -> None:
        """Compile one route; only the `last` one has no match."""
        written, broken = shape(RouteShape, node, self._problems)
        if written is None:
            return
        if node.has("escalation"):
            self._problems.add(
                node.at_key("escalation"), "'escalation' is not available in this release; write `to`"
            )
        elif not node.has("to") and "to" not in broken:
            self._problems.add(node.at, "missing key 'to': a list of channels")
        self._to(node.get("to"))
        if "match" not in broken:
            self._match(node, written.match, last=last)
        match = {_plain(name): value for name, value in written.match.items()}
        self.routes.append(Route(match=match, to=tuple(written.to or ())))

    def _to(self, place: Node | None) -> None:
        if place is None or place.items is None:
            return
        if not place.items:
            self._problems.add(place.at, "an empty list tells nobody; name at least one channel")
        for item in place.items:
            if item.text is None:
                if item.tag and not item.reported:
                    self._problems.add(item.at, f"expected the name of a channel, found {item.describe()}")
                continue
            self.used.add(item.text)
            if item.text not in self._channels:
                self._problems.add(item.at, unknown("channel", item.text, self._channels))

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
            self._check_name(node, name)
            self._check_value(node, name, value)

    def _check_name(self, node: Node, name: str) -> None:
        labels = self._services.labels
        if name in RESERVED_LABELS or _plain(name) in labels:
            return
        guess = meant(name, [*RESERVED_LABELS, *labels, *(_LABEL + label for label in labels)])
        at = node.at_key("match", name)
        if guess:
            self._problems.add(at, f"no service has a label {_plain(name)!r}; did you mean {guess!r}?")
        else:
            self._problems.note(at, f"no service has a label {_plain(name)!r}: this route takes nothing now")

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
