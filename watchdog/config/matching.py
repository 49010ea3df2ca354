"""`match`: whose a series is, so that a rule is asked once for all its services and its series are dealt out.

What differs by service cannot stand in such a rule. This module must never ask a source which labels there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from watchdog.config.loaded import Position
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.config.schema import RuleShape
from watchdog.core.rule import Form, Match, ProbeForm, Quantile
from watchdog.core.variables import NAMES, names_in

#: Where the texts of a rule stand that a source is asked.
_TEXTS = ("ratio", "quantile", "rate", "gauge", "query", "freshness", "evidence")
_LABEL = "label."
#: Labels that no series has once it is summed, or that are not its own.
_TAKEN = {
    "watchdog_part": "the watchdog marks the parts of a rule with it",
    "__name__": "no series has it once it is summed",
}


def match_of(node: Node, written: RuleShape, form: Form, problems: Problems) -> Match | None:
    """The match of one rule, `None` when it has none. Tells what cannot stand in such a rule."""
    if not written.match or isinstance(form, ProbeForm):
        return None
    for label in written.match:
        why = _TAKEN.get(label, "")
        if label == "le" and isinstance(form, Quantile):
            why = "it tells the buckets of a histogram apart"
        if why:
            problems.add(node.at_key("match", label), f"series cannot be matched by {label!r}: {why}")
    for leaf in _leaves(node):
        for name in names_in(leaf.text or ""):
            if name in NAMES or name.startswith(_LABEL):
                problems.add(leaf.at, _instead(name))
    return Match(labels=dict(written.match))


def _leaves(node: Node) -> Iterator[Node]:
    for key in _TEXTS:
        place = node.get(key)
        if place is not None:
            yield from place.leaves()


def _instead(name: str) -> str:
    if name in ("version", "variant", "deployment"):
        better = "leave `match` out"
    elif name.startswith(_LABEL):
        better = f"leave its matcher out and write `match: {{SERIES_LABEL: {name}}}`"
    else:
        better = "leave its matcher out: `match` says whose each series is"
    return f"${name} differs by service, and a rule with `match` is asked once for all of them; {better}"


class Claims:
    """Which service claims which series, rule by rule; two that claim the same are told apart by nobody."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._claimed: dict[str, dict[tuple[str, ...], tuple[str, str]]] = {}

    def add(
        self,
        rule: str,
        match: Match,
        *,
        armed: bool,
        service: str,
        labels: Mapping[str, str],
        at: Position,
    ) -> None:
        """A service uses a rule, at `at`. A rule that is `armed` must know whom to roll back."""
        missing = [of for of in match.labels.values() if of.startswith(_LABEL) and not labels.get(_bare(of))]
        for of in missing:
            has = "its label is empty" if _bare(of) in labels else f"this service has no label {_bare(of)!r}"
            self._problems.add(at, f"rule {rule!r} matches series by {of}, and {has}")
        if missing or not service:
            return
        key = match.values(service, labels)
        other, place = self._claimed.setdefault(rule, {}).setdefault(
            key, (service, f"{at.file}:{at.line}:{at.column}")
        )
        if other == service:
            return
        shown = ", ".join(f"{label}={value}" for label, value in zip(match.labels, key, strict=True))
        words = f"rule {rule!r} gives this service the same series ({shown}) as service {other!r} at {place}"
        if armed:
            better = "it can roll back, so `match` must tell them apart"
            self._problems.add(at, f"{words}; {better}")
        else:
            self._problems.note(at, f"{words}; both are judged by them")


def _bare(of: str) -> str:
    return of.removeprefix(_LABEL)
