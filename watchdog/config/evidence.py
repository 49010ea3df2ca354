"""`evidence` of a rule: what must be there beside the value before a level counts.

This module must never judge a value.
"""

from __future__ import annotations

from typing import TypeVar

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.config.schema import EvidenceShape
from watchdog.config.shape import shape
from watchdog.core.rule import Evidence, Form, Gauge, ProbeForm, Quantile, Query, Rate, Ratio

N = TypeVar("N", int, float)

_ONLY_RATIO = ("min_bad", "confidence", "excess")
#: Why there is nothing that could be asked for beside the value.
_NO_EVIDENCE: dict[type, str] = {
    Rate: (
        "a `rate` is its own number of events: asking for some beside it would make it unknown, not ok, whenever "
        "nothing happens; leave `evidence` out, or write `evidence: none`"
    ),
    Gauge: "a `gauge` counts no events; leave `evidence` out, or write `evidence: none`",
}


def evidence_of(node: Node, form: Form, problems: Problems) -> Evidence | None:
    """The evidence that the rule `node` wants; `None` for the bare threshold. Probes, rates and gauges have none."""
    if isinstance(form, ProbeForm):
        return None
    place = node.get("evidence")
    if place is None:
        return _left_out(node, form, problems)
    if place.text == "none":
        return None
    if place.entries is None:
        if not place.reported:
            problems.add(place.at, f"expected a mapping or none, found {place.describe()}")
        return None
    if type(form) in _NO_EVIDENCE:
        problems.add(node.at_key("evidence"), _NO_EVIDENCE[type(form)])
        return None
    written, broken = shape(EvidenceShape, place, problems)
    if written is None:
        return None
    if isinstance(form, Query):
        return _of_query(written, place, problems, events_told="events" in broken)
    named = "quantile" if isinstance(form, Quantile) else "ratio"
    if place.has("events"):
        problems.add(place.at_key("events"), f"'events' goes with a `query`; a {named} counts its own")
    return _of_quantile(written, place, problems) if isinstance(form, Quantile) else _of_ratio(written)


def _left_out(node: Node, form: Form, problems: Problems) -> Evidence | None:
    if isinstance(form, Ratio):
        return Evidence()
    if isinstance(form, Quantile):
        return Evidence(bound=False)
    if type(form) in _NO_EVIDENCE:
        return None
    if any(node.get(*path, "rollback") is not None for path in (("threshold",), ("baseline", "worse_by"))):
        words = (
            "a query with a rollback threshold needs "
            "`evidence: {events: QUERY, min_events: NUMBER}`, or `evidence: none` for the bare threshold"
        )
        problems.add(node.at, words)
    return None


def _of_query(written: EvidenceShape, place: Node, problems: Problems, *, events_told: bool) -> Evidence:
    for key in filter(place.has, _ONLY_RATIO):
        problems.add(place.at_key(key), f"{key!r} goes with a `ratio`; a query has `events` and `min_events`")
    if written.events is None and not events_told:
        problems.add(place.at, "missing key 'events': the PromQL that gives the number of events")
    return Evidence(min_events=_or(written.min_events, Evidence().min_events), bound=False)


def _of_quantile(written: EvidenceShape, place: Node, problems: Problems) -> Evidence:
    for key in filter(place.has, _ONLY_RATIO):
        problems.add(place.at_key(key), f"{key!r} goes with a `ratio`; a quantile has `min_events`")
    return Evidence(min_events=_or(written.min_events, Evidence().min_events), bound=False)


def _of_ratio(written: EvidenceShape) -> Evidence:
    default = Evidence()
    return Evidence(
        min_events=_or(written.min_events, default.min_events),
        min_bad=_or(written.min_bad, default.min_bad),
        confidence=_or(written.confidence, default.confidence),
        excess=_or(written.excess, default.excess),
    )


def _or(written: N | None, default: N) -> N:
    return default if written is None else written
