from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.config.scalars import Trap, interpret


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        ("30s", "30s"),
        ("150%", "150%"),
        ("1.4.2", "1.4.2"),
        ("127.0.0.1:9911", "127.0.0.1:9911"),
        ("8080:80", "8080:80"),
        ("y", "y"),
        ("None", "None"),
        ("2026-w05", "2026-w05"),
    ],
)
def test_a_clear_word_is_what_everybody_reads(word: str, value: object) -> None:
    assert interpret(word) == value
    assert type(interpret(word)) is type(value)


@pytest.mark.parametrize(
    "word",
    [
        "yes",
        "No",
        "ON",
        "off",
        "1:30",
        "-1:30:00",
        "1:30.5",
        "010",
        "0x1F",
        "0b11",
        "0o17",
        "1_000",
        "1_0.5",
        "2026-01-31",
        "2026-01-31 10:00:00",
        "2026-1-3T10:00:00Z",
        ".inf",
        "-.INF",
        ".nan",
        "=",
        "1e999",
        "00",
    ],
)
def test_a_word_that_readers_disagree_about_is_a_trap(word: str) -> None:
    with pytest.raises(Trap):
        interpret(word)


@settings(derandomize=True, deadline=None)
@given(st.from_regex(r"[-+]?[0-9_.:exobT~a-f-]{1,8}", fullmatch=True))
def test_nothing_is_read_differently_from_another_reader_without_a_trap(word: str) -> None:
    """YAML 1.1 as PyYAML reads it, and YAML 1.2 numbers as JSON reads them, must agree with us or be refused."""
    try:
        ours = interpret(word)
    except Trap:
        return
    theirs = yaml.SafeLoader.yaml_implicit_resolvers.get(
        word[0], []
    ) + yaml.SafeLoader.yaml_implicit_resolvers.get(None, [])
    tag = next((tag for tag, pattern in theirs if pattern.match(word)), "tag:yaml.org,2002:str")
    if not isinstance(ours, str):
        return
    assert tag == "tag:yaml.org,2002:str"
