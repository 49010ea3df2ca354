"""Rules: from YAML to complete `Rule` values with defaults filled in and percentages resolved.

This module must never look at a service, and never ask a source anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from watchdog.config.baseline import baseline_of
from watchdog.config.evidence import evidence_of
from watchdog.config.forms import Forms
from watchdog.config.holds import holds_of
from watchdog.config.loaded import Position, Provider
from watchdog.config.matching import match_of
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.promql import check_evaluable
from watchdog.config.providers import Providers
from watchdog.config.schema import RuleShape, ThresholdShape
from watchdog.config.shape import shape
from watchdog.config.slo import check_windows, slo_of, thresholds_of
from watchdog.config.thresholds import metric_thresholds, probe_thresholds
from watchdog.config.variables import labels_in
from watchdog.core.burning import Slo
from watchdog.core.rule import (
    Baseline,
    Form,
    Gauge,
    Match,
    ProbeForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Rule,
    Severities,
    Thresholds,
    Unit,
)
from watchdog.core.service import Intervals
from watchdog.core.units import parse_duration

#: What would do nothing on a probe, where the number of failures is the hold and the answer the evidence.
_NOT_ON_PROBES = (
    "hold",
    "evidence",
    "direction",
    "window",
    "unit",
    "source",
    "freshness",
    "max_age",
    "match",
)
_BLIND_AFTER = timedelta(minutes=3)
_LEVELS = ("warning", "critical", "rollback")
#: Evaluates the simple forms itself and knows no PromQL.
_NO_PROMQL = frozenset({"kubernetes", "scrape"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A rule that stands somewhere. `rule` is `None` when it has mistakes; its name is still no unknown name.

    `armed`: it has a rollback threshold, or may have one behind its mistakes. `labels`: what every service needs.
    """

    name: str
    at: Position
    tags: tuple[str, ...]
    armed: bool
    labels: frozenset[str] = frozenset()
    match: Match | None = None
    rule: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What rules need of the main file. `sources` is `None` when nothing is known about them (a mistake there).

    `windows` says for a source why a window can never have data there, where its kind knows, `baselines` why a baseline
    cannot, and `metrics` why a metric of that name cannot.
    """

    intervals: Intervals
    sources: dict[str, str] | None
    windows: Mapping[str, Callable[[timedelta], str]]
    baselines: Mapping[str, Callable[[Baseline, timedelta], str]]
    metrics: Mapping[str, Callable[[str], str]]

    @property
    def only_source(self) -> str:
        """The source that a rule need not name; empty where there are several."""
        return next(iter(self.sources)) if self.sources and len(self.sources) == 1 else ""

    @classmethod
    def of(
        cls, intervals: Intervals, sources: dict[str, Provider | None], providers: Providers, *, known: bool
    ) -> Surroundings:
        """`known` is false when the sources could not be read at all."""
        kinds = {name: "" if source is None else source.kind for name, source in sources.items()}
        faults: dict[str, dict[str, Callable[..., str]]] = {
            "window_fault": {},
            "baseline_fault": {},
            "metric_fault": {},
        }
        for name, source in sources.items():
            for question, found in faults.items():
                fault = source and getattr(providers.class_of("source", source.kind), question, None)
                if source and fault:
                    found[name] = partial(fault, source.settings)
        return cls(
            intervals=intervals,
            sources=kinds if known else None,
            windows=faults["window_fault"],
            baselines=faults["baseline_fault"],
            metrics=faults["metric_fault"],
        )


def compile_rule(node: Node, around: Surroundings, forms: Forms, problems: Problems) -> Known | None:
    """One rule; `None` when it has no usable name."""
    before = len(problems)
    written, broken = shape(RuleShape, node, problems)
    if written is None:
        return None
    if not node.has("name"):
        problems.add(node.at, "missing key 'name'")
    elif written.name == "none":
        problems.add(node.at_value("name"), "a rule cannot be named 'none'; `confirm: none` means no rule")
    rule = _Compiler(node, written, broken, around, problems).rule(forms)
    name = written.name or node.find(("name",)).text
    if not name:
        return None
    return Known(
        name=name,
        at=node.at_value("name"),
        tags=tuple(written.tags),
        armed=rule is None or rule.can_roll_back,
        labels=labels_in(rule.form) if rule is not None else frozenset(),
        match=None if rule is None else rule.match,
        rule=rule if len(problems) == before else None,
    )


class _Compiler:
    def __init__(
        self,
        node: Node,
        written: RuleShape,
        broken: frozenset[str],
        around: Surroundings,
        problems: Problems,
    ) -> None:
        self._node = node
        self._written = written
        self._broken = broken
        self._around = around
        self._problems = problems

    def rule(self, forms: Forms) -> Rule | None:
        """The rule, or `None` when its form or its thresholds cannot be made out."""
        written = self._written
        interval = self._interval()
        form = forms.form_of(self._node, written, self._broken)
        if form is None:
            self._levels(
                probe=self._node.has("probe"), unit=Unit.RATIO if self._node.has("ratio") else written.unit
            )
            self._baseline(None)
            self._slo(None)
            return None
        source = self._source(form)
        unit = self._unit(form)
        thresholds = self._levels(probe=isinstance(form, ProbeForm), unit=unit)
        self._check_freshness(form)
        evidence = evidence_of(self._node, form, self._problems)
        blind_after = written.blind_after
        baseline, slo = self._baseline(form), self._slo(form)
        if thresholds is None and baseline is None and slo is None:
            return None
        if slo is not None:
            thresholds, unit = thresholds_of(slo), Unit.TIMES
            evidence = evidence and replace(evidence, excess=0.0)  # its windows say how long it was bad
        return Rule(
            name=written.name,
            form=form,
            match=match_of(self._node, written, form, self._problems),
            thresholds=thresholds or Thresholds(),
            baseline=baseline,
            slo=slo,
            unit=unit,
            summary=written.summary,
            source=source,
            interval=interval,
            window=written.window if slo is None else slo.windows[0],
            direction=written.direction,
            hold=holds_of(written.hold, slo),
            clear=written.clear,
            evidence=evidence,
            blind_after=max(_BLIND_AFTER, 3 * interval) if blind_after is None else blind_after,
            max_age=written.max_age,
            severity=Severities(
                warning=written.severity.warning,
                critical=written.severity.critical,
                rollback=written.severity.rollback,
            ),
            tags=tuple(written.tags),
            runbook=written.runbook,
            dashboard=written.dashboard,
        )

    def _source(self, form: Form) -> str | None:
        if isinstance(form, ProbeForm):
            for key in _NOT_ON_PROBES:
                if self._node.has(key):
                    words = f"{key!r} does nothing on a probe; {_instead(key)}"
                    self._problems.add(self._node.at_key(key), words)
            return None
        sources, name = self._around.sources, self._written.source
        if sources is None or "source" in self._broken:
            return name
        if name is None:
            if len(sources) != 1:
                self._problems.add(self._node.at, _which_source(sources))
                return None
            (name,) = sources
        elif name not in sources:
            self._problems.add(self._node.at_value("source"), unknown("source", name, sources))
            return name
        if sources[name] in _NO_PROMQL:
            self._check_without_promql(form, name, f"source {name!r} is of kind {sources[name]}")
        self._check_window(name)
        return name

    def _check_window(self, source: str) -> None:
        fault = self._around.windows.get(source)
        judged = "window" not in self._broken and not self._node.has("slo")
        if fault is not None and judged and (words := fault(self._written.window)):
            self._problems.add(self._node.at_value("window"), words)

    def _check_without_promql(self, form: Form, name: str, source: str) -> None:
        if isinstance(form, Query):
            words = f"{source}, which knows no PromQL; use `ratio`, `quantile`, `rate` or `gauge`"
            self._problems.add(self._node.at_key("query"), words)
        metric_fault = self._around.metrics.get(name)
        for path, selector in _selectors(form).items():
            try:
                metric = check_evaluable(selector)
            except ValueError as fault:
                self._problems.add(self._node.at_value(*path), str(fault))
            else:
                if metric_fault is not None and (words := metric_fault(metric)):
                    self._problems.add(self._node.at_value(*path), words)

    def _unit(self, form: Form) -> Unit:
        unit = self._written.unit
        if isinstance(form, Ratio):
            if unit not in {None, Unit.RATIO}:
                self._problems.add(self._node.at_value("unit"), f"the unit of a `ratio` is ratio, not {unit}")
            return Unit.RATIO
        return unit or Unit.NONE

    def _levels(self, *, probe: bool, unit: Unit | None) -> Thresholds | None:
        node = self._node.get("threshold")
        if node is None or "threshold" in self._broken:
            if node is None and not (self._node.has("baseline") or self._node.has("slo")):
                self._problems.add(self._node.at, "missing key 'threshold' (or 'baseline', or 'slo')")
            return None
        shaped, broken = shape(ThresholdShape, node, self._problems)
        written = {} if shaped is None else shaped.levels()
        if not written:
            if not broken:
                self._problems.add(node.at, f"at least one of {', '.join(_LEVELS)} is needed")
            return None
        if not probe:
            self._check_holds(node)
        if {"unit", "direction"} & self._broken or (unit is None and not probe):
            return None
        thresholds, mistakes = (
            probe_thresholds(written)
            if probe
            else metric_thresholds(written, unit=unit or Unit.NONE, direction=self._written.direction)
        )
        for mistake in mistakes:
            if node.find((mistake.level,)).reported:
                continue
            self._problems.add(node.at_value(mistake.level), mistake.message)
        return None if mistakes or broken else thresholds

    def _baseline(self, form: Form | None) -> Baseline | None:
        place = self._node.get("baseline")
        if place is None or "baseline" in self._broken:
            return None
        worse_by = place.get("worse_by")
        if worse_by is not None and worse_by.entries is not None:
            self._check_holds(worse_by)
        direction = None if "direction" in self._broken else self._written.direction
        window = self._written.window
        unit = Unit.RATIO if self._node.has("ratio") else self._written.unit or Unit.NONE
        baseline = baseline_of(
            self._node,
            form,
            unit=None if "unit" in self._broken else unit,
            window=window,
            direction=direction,
            problems=self._problems,
        )
        fault = self._around.baselines.get(self._written.source or self._around.only_source)
        if baseline is not None and fault is not None and (words := fault(baseline, window)):
            self._problems.add(place.at_value("against"), words)
        return baseline

    def _slo(self, form: Form | None) -> Slo | None:
        if "slo" in self._broken:
            return None
        direction = None if "direction" in self._broken else self._written.direction
        slo = slo_of(self._node, form, direction=direction, problems=self._problems)
        burn = self._node.get("slo", "burn")
        if burn is not None and burn.entries is not None:
            self._check_holds(burn)
        fault = self._around.windows.get(self._written.source or self._around.only_source)
        if slo is not None and fault is not None:
            check_windows(self._node, slo, fault, self._problems)
        return slo

    def _check_holds(self, threshold: Node) -> None:
        hold = self._node.get("hold")
        for level in hold.keys() if hold is not None else ():
            if level in _LEVELS and not threshold.has(level):
                words = f"a hold for {level} does nothing: there is no {level} threshold"
                self._problems.add(self._node.at_key("hold", level), words)

    def _check_freshness(self, form: Form) -> None:
        if isinstance(form, Query):
            if form.freshness is None and not self._node.has("freshness"):
                words = "no `freshness` query: the evaluation time counts as the sample's, so staleness is not seen"
                self._problems.note(self._node.at_key("query"), words)
        elif not isinstance(form, ProbeForm) and self._node.has("freshness"):
            words = f"'freshness' goes with a `query`; a {_word(form)}'s newest sample is known"
            self._problems.add(self._node.at_key("freshness"), words)

    def _interval(self) -> timedelta:
        word, intervals = self._written.interval, self._around.intervals
        named = {"critical": intervals.critical, "normal": intervals.normal, "extended": intervals.extended}
        if word in named:
            return named[word]
        at = self._node.at_value("interval")
        try:
            interval = parse_duration(word)
        except ValueError as fault:
            words = str(fault) if word[:1].isdigit() else unknown("interval", word, named) + ", or a duration"
            self._problems.add(at, words)
            return named["critical"]
        if not interval:
            self._problems.add(at, f"{quote(word)}: an interval must be longer than 0")
        return interval or named["critical"]


def _selectors(form: Form) -> dict[tuple[str, ...], str]:
    """The selectors of a form by where each stands in the rule."""
    match form:
        case Ratio():
            return {("ratio", "bad"): form.bad, ("ratio", "total"): form.total}
        case Rate():
            return {("rate",): form.of}
        case Quantile() | Gauge():
            return {(_word(form), "of"): form.of}
        case _:
            return {}


def _word(form: Form) -> str:
    """The key under which a form is written."""
    return type(form).__name__.lower()


def _which_source(sources: dict[str, str]) -> str:
    if not sources:
        return "this rule needs a source, and `sources` has none"
    return f"missing key 'source': there are several ({', '.join(sorted(sources))})"


def _instead(key: str) -> str:
    match key:
        case "hold":
            return "`threshold: {critical: 3 failures}` is its hold"
        case "source":
            return "it asks its target itself"
        case _:
            return "leave it out"
