"""Tables of keys, made from the models that read the configuration, so that no name, default or meaning can drift."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tests.docs import messages, packs, rule_tests
from tests.docs.words import DEFAULTS, KINDS, written
from watchdog.api.routes import ROUTES, Route
from watchdog.channels.registry import KINDS as CHANNELS
from watchdog.cluster.settings import ClusterSettings
from watchdog.config import backtests, schema, serving, telling
from watchdog.config.discovered import DiscoverShape
from watchdog.core.check import CheckId, Reason, Verdict
from watchdog.core.rule import Level
from watchdog.core.service import Mode
from watchdog.core.view import CheckView, ServiceView, SourceView, View
from watchdog.leader.registry import ALONE
from watchdog.leader.registry import KINDS as LEADERS
from watchdog.probes.expectations import Expected, ExpectedBody, ExpectedConnection, Matching
from watchdog.probes.registry import KINDS as PROBES
from watchdog.settings.access import BasicAuth
from watchdog.settings.registry import load
from watchdog.sources.registry import KINDS as SOURCES
from watchdog.telemetry.metrics import Metrics
from watchdog.traffic.registry import KINDS as TRAFFIC

FAMILIES = {"source": SOURCES, "probe": PROBES, "traffic": TRAFFIC, "channel": CHANNELS, "leader": LEADERS}

_SHAPES: dict[str, type[BaseModel]] = {
    "main": schema.MainShape,
    "intervals": schema.IntervalsShape,
    "store": schema.StoreShape,
    "server": schema.ServerShape,
    "server.tokens": schema.TokenShape,
    "service": serving.ServiceShape,
    "rollback": serving.RollbackShape,
    "environment": serving.ProfileShape,
    "discover": DiscoverShape,
    "kubernetes": ClusterSettings,
    "limits": schema.LimitsShape,
    "limits.max_breaching": schema.BreakerShape,
    "backtest": backtests.BacktestShape,
    "route": telling.RouteShape,
    "gather": telling.GatherShape,
    "escalation": telling.PolicyShape,
    "escalation.step": telling.StepShape,
    "escalation.acknowledged": telling.AcknowledgedShape,
    "mute window": telling.MuteShape,
    "reports": telling.ReportsShape,
    "reports.weekly": telling.WeeklyShape,
    "templates": telling.TemplatesShape,
    "heartbeat": telling.HeartbeatSettings,
    "rule": schema.RuleShape,
    "ratio": schema.RatioShape,
    "quantile": schema.QuantileShape,
    "gauge": schema.GaugeShape,
    "threshold": schema.ThresholdShape,
    "baseline": schema.BaselineShape,
    "worse_by": schema.WorseByShape,
    "two_samples": schema.TwoSampleShape,
    "slo": schema.SloShape,
    "burn": schema.BurnShape,
    "burn rate": schema.BurnRateShape,
    "hold": schema.HoldShape,
    "evidence": schema.EvidenceShape,
    "severity": schema.SeverityShape,
    "basic_auth": BasicAuth,
    "expect": Expected,
    "expect.header": Matching,
    "expect.body": ExpectedBody,
    "expect of a connection": ExpectedConnection,
    **rule_tests.SHAPES,
}
#: What the validators of `watchdog.config.fields` and `watchdog.settings` make of a text.
_VALIDATED = {
    "_duration": "duration",
    "_secret": "`!env NAME` or `!file PATH`",
    "_share": "percentage",
    "_confidence": "percentage",
    "_quantile": "number such as `0.95`, or percentage",
    "_excess": "percentage of one window",
    "_samples": "count such as `3 samples`",
    "_hold": "duration, or a count such as `2 samples`",
    "_rate": "rate such as `3 per 10m`",
    "_written": "number with a unit",
    "_name": "name",
    "_address": "address",
    "_argv": "list: program and arguments",
}


def model_of(name: str) -> type[BaseModel]:
    """The model behind a table: a shape, or the settings of `FAMILY KIND`."""
    if name in _SHAPES:
        return _SHAPES[name]
    family, _, kind = name.partition(" ")
    settings: type[BaseModel] = load(family, FAMILIES[family], kind).Settings
    return settings


def tables() -> list[str]:
    """The names of all tables that the pages must show."""
    kinds = [(family, kind) for family, known in FAMILIES.items() for kind in known]
    providers = [f"{family} {kind}" for family, kind in kinds if kind != ALONE]  # which has no keys
    rules = [f"pack {name}" for name in packs.packs()]
    return [*_SHAPES, *providers, *rules, "endpoints", "metrics", "template names", "happenings"]


def table(name: str) -> str:
    """One table as Markdown."""
    match name:
        case "endpoints":
            return _markdown(("", "path", "answers", "role"), (_endpoint(route) for route in ROUTES))
        case "template names":
            return _markdown(("name", "holds"), iter(messages.names()))
        case "happenings":
            return _markdown(rule_tests.HEAD, rule_tests.rows())
        case "metrics":
            return _markdown(("metric", "labels", "meaning"), _metrics())
        case _ if name.startswith("pack "):
            return _markdown(packs.HEAD, packs.rows(name.removeprefix("pack ")))
        case _:
            return _markdown(("key", "value", "default", "meaning"), _keys(name))


def _markdown(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _keys(name: str) -> Iterator[Sequence[str]]:
    for field, info in model_of(name).model_fields.items():
        key = info.alias or field
        yield f"`{key}`", _kind(name, key, info), _default(name, key, info), " ".join(_meaning(info).split())


def _meaning(info: FieldInfo) -> str:
    if not info.description:
        raise LookupError("a key without a docstring")
    return info.description


def _default(name: str, key: str, info: FieldInfo) -> str:
    if (name, key) in DEFAULTS:
        return DEFAULTS[name, key]
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value == "":
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    if value in ((), {}):
        return "none"
    if isinstance(value, tuple):
        count, per = value
        return f"`{count} per {written(per)[1:]}"
    return written(value)


def _kind(name: str, key: str, info: FieldInfo) -> str:
    if (name, key) in KINDS:
        return KINDS[name, key]
    for mark in info.metadata:
        words = _VALIDATED.get(getattr(getattr(mark, "func", None), "__name__", ""))
        if words:
            return words
    return _words(info.annotation)


def _words(annotation: Any) -> str:
    """Words for a type; what it does not tell must stand in `tests.docs.words`."""
    origin = get_origin(annotation)
    if origin in {types.UnionType, Union}:
        return " or ".join(_words(one) for one in get_args(annotation) if one is not type(None))
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in get_args(annotation))
    if origin is dict:
        return f"mapping: name to {_words(get_args(annotation)[1])}"
    if origin is tuple:
        return "list"
    for mark in getattr(annotation, "__metadata__", ()):
        words = _VALIDATED.get(getattr(getattr(mark, "func", None), "__name__", ""))
        if words:
            return words
    if origin is not None or not isinstance(annotation, type):
        return _words(get_args(annotation)[0])
    if issubclass(annotation, StrEnum):
        return ", ".join(f"`{one}`" for one in annotation)
    if issubclass(annotation, BaseModel):
        return "mapping"
    return _PLAIN[annotation]


_PLAIN: dict[Any, str] = {
    str: "text",
    int: "whole number",
    bool: "`true` or `false`",
    float: "number",
    timedelta: "duration",
    Path: "path",
    SecretStr: "`!env NAME` or `!file PATH`",
}


def _view() -> View:
    """A service with a check and a source, so that every metric has a sample."""
    now = datetime(2026, 1, 31, tzinfo=UTC)
    check = CheckView(
        id=CheckId(service="x", rule="x"),
        level=Level.OK,
        held=Level.OK,
        latched=Level.OK,
        last_data_at=now,
        blind_since=now,
    )
    verdict = Verdict(level=Level.OK, reason=Reason.WITHIN, at=now, value=0.0)
    service = ServiceView(
        name="x",
        environment="x",
        mode=Mode.ENFORCE,
        checks=(msgspec.structs.replace(check, verdict=verdict),),
    )
    source = SourceView(name="x", up=True)
    return View(at=now, turn_at=now, leader=True, services={"x": service}, sources={"x": source})


def _endpoint(route: Route) -> Sequence[str]:
    role = f"`{route.role.name.lower()}`" if route.role is not None else "none"
    return f"`{route.method}`", f"`{route.path}`", route.summary, role


def _metrics() -> Iterator[Sequence[str]]:
    metrics = Metrics(_view)
    metrics.observe_query("x", 1.0)
    metrics.observe_switch("x", 1.0)
    metrics.count_rollback("x", "x")
    metrics.count_veto("x")
    metrics.count_notification("x", "x")
    metrics.count_template_failure("x")
    metrics.set_unclaimed("x", 1)
    metrics.set_late({"x": True})
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.endswith("_created"):
            continue
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = family.name + ("_total" if family.type == "counter" else "")
        yield f"`{name}`", ", ".join(f"`{one}`" for one in labels) or "none", family.documentation
