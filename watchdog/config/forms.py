"""The form of a rule: exactly one of those below, checked and ready to be asked.

This module must never ask anything.
"""

from __future__ import annotations

from collections.abc import Callable

from watchdog.config import credentials, measures, promql, variables
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems
from watchdog.config.providers import Providers
from watchdog.config.schema import RatioShape, RuleShape
from watchdog.config.shape import shape
from watchdog.core.rule import Form, ProbeForm, Query, Ratio

FORMS = ("ratio", "quantile", "rate", "gauge", "query", "probe")


class Forms:
    """Reads forms; probes are validated by the class of their kind."""

    def __init__(self, providers: Providers, problems: Problems) -> None:
        self._providers = providers
        self._problems = problems

    def form_of(self, node: Node, written: RuleShape, broken: frozenset[str]) -> Form | None:
        """The form of one rule, `None` when there is none without mistakes."""
        found = [key for key in (node.entries or ()) if key in FORMS]
        if not found:
            self._problems.add(node.at, f"missing form: one of {', '.join(FORMS)} is needed")
            return None
        for key in found[1:]:
            line = node.at_key(found[0]).line
            self._problems.add(node.at_key(key), f"a rule has one form; {found[0]!r} stands in line {line}")
        return self._one(found[0], node, written, broken)

    def _one(self, key: str, node: Node, written: RuleShape, broken: frozenset[str]) -> Form | None:
        inner = node.find((key,))
        if key in broken or inner.reported:
            return None
        match key:
            case "ratio":
                return self._ratio(inner)
            case "quantile":
                return measures.quantile_of(inner, self._problems)
            case "rate":
                return measures.rate_of(node, self._problems)
            case "gauge":
                return measures.gauge_of(inner, self._problems)
            case "query":
                return self._query(node)
            case _:
                return self._probe(inner)

    def _ratio(self, node: Node) -> Ratio | None:
        written, broken = shape(RatioShape, node, self._problems)
        variables.check(node, self._problems)
        texts = {
            key: self._promql(node, key, check=promql.check_selector)
            for key in ("bad", "total")
            if node.has(key)
        }
        if written is None or broken or None in texts.values():
            return None
        if texts["bad"] == texts["total"]:
            self._problems.add(
                node.at_value("bad"), "`bad` and `total` are the same: everything would be bad"
            )
        return Ratio(bad=str(texts["bad"]), total=str(texts["total"]))

    def _query(self, node: Node) -> Query | None:
        texts: dict[str, str | None] = {}
        for key, path in _QUERY_TEXTS.items():
            place = node.get(*path)
            if place is not None and place.text is not None:
                variables.check(place, self._problems)
                texts[key] = self._promql(node, *path, check=promql.check_query)
        if texts.get("query") is None:
            return None
        return Query(query=str(texts["query"]), events=texts.get("events"), freshness=texts.get("freshness"))

    def _probe(self, node: Node) -> ProbeForm | None:
        variables.check(node, self._problems)
        credentials.refuse(node, self._problems)
        provider = self._providers.read("probe", node)
        if provider is None:
            return None
        settings = provider.settings.model_dump(mode="json", by_alias=True)
        quoting = dict(getattr(provider.settings, "QUOTING", {}))
        return ProbeForm(kind=provider.kind, settings=settings, quoting=quoting)

    def _promql(self, node: Node, *path: str, check: Callable[[str], str]) -> str | None:
        place = node.find(path)
        if place.text is None or place.reported:
            return None
        try:
            return check(place.text)
        except ValueError as fault:
            self._problems.add(place.at, str(fault))
            return None


_QUERY_TEXTS = {"query": ("query",), "events": ("evidence", "events"), "freshness": ("freshness",)}
