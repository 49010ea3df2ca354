"""The JSON Schemas for editors: those in docs/ are the models', they take what is good and refuse plain mistakes."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.docs.pages import PAGES, blocks_of
from watchdog.config.json_schema import Json, config_schema, rules_schema, written
from watchdog.config.providers import Registries

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
MODELINE = "# yaml-language-server: $schema=../docs/schema/{}.schema.json"


class _Loader(yaml.SafeLoader):
    """As an editor that knows the two tags as text."""


def _text(loader: yaml.SafeLoader, node: yaml.Node) -> object:
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


for _tag in ("!env", "!file"):
    _Loader.add_constructor(_tag, _text)


@cache
def validator(name: str) -> Draft7Validator:
    schema = config_schema() if name == "watchdog" else rules_schema()
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def faults(name: str, text: str) -> list[str]:
    data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with two tags more
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(data)]


def kind_of(text: str) -> str:
    return "watchdog" if re.search(r"^services:", text, re.MULTILINE) else "rules"


SHOWN = [
    (f"{page.name}:{block.line}", block.text)
    for page in PAGES
    for block in blocks_of(page.read_text())
    if block.kind == "yaml"
]
FILES = [
    (str(file.relative_to(ROOT)), file.read_text())
    for folder in ("config", "rules", "tests/config/good")
    for file in sorted((ROOT / folder).glob("*.yaml"))
    if not file.name.endswith(".test.yaml")  # tests of rules, which are neither
]


@pytest.mark.parametrize("name", ["watchdog", "rules"])
def test_the_schemas_in_the_docs_are_those_of_the_models(name: str) -> None:
    schema = config_schema() if name == "watchdog" else rules_schema()
    shown = (ROOT / f"docs/schema/{name}.schema.json").read_text()
    made = {"watchdog": "config", "rules": "rules"}[name]
    assert shown == written(schema), f"make docs, or: watchdog schema {made} > docs/schema/{name}.schema.json"


@pytest.mark.parametrize(("file", "text"), FILES + SHOWN, ids=[name for name, _ in FILES + SHOWN])
def test_every_good_file_is_good_for_editors(file: str, text: str) -> None:
    assert faults(kind_of(text), text) == []


@pytest.mark.parametrize(
    ("file", "schema"), [("config/watchdog.yaml", "watchdog"), ("rules/web.yaml", "rules")]
)
def test_the_samples_tell_editors_which_schema_is_theirs(file: str, schema: str) -> None:
    first = (ROOT / file).read_text().splitlines()[0]
    assert first == MODELINE.format(schema)
    assert (ROOT / file).parent.joinpath(first.partition("=")[2]).is_file()


REFUSED = [
    ("unknown-key", "Additional properties are not allowed"),
    ("version-2", "1 was expected"),
    ("version-missing", "'version' is a required property"),
    ("services-empty", "should be non-empty"),
    ("service-without-switch", "'traffic' is a required property"),
    ("service-without-rules", "should be non-empty"),
    ("service-mode", "is not one of ['observe', 'approve', 'enforce']"),
    ("service-name", "does not match"),
    ("service-tag-key", "is not valid under any of the given schemas"),
    ("source-kind-missing", "'kind' is a required property"),
    ("source-kind-unknown", "is not one of ['kubernetes', 'prometheus', 'scrape']"),
    ("source-key-unknown", "Additional properties are not allowed"),
    ("interval-without-unit", "is not valid under any of the given schemas"),
    ("rollback-key", "Additional properties are not allowed"),
    ("rollback-min-ready", "is not of type 'string'"),
    ("limits-rate", "does not match"),
    ("token-role", "is not one of ['viewer', 'operator']"),
    ("ready-unknown-key", "Additional properties are not allowed"),
    ("rule-key-misspelt", "Additional properties are not allowed"),
    ("rule-level-misspelt", "Additional properties are not allowed"),
    ("rule-name-missing", "'name' is a required property"),
    ("rule-no-form", "is not valid under any of the given schemas"),
    ("rule-two-forms", "is valid under each of"),
    ("rule-threshold-missing", "is not valid under any of the given schemas"),
    ("rule-threshold-empty", "should be non-empty"),
    ("rule-slo-and-threshold", "is valid under each of"),
    ("rule-slo-objective-missing", "'objective' is a required property"),
    ("rule-slo-burn-empty", "should be non-empty"),
    ("rule-slo-level-misspelt", "Additional properties are not allowed"),
    ("rule-slo-level-number", "is not of type 'object'"),
    ("rule-slo-rollback-number", "is not valid under any of the given schemas"),
    ("rule-unit-unknown", "is not one of ['ratio', 'seconds'"),
    ("rule-severity", "is not one of"),
    ("rule-clear", "is not of type 'string'"),
    ("rule-probe-kind", "is not one of ['command', 'grpc', 'http', 'kubernetes', 'tcp']"),
    ("rule-probe-key", "Additional properties are not allowed"),
    ("rule-selector-misspelt", "Additional properties are not allowed"),
]


@pytest.mark.parametrize(("file", "said"), REFUSED, ids=[name for name, _ in REFUSED])
def test_plain_mistakes_are_refused(file: str, said: str) -> None:
    text = (HERE / "bad" / f"{file}.yaml").read_text()
    found = faults("rules" if file.startswith("rule-") else "watchdog", text)
    assert any(said in fault for fault in found), found


CONFIG: Json = {
    "version": 1,
    "rules": ["r.yaml"],
    "services": [
        {"name": "a", "rules": ["x"], "traffic": {"kind": "command", "read": ["r"], "apply": ["{variant}"]}}
    ],
}


@pytest.mark.parametrize(
    ("traffic", "good"),
    [
        ({"kind": "haproxy", "socket": "/s", "backend": "b", "variants": {"a": "x", "b": ["y", "z"]}}, True),
        ({"kind": "haproxy", "socket": "/s", "backend": "b", "variants": {"a": 1, "b": "y"}}, False),
        ({"kind": "haproxy", "backend": "b", "variants": {"a": "x", "b": "y"}}, False),
        (
            {
                "kind": "haproxy",
                "socket": "/s",
                "backend": "b",
                "variants": {"a": "x", "b": "y"},
                "read": ["x"],
            },
            False,
        ),
        (
            {"kind": "nginx", "upstream_file": "/f", "upstream": "t", "variants": {"a": "h:1", "b": ["h:2"]}},
            True,
        ),
        ({"kind": "nginx", "upstream_file": "/f", "upstream": "t", "variants": {"a": "h:1"}}, False),
        ({"kind": "command", "read": "show", "apply": ["x"]}, False),
        ({"kind": "command", "read": ["r"], "apply": ["x"], "timeout": "5 seconds"}, False),
        ({"kind": "command", "read": ["r"], "apply": ["x"], "timeout": "1h30m"}, True),
        (
            {
                "kind": "command",
                "read": ["r"],
                "apply": ["x"],
                "ready": {"kind": "tcp", "address": "{address}"},
            },
            True,
        ),
        ({"kind": "command", "read": ["r"], "apply": ["x"], "ready": {"kind": "haproxy"}}, False),
    ],
)
def test_the_kind_decides_what_else_may_stand_there(traffic: Json, good: bool) -> None:
    config = CONFIG | {"services": [CONFIG["services"][0] | {"traffic": traffic}]}
    assert validator("watchdog").is_valid(config) is good, faults("watchdog", json.dumps(config))


def test_every_key_is_explained() -> None:
    def unexplained(part: Any, where: str) -> list[str]:
        found = []
        for key, value in part.get("properties", {}).items():
            if not {"description", "const", "$ref"} & set(value):
                found.append(f"{where}.{key}")
        return found

    for schema in (config_schema(), rules_schema()):
        parts = {"": schema, **schema["$defs"]}
        assert [
            one
            for name, part in parts.items()
            for one in unexplained(part, name)
            if not one.endswith(".kind")
        ] == []


def test_a_kind_whose_package_is_not_installed_leaves_the_others_as_they_are() -> None:
    registries = Registries(
        traffic={"lost": "no_such_package.switch:Switch", "haproxy": "watchdog.traffic.haproxy:HAProxySwitch"}
    )
    schema = config_schema(registries)
    assert "not installed" in schema["$defs"]["traffic-lost"]["description"]
    assert "socket" in schema["$defs"]["traffic-haproxy"]["properties"]
