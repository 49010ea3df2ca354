"""Exposition pages are read as they are, and what cannot be read is refused."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from watchdog.core.exposition import Line, read_labels, samples


class Everything:
    """Wants every metric."""

    def __contains__(self, name: object) -> bool:
        return True


def lines(page: str, *, openmetrics: bool = False) -> list[Line]:
    return list(samples(page, Everything(), openmetrics=openmetrics))


def test_samples_are_read_with_labels_values_and_times() -> None:
    page = (
        "# HELP a Some help with { and }.\n"
        "# TYPE a counter\n"
        "\n"
        "a 1\n"
        'a{b="c"} 2.5\n'
        'a{b="}",c="\\"x\\\\",} 3e2 1700000000123\n'
        'a\t{b="c"}\t+Inf \r\n'
        "a {} NaN\n"
        "  # an indented remark\n"
        '{"quoted.name", b="c"} 7\n'
        "a:b 0x1p4"
    )
    found = lines(page.replace(" 0x1p4", " -4"))
    assert [(line.name, line.labels) for line in found] == [
        ("a", ""),
        ("a", 'b="c"'),
        ("a", 'b="}",c="\\"x\\\\",'),
        ("a", 'b="c"'),
        ("a", ""),
        ("a:b", ""),
    ]
    assert [line.value for line in found[:4]] == [1, 2.5, 300, math.inf]
    assert math.isnan(found[4].value)
    assert [line.at for line in found[:3]] == [None, None, 1700000000.123]


def test_only_what_is_wanted_is_read() -> None:
    page = "a_total 1\na 2\nab 3\nb{unreadable 4\n"
    assert [line.value for line in samples(page, {"a"})] == [2]


def test_openmetrics_has_seconds_and_exemplars() -> None:
    page = 'a_total{b="c"} 17 1700000000.5 # {trace_id="x"} 0.67 1700000000.1\na_total 1 # {} 2\n# EOF\n'
    assert [(line.value, line.at) for line in lines(page, openmetrics=True)] == [
        (17, 1700000000.5),
        (1, None),
    ]


@pytest.mark.parametrize(
    "page",
    [
        "<html><body>503</body></html>",
        '{"status": "ok"}',
        "a 1\nnot here\n",
        "a\n",
        'a{b="c"}\n',
        'a{b="c" 1\n',
        'a{b="c} 1\n',
        "a 1_000\n",
        "a one\n",
        "a 1 2 3\n",
        "a 1 1e999\n",
        "a 1 --\n",
        "1a 1\n",
    ],
)
def test_what_is_no_page_is_refused_with_its_line(page: str) -> None:
    with pytest.raises(ValueError, match=r"^line \d"):
        lines(page)


def test_an_openmetrics_page_without_its_end_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        lines("a_total 17\n", openmetrics=True)


def test_labels_are_unescaped_and_empty_ones_left_out() -> None:
    assert read_labels(r'a="x\"y\\z\n" , b="",c = "d",') == {"a": 'x"y\\z\n', "c": "d"}
    assert read_labels("") == {}


@pytest.mark.parametrize(
    "text", ["a", "a=b", 'a="b" c="d"', 'a="b",,', 'a="b",a="c"', f'a="{"x" * 1025}"', '1="b"']
)
def test_labels_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="label"):
        read_labels(text)


LABEL_VALUES = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20
)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(LABEL_VALUES, st.floats(min_value=0, allow_nan=False)), max_size=10))
def test_pages_of_the_official_client_read_as_its_own_parser_reads_them(
    rows: list[tuple[str, float]],
) -> None:
    registry = CollectorRegistry()
    counter = Counter("requests", "All requests.", ["path", "code"], registry=registry)
    for path, amount in rows:
        counter.labels(path=path, code="200").inc(amount)
    page = generate_latest(registry).decode()
    expected = {
        tuple(sorted((name, value) for name, value in sample.labels.items() if value)): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "requests_total"
    }
    wanted = {"requests_total"}
    texts: tuple[tuple[str, bool], ...] = (
        (page, False),
        (generate_openmetrics(registry).decode(), True),  # type: ignore[no-untyped-call]
    )
    for text, openmetrics in texts:
        found = list(samples(text, wanted, openmetrics=openmetrics))
        assert {tuple(sorted(read_labels(line.labels).items())): line.value for line in found} == expected


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_any_text_is_a_page_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        for line in lines(text):
            assert isinstance(read_labels(line.labels), dict)
