from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watchdog.api.bodies import Body, PostedDeployment, PostedReason, PostedRollback, parse
from watchdog.api.problem import Problem

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*PostedDeployment.model_fields, *PostedRollback.model_fields]) | st.text()
OBJECTS = st.dictionaries(KEYS, TREES, max_size=10)
MODELS = st.sampled_from([PostedDeployment, PostedRollback, PostedReason])


def read(model: type[Body], raw: bytes) -> None:
    """Whatever comes in: a body that can be stored and sent on, or a problem that can be answered."""
    try:
        body = parse(model, raw)
    except Problem as caught:
        problem = caught
    else:
        json.dumps(body.model_dump(mode="json"), ensure_ascii=False, allow_nan=False).encode()
        return
    assert problem.status in {400, 422}
    answer = problem.response()
    assert isinstance(answer.body, bytes)
    assert (problem.status == 422) == bool(json.loads(answer.body).get("errors"))


@given(model=MODELS, document=OBJECTS)
@example(model=PostedDeployment, document={"labels": {"\ud800": "x"}})
def test_any_object_is_a_body_or_a_problem(model: type[Body], document: dict[str, Any]) -> None:
    read(model, json.dumps(document).encode())


@given(model=MODELS, raw=st.binary(max_size=200))
@example(model=PostedReason, raw=b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_body_or_a_problem(model: type[Body], raw: bytes) -> None:
    read(model, raw)


@given(text=st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp"]), min_size=1))
@pytest.mark.parametrize("field", ["service", "version", "variant", "source"])
def test_control_characters_never_pass(field: str, text: str) -> None:
    document = {"service": "trips", "version": "v1", "variant": "blue", field: f"a{text}b"}
    with pytest.raises(Problem):
        parse(PostedDeployment, json.dumps(document).encode())


def test_a_reason_may_have_lines_and_loses_its_margins() -> None:
    assert parse(PostedRollback, b'{"reason": "  a\\nb  "}').reason == "a\nb"


def test_the_offending_value_is_not_repeated() -> None:
    with pytest.raises(Problem) as caught:
        parse(PostedDeployment, json.dumps({"service": ["hunter2"], "url": "hunter2"}).encode())
    answer = caught.value.response().body
    assert isinstance(answer, bytes)
    assert b"hunter2" not in answer
