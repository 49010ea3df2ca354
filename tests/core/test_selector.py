"""Selectors are read and matched as Prometheus does, and no pattern can stop the loop."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.selector import Matcher, Operator, Selector, compile_pattern, parse_selector


def accepted(selector: str, **labels: str) -> bool:
    return parse_selector(selector).accepts(labels)


def test_a_bare_name_selects_every_series_of_the_metric() -> None:
    assert parse_selector(" http_requests_total ") == Selector("http_requests_total")
    assert parse_selector("a{}") == Selector("a")
    assert accepted("a", status="500")


def test_every_operator_is_read() -> None:
    assert parse_selector('a:b{c="d", e != \'f\',g=~`h\\d`,i!~"j",}') == Selector(
        "a:b",
        (
            Matcher("c", Operator.EQUAL, "d"),
            Matcher("e", Operator.NOT_EQUAL, "f"),
            Matcher("g", Operator.MATCHES, "h\\d"),
            Matcher("i", Operator.MATCHES_NOT, "j"),
        ),
    )


def test_the_name_may_stand_inside_the_braces() -> None:
    assert parse_selector('{__name__="a",b="c"}') == Selector("a", (Matcher("b", Operator.EQUAL, "c"),))


def test_escapes_are_those_of_promql() -> None:
    (matcher,) = parse_selector(r'a{b="\\ \" \n \x41 \u00e9 \U0001F600 \101"}').matchers
    assert matcher.value == '\\ " \n A é 😀 A'


@pytest.mark.parametrize(
    ("selector", "word"),
    [
        ("", "begins with the name"),
        ('{b="c"}', "begins with the name"),
        ("a[5m]", r"\[5m\]"),
        ("a offset 5m", "offset"),
        ("sum(a)", r"\(a\)"),
        ("a # all of them", "# all"),
        ('a{b="c"', "closing brace"),
        ("a{b=c}", 'LABEL="VALUE"'),
        ('a{b="c" d="e"}', "comma"),
        ('a{b="c"} or c', "or c"),
        ('a{__name__="b"}', "named once"),
        ('{__name__=~"a|b"}', "named once"),
        (r'a{b="\d"}', r"escape \\d"),
        (r'a{b="\ud800"}', "no character"),
        ('a{b="c\nd"}', 'LABEL="VALUE"'),
    ],
)
def test_what_is_no_selector_is_refused_with_words(selector: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_selector(selector)


def test_a_label_that_is_missing_is_the_empty_text() -> None:
    assert accepted('a{b=""}')
    assert accepted('a{b!="c"}')
    assert accepted('a{b=~".*"}')
    assert not accepted('a{b=~".+"}')
    assert not accepted('a{b="c"}')


def test_patterns_match_the_whole_value() -> None:
    assert accepted('a{status=~"5.."}', status="503")
    assert not accepted('a{status=~"5.."}', status="5030")
    assert not accepted('a{status=~"5.."}', status="1503")
    assert accepted('a{status=~"4..|5.."}', status="404")
    assert not accepted('a{status!~"4..|5.."}', status="404")
    assert accepted('a{path=~"/api/.*|/v2/.*|/x/.*|/y/.*|/z/.*"}', path="/z/1")
    assert not accepted('a{b=~"x"}', b="x\n")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("(?i)get", "GET"),
        ("(?:a|b)c", "bc"),
        ("(?P<n>a)", "a"),
        (r"v1\.\d+", "v1.22"),
        ("[]a]+", "]a"),
        ("[^]a]", "b"),
        ("[a&&b]", "&"),
        ("[[a]", "["),
        (r"[a\]]", "]"),
        ("a{2,3}", "aaa"),
        ("a{x", "a{x"),
        ("a??b", "b"),
    ],
)
def test_patterns_mean_what_they_mean_in_re2(pattern: str, value: str) -> None:
    assert compile_pattern(pattern).fullmatch(value)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?<!a)b",
        r"(a)\1",
        "(?P=n)",
        "(?>a)",
        "(?(1)a|b)",
        "a++",
        "a**",
        r"\pL",
        r"\Qa\E",
        "[[:alpha:]]",
        "a{,3}",
        "[a",
        "(a",
        "a)",
        "*a",
        "\\",
        "a" * 1001,
        "(a+)+",
        "(a|a)*",
        "(a?){30}a{30}",
        "((a*)b?)*",
        ".*.*.*.*",
        "a?" * 33,
        "(a|a)" * 33,
        "a{2}{3}",
    ],
)
def test_what_differs_or_may_explode_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        compile_pattern(pattern)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*"ab.|()*+?", "{2}", "{1,}", "(?:", "[ab]"]), max_size=12).map("".join))
def test_no_accepted_pattern_takes_long(pattern: str) -> None:
    try:
        compiled = compile_pattern(pattern)
    except ValueError:
        return
    began = time.process_time()
    for value in ("a" * 200 + "!", "ab" * 100 + "!"):
        compiled.fullmatch(value)
    assert time.process_time() - began < 2


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_any_text_is_a_selector_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_selector(text).name
