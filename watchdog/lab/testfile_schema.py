"""The JSON Schema of files with tests of rules, for editors, made from the models that read them.

As with `watchdog.config.json_schema`: it must never refuse what is good, and `watchdog rules test` has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from watchdog.config.json_schema import Json, Untitled, tidy
from watchdog.lab import testfile_shapes as shapes
from watchdog.lab.recording import FIELDS, What
from watchdog.lab.testfile_events import KINDS
from watchdog.lab.testfile_expect import FLAGS, MAIN, NUMBERS, WORDS

_DIALECT = "http://json-schema.org/draft-07/schema#"
_MODELS: tuple[type[BaseModel], ...] = (
    shapes.RuleTestsShape,
    shapes.RuleTestShape,
    shapes.ServiceUnderTestShape,
    shapes.VariantShape,
    shapes.SeriesShape,
    shapes.EventShape,
    shapes.DeployShape,
    shapes.WishShape,
    shapes.AcknowledgeShape,
    shapes.RollbackWishShape,
    shapes.VersionWishShape,
    shapes.SilenceWishShape,
    shapes.ExpectShape,
)
_WORD: Json = {"type": ["string", "number"]}


def tests_schema() -> Json:
    """The schema of a file with tests of rules."""
    names, parts = models_json_schema([(one, "validation") for one in _MODELS], schema_generator=Untitled)
    found: dict[str, Json] = parts["$defs"]
    for part in found.values():
        tidy(part)
    keys = {model: names[model, "validation"]["$ref"].rpartition("/")[2] for model in _MODELS}
    _fill(found, keys)
    root = found.pop(keys[shapes.RuleTestsShape])
    root["required"] = ["version", "tests"]
    root["oneOf"] = [{"required": ["rules"]}, {"required": ["config"]}]
    title = "Tests of rules of Rollback Watchdog"
    return {"$schema": _DIALECT, **root, "title": title, "$defs": dict(sorted(found.items()))}


def _fill(found: dict[str, Json], keys: Mapping[type[BaseModel], str]) -> None:
    """Say what a key holds where the models say only "anything"."""

    def ref(model: type[BaseModel]) -> Json:
        return {"$ref": f"#/$defs/{keys[model]}"}

    def put(model: type[BaseModel], **properties: Json) -> None:
        own = found[keys[model]]["properties"]
        for key, value in properties.items():
            meaning = {"description": own[key]["description"]} if "description" in own[key] else {}
            own[key] = {**meaning, **value}

    def word_or(model: type[BaseModel]) -> Json:
        return {"anyOf": [_WORD, ref(model)]}

    service = {"anyOf": [{"type": "string"}, ref(shapes.ServiceUnderTestShape)]}
    variants = {
        "type": "object",
        "additionalProperties": {"anyOf": [{"type": "integer"}, ref(shapes.VariantShape)]},
    }
    put(
        shapes.RuleTestsShape,
        service=service,
        traffic=variants,
        tests={"type": "array", "items": ref(shapes.RuleTestShape), "minItems": 1},
    )
    series = {"type": "object", "additionalProperties": word_or(shapes.SeriesShape)}
    put(
        shapes.RuleTestShape,
        service=service,
        traffic=variants,
        series=series,
        events={"type": "array", "items": ref(shapes.EventShape)},
        expect={"type": "array", "items": ref(shapes.ExpectShape)},
    )
    wish = word_or(shapes.WishShape)
    put(
        shapes.EventShape,
        deploy=word_or(shapes.DeployShape),
        patch=variants,
        acknowledge=word_or(shapes.AcknowledgeShape),
        rollback=word_or(shapes.RollbackWishShape),
        silence={"allOf": [ref(shapes.SilenceWishShape)]},
        **dict.fromkeys(("unacknowledge", "approve", "reject", "close", "pause", "resume"), wish),
        **{key: {"allOf": [ref(shapes.VersionWishShape)]} for key in ("taint", "untaint", "mark_good")},
    )
    found[keys[shapes.EventShape]]["oneOf"] = [{"required": [kind]} for kind in KINDS]
    put(shapes.ExpectShape, **{what.value: _expected(what) for what in What})
    found[keys[shapes.ExpectShape]]["oneOf"] = [{"required": [what.value]} for what in What]


def _expected(what: What) -> Json:
    """One word, or the fields of a happening of that kind."""
    fields = {name: _field(what, name) for name in FIELDS[what]}
    return {
        "anyOf": [
            {"const": "any"},
            fields[MAIN[what]],
            {"type": "object", "properties": fields, "additionalProperties": False},
        ]
    }


def _field(what: What, name: str) -> Json:
    """A value, or a list of which one must be equal."""
    one: dict[str, Any] = _WORD
    if name in FLAGS:
        one = {"type": "boolean"}
    elif name not in NUMBERS and (what, name) in WORDS:
        one = {"enum": list(WORDS[what, name])}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
