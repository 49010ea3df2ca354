"""The OpenAPI 3.1 document, made from the table of routes and the types of bodies and answers.

Nothing is described by hand: what is missing here is missing in the table.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from pydantic.json_schema import models_json_schema

from watchdog import __version__
from watchdog.api.accepted import Accepted
from watchdog.api.asking import IDEMPOTENCY_KEY
from watchdog.api.context import DEFAULT_LIMIT, MAX_LIMIT
from watchdog.api.problem import MEDIA_TYPE, ProblemDetails, title_of
from watchdog.api.routes import ROUTES, Route
from watchdog.api.signing import HUB, SIGNATURE, TIMESTAMP
from watchdog.core.message import OutgoingState

_REF = "#/components/schemas/{name}"
_FILTERS: dict[str, dict[str, Any]] = {
    "service": {"description": "only those of this service", "schema": {"type": "string"}},
    "subject": {"description": "only those about this subject", "schema": {"type": "string"}},
    "open": {"description": "only those not closed", "schema": {"type": "boolean", "default": False}},
    "state": {
        "description": "only those in this state",
        "schema": {"type": "string", "enum": [state.value for state in OutgoingState]},
    },
    "channel": {"description": "only those of this channel", "schema": {"type": "string"}},
    "active": {"description": "only those not ended", "schema": {"type": "boolean", "default": False}},
}
#: What can go wrong, by what a route needs; 500 and 503 always can.
_READ_ERRORS = (400, 401, 403)
_WRITE_ERRORS = (400, 401, 403, 404, 408, 409, 413, 415, 422)
_CALLBACK_ERRORS = (400, 401, 404, 408, 413)


def document() -> dict[str, Any]:
    """The whole document, ready for JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rollback Watchdog",
            "version": __version__,
            "summary": "What the watchdog sees, and what people ask of it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": HUB,
                    "description": "HMAC-SHA256 of the body with a token as the secret, as GitHub signs its events",
                },
                "timedSignature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": SIGNATURE,
                    "description": f"`v1=` and HMAC-SHA256 of {TIMESTAMP} (Unix seconds), a full stop and the body, "
                    "with a token as the secret; for five minutes, and once",
                },
            },
        },
    }


def _schemas() -> dict[str, Any]:
    answers = {answer for route in ROUTES for answer in (route.answer, route.or_answer) if answer is not None}
    shown: set[type[msgspec.Struct]] = {*answers, Accepted, ProblemDetails}
    in_order = sorted(shown, key=lambda shape: shape.__name__)
    _, of_answers = msgspec.json.schema_components(in_order, ref_template=_REF)
    bodies = sorted(
        {body for route in ROUTES for body in (route.body, route.or_body) if body is not None},
        key=lambda body: body.__name__,
    )
    _, of_bodies = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    return {**of_answers, **of_bodies["$defs"]}


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler,
        "summary": route.summary,
        "responses": _responses(route),
        "security": _security(route),
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {"application/json": {"schema": _either(route.body, route.or_body)}},
        }
    if route.called_back:
        operation["requestBody"] = {
            "required": True,
            "content": {route.called_back: {"schema": {"type": "object"}}},
        }
    return operation


def _security(route: Route) -> list[dict[str, Any]]:
    if route.role is None:
        return []
    return [{"token": []}, {"signature": []}, {"timedSignature": []}] if route.signed else [{"token": []}]


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    found += [{"name": name, "in": "query", **_FILTERS[name]} for name in route.filters]
    if route.many:
        limit = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        found.append({"name": "cursor", "in": "query", "schema": {"type": "string"}})
        found.append({"name": "limit", "in": "query", "schema": limit})
    if route.body is not None and route.keyed:
        description = "repeating a request with the same key gives the same answer and asks only once"
        found.append(
            {
                "name": IDEMPOTENCY_KEY,
                "in": "header",
                "description": description,
                "schema": {"type": "string", "maxLength": 200},
            }
        )
    return found


def _responses(route: Route) -> dict[str, Any]:
    statuses = [status for status in (route.status, route.or_status) if status is not None]
    responses = {str(status): _success(route) for status in statuses}
    if route.body is not None and route.keyed:
        accepted = _content("application/json", _ref(Accepted.__name__), "Stored, not answered yet")
        if "202" in responses:
            either = [
                responses["202"]["content"]["application/json"]["schema"],
                _ref(Accepted.__name__),
            ]
            accepted = _content("application/json", {"anyOf": either}, "Accepted")
        responses["202"] = accepted
    errors: tuple[int, ...] = () if route.role is None else _READ_ERRORS
    if "{" in route.path:
        errors = (*errors, 404)
    if route.body is not None:
        errors = _WRITE_ERRORS
    if route.called_back:
        errors = _CALLBACK_ERRORS
    for status in (*errors, 500, 503):
        responses[str(status)] = _content(MEDIA_TYPE, _ref(ProblemDetails.__name__), title_of(status))
    return responses


def _success(route: Route) -> dict[str, Any]:
    schema: dict[str, Any] = (
        {"type": "object"} if route.media_type == "application/json" else {"type": "string"}
    )
    if route.answer is not None:
        schema = _either(route.answer, route.or_answer)
    if route.many:
        items = {"type": "array", "items": schema}
        cursor = {"type": ["string", "null"], "description": "the cursor of the next page"}
        schema = {
            "type": "object",
            "properties": {"items": items, "next": cursor},
            "required": ["items", "next"],
        }
    return _content(route.media_type, schema, route.summary)


def _content(media_type: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _either(one: type, other: type | None) -> dict[str, Any]:
    refs = [_ref(kind.__name__) for kind in (one, other) if kind is not None]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(name=name)}
