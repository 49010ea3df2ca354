"""Escalation policies: ladders of channels, one for each severity.

A severity without a ladder has that of the next louder one, else of the next quieter one, which is told. This module
must never decide when a step is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from msgspec.structs import replace

from watchdog.config.loaded import Provider
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.providers import Providers
from watchdog.config.shape import shape
from watchdog.config.telling import PolicyShape, StepShape
from watchdog.core.ladder import Policy, ReportTime, Step
from watchdog.core.rule import Severity
from watchdog.core.units import format_duration

Ladder = tuple[Step, ...]

#: In this order they are written, and looked for.
LOUDEST_FIRST = tuple(reversed(Severity))


class Channels:
    """The configured channels: whether a name is one, and what its kind says of itself."""

    def __init__(
        self, channels: Mapping[str, Provider | None], providers: Providers, problems: Problems
    ) -> None:
        self._channels = channels
        self._providers = providers
        self._problems = problems

    def check(self, place: Node | None) -> None:
        """Tell what of a list of names is no channel."""
        if place is None or place.items is None:
            return
        if not place.items:
            self._problems.add(place.at, "an empty list tells nobody; name at least one channel")
        for item in place.items:
            if item.text is None:
                if item.tag and not item.reported:
                    self._problems.add(item.at, f"expected the name of a channel, found {item.describe()}")
            elif item.text not in self._channels:
                self._problems.add(item.at, unknown("channel", item.text, self._channels))

    def refuse_pages(self, place: Node | None, what: str, *, but: str = "") -> None:
        """Tell which of the named channels wake people; `but` is an attribute of a class that excuses them."""
        for item in (place.items or ()) if place is not None else ():
            name = item.text or ""
            if self.pages(name) and not (but and self._says(name, but)):
                words = f"{quote(name)} ({self.kind(name)}) wakes people, and {what} never do"
                self._problems.add(item.at, words)

    def pages(self, name: str) -> bool:
        """Whether it wakes people."""
        return self._says(name, "PAGES")

    def kind(self, name: str) -> str:
        """Its kind; empty for one that is not known, or has mistakes."""
        found = self._channels.get(name)
        return "" if found is None else found.kind

    def known_names(self) -> Iterator[str]:
        """Every name."""
        yield from self._channels

    def _says(self, name: str, attribute: str) -> bool:
        kind = self.kind(name)
        return bool(kind and getattr(self._providers.class_of("channel", kind), attribute, False))


class Policies:
    """Compiles policies; `policies` are those of which something could be read, by name."""

    def __init__(self, channels: Channels, weekly: ReportTime, problems: Problems) -> None:
        self._channels = channels
        self._weekly = weekly
        self._problems = problems
        self.policies: dict[str, Policy] = {}

    def add(self, name: str, node: Node) -> None:
        """Compile one policy."""
        written, broken = shape(PolicyShape, node, self._problems)
        if written is None:
            return
        ladders: dict[Severity, Ladder] = {}
        for severity in LOUDEST_FIRST:
            place = node.get(severity.value)
            if place is not None and severity.value not in broken:
                ladders[severity] = self._ladder(place)
        if not ladders and not broken and not node.reported:
            words = "no ladder: write at least `critical: [{to: [CHANNEL]}]`"
            self._problems.add(node.at, words)
        if ladders and not broken:
            self._tell_missing(name, node, ladders)
        policy = Policy(
            name=name,
            ladders=ladders,
            repeat_after=written.repeat,
            acknowledged_for=written.acknowledged.for_,
            remind_after=written.acknowledged.remind,
        )
        delegate = self._delegate(node.get("delegate"), written.delegate, policy)
        self.policies[name] = replace(policy, delegate=delegate)

    def _ladder(self, place: Node) -> Ladder:
        items = place.items or []
        if not items:
            self._problems.add(place.at, "an empty ladder tells nobody; write at least [{to: [CHANNEL]}]")
        steps: list[Step] = []
        for index, item in enumerate(items):
            written, broken = shape(StepShape, item, self._problems)
            if written is None:
                continue
            self._channels.check(item.get("to"))
            self._check_step(item, written, broken, first=index == 0, last=index == len(items) - 1)
            after = written.after or timedelta()
            if written.after is not None and steps and after <= steps[-1].after:
                words = f"{format_duration(after)} is not later than the step before it"
                self._problems.add(item.at_value("after"), f"{words} ({format_duration(steps[-1].after)})")
            to = tuple(written.to or ())
            if written.digest is not None:
                to = self._readers(item, to or (steps[0].to if steps else ()))
            steps.append(Step(after=after, to=to, digest=None if written.digest is None else self._weekly))
        return tuple(steps)

    def _check_step(
        self, node: Node, written: StepShape, broken: frozenset[str], *, first: bool, last: bool
    ) -> None:
        add = self._problems.add
        if first and node.has("after"):
            add(node.at_key("after"), "the first step tells people at once: leave `after` out")
        if not first and not node.has("after") and "after" not in broken:
            add(node.at, "missing key 'after': how long after the first step")
        if not last and node.has("digest"):
            add(node.at_key("digest"), "what waits for the report waits for nothing else: the last step only")
        if not written.to and not node.has("to") and (first or not node.has("digest")):
            also = "" if first else ", or `digest: weekly`"
            add(node.at, f"missing key 'to': a list of channels{also}")

    def _readers(self, node: Node, to: tuple[str, ...]) -> tuple[str, ...]:
        """The channels that get the report: none that wakes people."""
        if node.has("to"):
            self._channels.refuse_pages(node.get("to"), "reports")
            return to
        readers = tuple(name for name in to if not self._channels.pages(name))
        if to and not readers:
            words = (
                "the first step has only channels that wake people, and reports never do: name others in `to`"
            )
            self._problems.add(node.at_key("digest"), words)
        return readers

    def _tell_missing(self, name: str, node: Node, ladders: Mapping[Severity, Ladder]) -> None:
        """Tell which ladder is used for a severity that has none (`watchdog.core.climbing.ladder`)."""
        for index, severity in enumerate(LOUDEST_FIRST):
            if severity not in ladders:
                others = (*reversed(LOUDEST_FIRST[:index]), *LOUDEST_FIRST[index + 1 :])
                used = next(one for one in others if one in ladders)
                words = f"policy {quote(name)} has no ladder for {severity}: that for {used} is used"
                self._problems.note(node.at, words)

    def _delegate(self, place: Node | None, written: Iterable[str], policy: Policy) -> tuple[str, ...]:
        """The channels that own the ladder."""
        if place is None:
            return ()
        first = {to for ladder in policy.ladders.values() for step in ladder[:1] for to in step.to}
        nodes = place.items if place.items is not None else [place]
        found: list[str] = []
        for node, word in zip(nodes, written, strict=False):
            named = [word] if word in self._channels.known_names() else self._of_kind(word, policy.channels)
            if not named:
                known = [*policy.channels, *(self._channels.kind(name) for name in policy.channels)]
                what = "channel or kind of channel in this policy"
                self._problems.add(node.at, unknown(what, word, {one for one in known if one}))
            elif not first & set(named):
                words = f"{quote(word)} is in no first step, so it never has anything to take over"
                self._problems.add(node.at, words)
            found.extend(named)
        return tuple(dict.fromkeys(found))

    def _of_kind(self, kind: str, channels: Iterable[str]) -> list[str]:
        return [name for name in channels if self._channels.kind(name) == kind]
