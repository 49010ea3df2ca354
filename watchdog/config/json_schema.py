"""JSON Schemas of the configuration file and of rule files, for editors, made from the models that read them.

A schema knows keys, types and alternatives. What needs more than one value to judge stays with `watchdog check`, which
has the last word: a schema must never refuse what is good, and may let pass what is not. This module must never judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from watchdog.config import schema, serving, telling
from watchdog.config.forms import FORMS
from watchdog.config.providers import Registries
from watchdog.core.rule import Severity
from watchdog.settings.registry import load

Json = dict[str, Any]

_DIALECT: Final = "http://json-schema.org/draft-07/schema#"
_SHAPES: Final[tuple[type[BaseModel], ...]] = (
    schema.MainShape,
    schema.RulesFileShape,
    schema.RuleShape,
    schema.RatioShape,
    schema.QuantileShape,
    schema.GaugeShape,
    schema.ThresholdShape,
    schema.BaselineShape,
    schema.WorseByShape,
    schema.SloShape,
    schema.BurnShape,
    schema.BurnRateShape,
    schema.TwoSampleShape,
    schema.EvidenceShape,
    serving.ServiceShape,
    serving.TagShape,
    serving.ProfileShape,
    telling.RouteShape,
    telling.PolicyShape,
    telling.StepShape,
    telling.MuteShape,
)
#: What the loader asks for although the models have a value for it: they go on after a mistake.
_REQUIRED: Final[Mapping[type[BaseModel], tuple[str, ...]]] = {
    schema.MainShape: ("version", "rules"),
    schema.RulesFileShape: ("version", "rules"),
    schema.RuleShape: ("name",),
    serving.ServiceShape: ("name", "rules", "traffic"),
}


def config_schema(registries: Registries | None = None) -> Json:
    """The schema of the configuration file."""
    return _Maker(registries or Registries()).document(schema.MainShape, "Configuration of Rollback Watchdog")


def rules_schema(registries: Registries | None = None) -> Json:
    """The schema of a rule file."""
    return _Maker(registries or Registries()).document(schema.RulesFileShape, "Rules of Rollback Watchdog")


def written(document: Json) -> str:
    """A schema as text, the same for the same models."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


class Untitled(GenerateJsonSchema):
    """Titles that only repeat the name of a key help nobody."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Maker:
    """Every model's schema by one run, so that names of parts cannot collide; then what the models leave open."""

    def __init__(self, registries: Registries) -> None:
        families = ("source", "probe", "traffic", "channel", "leader")
        self._kinds = {family: _settings(family, registries.of(family)) for family in families}
        settings = [model for kinds in self._kinds.values() for model in kinds.values() if model is not None]
        models = list(dict.fromkeys([*_SHAPES, *settings]))
        names, parts = models_json_schema(
            [(model, "validation") for model in models], schema_generator=Untitled
        )
        self._names = {model: names[model, "validation"]["$ref"].rpartition("/")[2] for model in models}
        self._parts: dict[str, Json] = parts["$defs"]
        for part in self._parts.values():
            tidy(part)
        for model, keys in _REQUIRED.items():
            self._part(model)["required"] = list(keys)
        self._rules()
        self._services()
        self._telling()
        self._main()

    def document(self, model: type[BaseModel], title: str) -> Json:
        """One file's schema with the parts that it needs."""
        root = self._part(model)
        needed: dict[str, Json] = {}
        self._collect(root, needed)
        return {"$schema": _DIALECT, **root, "title": title, "$defs": dict(sorted(needed.items()))}

    def _collect(self, part: Any, needed: dict[str, Json]) -> None:
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in needed:
                needed[name] = self._parts[name]
                self._collect(self._parts[name], needed)
            for value in part.values():
                self._collect(value, needed)
        elif isinstance(part, list):
            for value in part:
                self._collect(value, needed)

    def _part(self, model: type[BaseModel]) -> Json:
        return self._parts[self._names[model]]

    def _ref(self, model: type[BaseModel]) -> Json:
        return {"$ref": f"#/$defs/{self._names[model]}"}

    def _set(self, model: type[BaseModel], **properties: Json) -> None:
        """Say what a key holds where the model says only "anything"; what it means stays."""
        own = self._part(model)["properties"]
        for key, value in properties.items():
            meaning = {"description": own[key]["description"]} if "description" in own[key] else {}
            # Beside a `$ref`, draft 7 reads nothing else.
            own[key] = {**meaning, "allOf": [value]} if "$ref" in value else {**meaning, **value}

    def _rules(self) -> None:
        rule = schema.RuleShape
        self._set(
            rule,
            ratio=self._ref(schema.RatioShape),
            quantile=self._ref(schema.QuantileShape),
            gauge=self._ref(schema.GaugeShape),
            probe=self._provider("probe"),
            threshold=self._ref(schema.ThresholdShape),
            baseline=self._ref(schema.BaselineShape),
            slo=self._ref(schema.SloShape),
            evidence={"anyOf": [self._ref(schema.EvidenceShape), {"const": "none"}]},
        )
        self._set(
            schema.BaselineShape,
            worse_by=self._ref(schema.WorseByShape),
            test={"anyOf": [self._ref(schema.TwoSampleShape), {"const": "mann-whitney"}]},
        )
        level = self._ref(schema.BurnRateShape)
        share = {"type": "string", "pattern": r"^[^%]*%\s*$"}
        self._set(schema.BurnShape, warning=level, critical=level, rollback={"anyOf": [level, share]})
        self._set(schema.SloShape, burn=self._ref(schema.BurnShape))
        self._part(schema.BurnShape)["minProperties"] = 1
        self._part(schema.ThresholdShape)["minProperties"] = 1
        self._part(schema.WorseByShape)["minProperties"] = 1
        self._part(rule)["allOf"] = [
            {"oneOf": [{"required": [form]} for form in FORMS]},
            {"oneOf": [{"required": [limits]} for limits in ("threshold", "baseline", "slo")]},
        ]
        self._set(schema.RulesFileShape, rules={"type": "array", "items": self._ref(rule)})

    def _services(self) -> None:
        text = {"type": "string"}
        rules = {"anyOf": [text, self._ref(serving.TagShape)]}
        self._set(
            serving.ServiceShape,
            rules={"type": "array", "items": rules, "minItems": 1},
            traffic=self._provider("traffic", ready=self._provider("probe")),
        )
        rollback = self._parts["RollbackShape"]["properties"]
        rollback["confirm"] = {
            "description": rollback["confirm"]["description"],
            "anyOf": [text, {"type": "array", "items": text}],
        }

    def _telling(self) -> None:
        step = self._ref(telling.StepShape)
        ladder = {"type": "array", "items": step, "minItems": 1}
        severities = [severity.value for severity in Severity]
        self._set(telling.PolicyShape, **dict.fromkeys(severities, ladder))
        self._part(telling.PolicyShape)["anyOf"] = [{"required": [severity]} for severity in severities]
        self._part(telling.RouteShape)["oneOf"] = [{"required": [key]} for key in ("to", "escalation")]
        self._part(telling.StepShape)["anyOf"] = [{"required": [key]} for key in ("to", "digest")]

    def _main(self) -> None:
        def named(value: Json) -> Json:
            return {"type": "object", "additionalProperties": value}

        self._set(
            schema.MainShape,
            sources=named(self._provider("source")),
            services={"type": "array", "items": self._ref(serving.ServiceShape), "minItems": 1},
            environments=named(self._ref(serving.ProfileShape)),
            channels=named(self._provider("channel")),
            routes={"type": "array", "items": self._ref(telling.RouteShape)},
            escalations=named(self._ref(telling.PolicyShape)),
            mute_windows=named(self._ref(telling.MuteShape)),
            self_check={"type": "array", "items": self._provider("probe"), "minItems": 1},
            leader=self._provider("leader"),
        )
        either = ({"required": [key]} for key in ("services", "discover"))
        self._parts[schema.MainShape.__name__]["anyOf"] = list(either)
        found = self._parts["DiscoverShape"]["properties"]["rules"]
        found["items"] = {"anyOf": [{"type": "string"}, self._ref(serving.TagShape)]}

    def _provider(self, family: str, **beside: Json) -> Json:
        """One of a family's kinds: which one decides what else may stand there. `beside` are keys for every kind."""
        kinds = self._kinds[family]
        choices = []
        for kind, settings in kinds.items():
            name = f"{family}-{kind}"
            self._parts.setdefault(name, self._one(kind, settings, beside))
            choice = {"properties": {"kind": {"const": kind}}, "required": ["kind"]}
            choices.append({"if": choice, "then": {"$ref": f"#/$defs/{name}"}})
        whole = {
            "type": "object",
            "properties": {"kind": {"enum": list(kinds)}},
            "required": ["kind"],
            "allOf": choices,
        }
        self._parts.setdefault(family, whole)
        return {"$ref": f"#/$defs/{family}"}

    def _one(self, kind: str, settings: type[BaseModel] | None, beside: Mapping[str, Json]) -> Json:
        if settings is None:
            return {"type": "object", "description": f"Needs a Python package that is not installed: {kind}"}
        own = self._part(settings)
        return {
            **own,
            "properties": {"kind": {"const": kind}, **own.get("properties", {}), **beside},
            "required": ["kind", *own.get("required", [])],
        }


def _settings(family: str, kinds: Mapping[str, str]) -> dict[str, type[BaseModel] | None]:
    """The settings of every kind; `None` for one whose package is not installed."""
    found: dict[str, type[BaseModel] | None] = {}
    for kind in sorted(kinds):
        try:
            found[kind] = load(family, kinds, kind).Settings
        except ModuleNotFoundError as fault:
            if fault.name is None or fault.name.split(".")[0] == __name__.split(".", maxsplit=1)[0]:
                raise
            found[kind] = None
    return found


def tidy(part: Json) -> None:
    """Nothing may be written as nothing: a key is left out instead. Texts in one line each."""
    part.pop("title", None)
    for one in (part, *part.get("properties", {}).values()):
        if "description" in one:
            one["description"] = " ".join(one["description"].split())
    for value in part.get("properties", {}).values():
        value.pop("gt", None)  # of durations, in a notation that no schema has
        if "default" in value and value["default"] is None:
            del value["default"]
            choices = [choice for choice in value.pop("anyOf", []) if choice != {"type": "null"}]
            if len(choices) > 1:
                value["anyOf"] = choices
            elif choices:
                # Beside a `$ref`, draft 7 reads nothing else.
                value.update({"allOf": choices} if "$ref" in choices[0] else {**choices[0], **value})
