from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import Daemon
from tests.api.test_listener import app_of
from watchdog.api.openapi import document
from watchdog.api.routes import ROUTES

METHODS = {"get", "post", "put", "delete", "patch", "head", "options"}


def nodes(tree: Any) -> list[dict[str, Any]]:
    if isinstance(tree, dict):
        return [tree] + [node for value in tree.values() for node in nodes(value)]
    if isinstance(tree, list):
        return [node for value in tree for node in nodes(value)]
    return []


async def test_the_document_is_served(serve: Serve, operator: aiohttp.ClientSession) -> None:
    async with operator.get(await serve() + "/api/v1/openapi.json") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == json.loads(json.dumps(document()))


async def test_the_document_has_exactly_the_routes_of_the_application(daemon: Daemon) -> None:
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app_of(daemon).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method, path) for path, item in document()["paths"].items() for method in item}
    assert described == served
    assert len(served) == len(ROUTES)


def test_the_document_is_sound_openapi_3_1() -> None:
    described = document()
    assert described["openapi"].startswith("3.1.")
    assert described["info"]["title"]
    assert described["info"]["version"]
    names: set[str] = set()
    for path, item in described["paths"].items():
        assert path.startswith("/")
        assert set(item) <= METHODS
        for operation in item.values():
            assert operation["operationId"] not in names
            names.add(operation["operationId"])
            check_parameters(path, operation)
            check_responses(operation["responses"])


def check_parameters(path: str, operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    keys = [(parameter["name"], parameter["in"]) for parameter in parameters]
    assert len(keys) == len(set(keys))
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", path))
    for parameter in parameters:
        assert parameter["in"] in {"path", "query", "header"}
        assert "schema" in parameter
        assert parameter["in"] != "path" or parameter["required"] is True
    if "requestBody" in operation:
        for media in operation["requestBody"]["content"].values():
            assert media["schema"]


def check_responses(responses: dict[str, Any]) -> None:
    assert any(status.startswith("2") for status in responses)
    for status, response in responses.items():
        assert re.fullmatch(r"[1-5]\d\d", status)
        assert response["description"]
        for media in response["content"].values():
            assert isinstance(media["schema"], dict)
        if int(status) >= 400:
            assert set(response["content"]) == {"application/problem+json"}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    described = document()
    wanted = {node["$ref"] for node in nodes(described) if "$ref" in node}
    there = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert wanted == there


def test_every_schema_says_what_it_is() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema.get("description") or "enum" in schema, name


@pytest.mark.parametrize(
    ("path", "method", "required"),
    [
        ("/api/v1/deployments", "post", True),
        ("/api/v1/services/{name}/rollback", "post", True),
        ("/api/v1/services/{name}/pause", "post", False),
        ("/api/v1/incidents/{id}/acknowledge", "post", False),
    ],
)
def test_a_body_is_required_where_it_has_required_keys(path: str, method: str, required: bool) -> None:
    assert document()["paths"][path][method]["requestBody"]["required"] is required


async def test_answers_have_exactly_the_described_fields(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    url = await serve()
    described = document()
    nouns = ("services", "rules", "deployments", "incidents", "rollbacks", "silences", "outbox", "audit")
    for noun in nouns:
        content = described["paths"][f"/api/v1/{noun}"]["get"]["responses"]["200"]["content"]
        name = content["application/json"]["schema"]["properties"]["items"]["items"]["$ref"].rpartition("/")[
            2
        ]
        fields = set(described["components"]["schemas"][name]["properties"])
        async with operator.get(f"{url}/api/v1/{noun}") as answer:
            for item in (await answer.json())["items"]:
                assert set(item) == fields, noun
