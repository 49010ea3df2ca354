from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.config.promql import check_query, check_selector
from watchdog.core.variables import fill, quote_promql


@pytest.mark.parametrize(
    "selector",
    [
        "http_requests_total",
        "job:requests:rate5m",
        "up{}",
        ' up { job = "a" , } ',
        'up{job="a",instance=~"b.*",zone!="c",rack!~"d"}',
        "up{job='it''s'}".replace("''", '"'),
        "up{job=`raw \\d`}",
        '{job="api"}',
        '{__name__="up"}',
        '{"http.requests"}',
        '{"http.requests", "a.label"="b"}',
        'up{path="/a[0](b){c}"}',
        'up{job="a\\"b"}',
        'up{version="$version",label="${label.team}"}',
    ],
)
def test_a_selector_is_taken_as_it_is(selector: str) -> None:
    assert check_selector(selector) == selector


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("{}", "selects every series"),
        ("{ }", "selects every series"),
        ('{job=""}', "selects every series"),
        ('{job=~".*"}', "selects every series"),
        ("up[5m]", "has a range"),
        ('up{job="a"}[1h:5m]', "has a range"),
        ("sum(up)", "calls a function"),
        ("up offset 5m", "is not a selector"),
        ("up + up", "is not a selector"),
        ("up == 1", "is not a selector"),
        ("up{job=a}", "is not a selector"),
        ('up{job="a"', "is not a selector"),
        ('up{job="a"}}', "is not a selector"),
        ('up{job="a" zone="b"}', "is not a selector"),
        ('up{job=="a"}', "is not a selector"),
        ('up{,job="a"}', "is not a selector"),
        ("1up", "is not a selector"),
        ('up{status=~"5\\d\\d"}', "unknown escape .d; write "),
        ("up{status=~'5\\d'}", "unknown escape .d; write "),
        ('up{job="a}', "is never closed"),
        ("up # all of them", "is not a selector"),
        ("$service_total", "stands outside double quotes"),
        ("up{job=`$service`}", "stands outside double quotes"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_reason(selector: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        check_selector(selector)


@pytest.mark.parametrize(
    "query",
    [
        "1",
        'sum(rate(x{a="("}[5m])) / sum(rate(x[5m]))',
        "sum(x) # ) a bracket in a comment\n + 1",
        "max_over_time(x[1h:5m] offset 1d)",
    ],
)
def test_a_balanced_query_is_taken_as_it_is(query: str) -> None:
    assert check_query(query) == query


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (" ", "is empty"),
        ("sum(x", r"'\(' is never closed"),
        ("sum(x))", r"'\)' closes nothing"),
        ("sum(x]", r"'\]' closes nothing"),
        ('x{a="b}', "is never closed"),
        ("x{a='b}", "is never closed"),
        ("x{a=`b}", "is never closed"),
        ('x{status=~"5\\d"}', "unknown escape .d; write "),
        ("x > $limit", "stands outside double quotes"),
    ],
)
def test_an_unbalanced_query_is_refused(query: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_query(query)


@pytest.mark.parametrize(
    ("written", "ready"),
    [
        ("x{a='$service'}", 'x{a="$service"}'),
        ("x{a='say \"$service\"'}", 'x{a="say \\"$service\\""}'),
        ("x{a='it\\'s $service'}", 'x{a="it\'s $service"}'),
        ("x{a='\\\\d$service'}", 'x{a="\\\\d$service"}'),
        ("x{a='plain'}", "x{a='plain'}"),
    ],
)
def test_single_quotes_around_a_variable_become_double_ones(written: str, ready: str) -> None:
    assert check_query(written) == ready


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_whatever_a_version_is_called_it_stays_one_string(version: str) -> None:
    ready = check_query("max(x{v='$version'})")

    filled = fill(ready, {"version": version}, quote_promql)

    assert check_query(filled.replace("$", "")) == filled.replace("$", "")


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet="ab_{}[]()=~!\"'`\\,$ #\n", max_size=40))
def test_any_text_is_either_taken_or_refused_with_words(text: str) -> None:
    for check in (check_selector, check_query):
        said = "taken"
        try:
            check(text)
        except ValueError as fault:
            said = str(fault)
        assert said
