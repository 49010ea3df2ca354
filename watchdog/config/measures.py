"""The forms `quantile`, `rate` and `gauge`: selectors that must select what the form can measure.

This module must never ask anything.
"""

from __future__ import annotations

from watchdog.config import promql, variables
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.schema import GaugeShape, QuantileShape
from watchdog.config.shape import shape
from watchdog.core.histogram import buckets_of
from watchdog.core.rule import Gauge, Quantile, Rate
from watchdog.core.selector import Selector, parse_selector
from watchdog.core.variables import fill, names_in

_SUMMARY = "is a summary, whose quantiles cannot be added up; read them by `gauge: {of: SELECTOR, by: max}`"


def quantile_of(node: Node, problems: Problems) -> Quantile | None:
    """The form below `quantile`; `None` when it has mistakes."""
    written, broken = shape(QuantileShape, node, problems)
    variables.check(node, problems)
    text = _selector(node, ("of",), problems)
    if written is None or broken or text is None:
        return None
    fault = _histogram_fault(text)
    if fault:
        problems.add(node.at_value("of"), f"{quote(text)} {fault}")
        return None
    return Quantile(of=text, q=written.q)


def rate_of(node: Node, problems: Problems) -> Rate | None:
    """The form `rate`, which is a selector; `None` when it has mistakes."""
    place = node.find(("rate",))
    if place.text is not None:
        variables.check(place, problems)
    text = _selector(node, ("rate",), problems)
    if text is None:
        return None
    parsed = _parsed(text)
    if parsed is not None and parsed.name.endswith("_bucket") and not _has(parsed, "le"):
        whole = parsed.name.removesuffix("_bucket")
        words = f"every event counts in several buckets of {whole}; its number of events is {whole}_count"
        problems.note(place.at, words)
    return Rate(of=text)


def gauge_of(node: Node, problems: Problems) -> Gauge | None:
    """The form below `gauge`; `None` when it has mistakes."""
    written, broken = shape(GaugeShape, node, problems)
    variables.check(node, problems)
    text = _selector(node, ("of",), problems)
    if written is None or broken or text is None:
        return None
    parsed = _parsed(text)
    if parsed is not None and parsed.name.endswith("_total"):
        words = f"{parsed.name} looks like a counter, which only ever grows; `rate` says how fast"
        problems.note(node.at_value("of"), words)
    return Gauge(of=text, by=written.by)


def _selector(node: Node, path: tuple[str, ...], problems: Problems) -> str | None:
    place = node.get(*path)
    if place is None or place.text is None or place.reported:
        return None
    try:
        return promql.check_selector(place.text).strip()
    except ValueError as fault:
        problems.add(place.at, str(fault))
        return None


def _histogram_fault(text: str) -> str:
    """Why this selects no histogram; empty when it may."""
    try:
        buckets_of(text)
    except ValueError:
        return 'names no histogram in front of its braces; write name{label="value"}'
    parsed = _parsed(text)
    if parsed is None:
        return ""
    for suffix in ("_count", "_sum"):
        if parsed.name.endswith(suffix):
            return f"is one series of a histogram; name it as a whole, {parsed.name.removesuffix(suffix)}"
    if _has(parsed, "le"):
        return "selects by `le`, but a quantile needs every bucket; leave that out"
    return _SUMMARY if _has(parsed, "quantile") else ""


def _parsed(text: str) -> Selector | None:
    """The selector as we read it ourselves; `None` for what only Prometheus reads."""
    try:
        return parse_selector(fill(text, dict.fromkeys(names_in(text), "x"), str))
    except ValueError:
        return None


def _has(selector: Selector, label: str) -> bool:
    return any(matcher.label == label for matcher in selector.matchers)
