"""The page of a back-test: whole in one file, everything escaped, no spike lost."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from msgspec.structs import replace

from tests.lab.test_backtest import report, subject
from tests.lab.tracks import BEGIN, NAN, QUEUE, track
from watchdog.core.burning import Slo
from watchdog.core.rule import Thresholds
from watchdog.lab.backtest import Checked, Stretch, check
from watchdog.lab.history import Unasked
from watchdog.lab.report import Budget
from watchdog.lab.report_chart import HEIGHT, WIDTH, chart
from watchdog.lab.report_html import html_of

EVIL = "<script>alert('1')</script>"


def drawn(checked: Checked) -> ET.Element:
    return ET.fromstring(chart(checked))  # noqa: S314 - our own text


def heights(svg: ET.Element) -> list[float]:
    return [
        float(point.split(",")[1]) for line in svg.iter("polyline") for point in line.attrib["points"].split()
    ]


def month(**spikes: float) -> Checked:
    values = [5.0] * 86_400
    for index, value in spikes.items():
        values[int(index[1:])] = value
    return check(subject(stretches=(Stretch(track=track(*values)),)))


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    page = html_of(report(check(subject(deployments=(BEGIN,)))))
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_whatever_came_from_elsewhere_is_escaped() -> None:
    rule = replace(QUEUE, name=f"q{EVIL}", summary=EVIL)
    checked = check(subject(rule, service=EVIL, notes=(EVIL,)))
    left = Unasked(service=EVIL, rule=EVIL, reason=EVIL)
    page = html_of(report(checked, unasked=(left,), notes=(EVIL,), budget=Budget(rollbacks=0)))
    assert EVIL not in page
    assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;") >= 8


def test_a_page_says_what_the_data_says() -> None:
    page = html_of(report(check(subject(deployments=(BEGIN + 2150 * 30.0,))), budget=Budget(rollbacks=0)))
    for words in (
        "1 of 1 beyond the budget",
        "rollbacks: 1, at most 0",
        "2026-01-01 18:00 (armed)",
        "2 alerts, 14.00 a week, 1 near a deployment",
        "2872 of 2880",
        "4m",
    ):
        assert words in page, words


def test_of_many_incidents_the_first_are_listed() -> None:
    values = [12.0, 12.0, 1.0, 1.0, 1.0] * 60
    page = html_of(report(check(subject(stretches=(Stretch(track=track(*values)),)))))
    assert "… and 10 more." in page


def test_one_spike_in_a_month_is_still_a_spike() -> None:
    svg = drawn(month(i40_000=25.0))
    assert min(heights(svg)) < max(heights(svg)) - 100


def test_a_value_far_beyond_the_thresholds_does_not_flatten_all_others() -> None:
    svg = drawn(month(i40_000=25.0, i50_000=1e9))
    ticks = [text.text or "" for text in svg.iter("text")]
    assert "≥ 150" in ticks
    assert all(0 <= height <= HEIGHT for height in heights(svg))


def test_a_silence_is_a_gap_in_the_line() -> None:
    values = [5.0] * 40_000 + [NAN] * 3_000 + [5.0] * 40_000
    svg = drawn(check(subject(stretches=(Stretch(track=track(*values)),))))
    assert len(list(svg.iter("polyline"))) == 2
    assert [rect.attrib["class"] for rect in svg.iter("rect")] == ["frame", "shade blind"]


def test_few_samples_far_apart_are_one_line() -> None:
    svg = drawn(check(subject(stretches=(Stretch(track=track(1.0, 2.0, 3.0, 2.0)),))))
    assert [line.attrib["points"].count(",") for line in svg.iter("polyline")] == [4]


def test_incidents_rollbacks_and_deployments_are_marked_where_they_were() -> None:
    svg = drawn(check(subject(deployments=(BEGIN + 1440 * 30.0, BEGIN - 1e6))))
    shades = [rect for rect in svg.iter("rect") if rect.attrib["class"].startswith("shade")]
    assert [one.attrib["class"] for one in shades] == ["shade blind", "shade warning", "shade rollback"]
    (deployed,) = [line for line in svg.iter("line") if line.attrib["class"] == "deployed"]
    assert abs(float(deployed.attrib["x1"]) - float(shades[1].attrib["x"])) < 1
    assert len(list(svg.iter("path"))) == 1
    assert [line.attrib["class"] for line in svg.iter("line")][:3] == [
        "limit warning",
        "limit critical",
        "limit rollback",
    ]


def test_nothing_but_silence_can_be_drawn() -> None:
    svg = drawn(check(subject(stretches=(Stretch(track=track(*[NAN] * 30)),))))
    assert not list(svg.iter("polyline"))
    assert svg.attrib["viewBox"] == f"0 0 {WIDTH} {HEIGHT}"


def test_questions_that_failed_have_no_value() -> None:
    failed = np.zeros(100, dtype=np.bool_)
    failed[50] = True
    values: list[float] = [5.0] * 100
    values[50] = 1e6
    svg = drawn(check(subject(stretches=(Stretch(track=track(*values, failed=failed)),))))
    assert min(heights(svg)) == max(heights(svg))


def test_burn_rates_are_drawn_instead_of_shares() -> None:
    slo = Slo(objective=0.99)
    rule = replace(QUEUE, slo=slo, thresholds=Thresholds(warning=1.0, critical=6.0, rollback=14.4))
    svg = drawn(check(subject(rule, stretches=(Stretch(track=track(*[0.02] * 200)),))))
    assert len({round(height) for height in heights(svg)}) == 1
    titles: list[Any] = [line.find("title") for line in svg.iter("line")]
    assert titles[0].text == "warning 1x"
