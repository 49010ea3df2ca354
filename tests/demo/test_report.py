from __future__ import annotations

import json

import pytest

from watchdog.demo.play import Story
from watchdog.demo.report import report_of
from watchdog.demo.visitors import Visit, Visitors


def story(**changes: object) -> Story:
    known: dict[str, object] = {
        "began": 1000.0,
        "ended": 1040.0,
        "deployed": 1010.0,
        "broke": 1010.25,
        "seen": 1011.0,
        "decided": 1012.0,
        "switched": 1012.5,
        "recovered": 1018.0,
        "state": "completed",
        "rollback": "rb-1",
        "incident": "inc-1",
    }
    return Story(**{**known, **changes})  # type: ignore[arg-type]  # the test names what it changes


def visits(*moments: tuple[float, bool]) -> Visitors:
    visitors = Visitors(url="http://127.0.0.1:9/")
    visitors.visits = [
        Visit(sent_at=sent, answered_at=sent + 0.01, failed=failed, version="v1") for sent, failed in moments
    ]
    return visitors


SEEN = visits((1001, False), (1009.9, True), (1010.0, True), (1012.4, True), (1012.5, False), (1030, True))


def test_the_line_for_scripts_has_what_it_promises() -> None:
    said = json.loads(report_of(story(), SEEN, switch="haproxy", source="scrape").as_json())
    assert said == {
        "outcome": "rolled_back",
        "breach_to_switch_seconds": 2.25,
        "requests_total": 6,
        "requests_failed": 4,
        "failed_after_switch": 1,
        "switch": "haproxy",
        "source": "scrape",
        "rollback": "rb-1",
        "incident": "inc-1",
    }


def test_it_is_one_line() -> None:
    assert "\n" not in report_of(story(), SEEN, switch="command", source="scrape").as_json()


def test_every_request_is_in_one_of_three_spans() -> None:
    report = report_of(story(), SEEN, switch="command", source="scrape")
    assert (report.before, report.during, report.after) == ((2, 1), (2, 2), (2, 1))
    assert [row[1:] for row in report.requests()] == [("2", "1"), ("2", "2"), ("2", "1")]


@pytest.mark.parametrize("state", ["ineffective", "unverified", "contested", "blocked"])
def test_any_other_end_is_no_success(state: str) -> None:
    report = report_of(story(state=state), SEEN, switch="command", source="scrape")
    assert not report.rolled_back
    assert json.loads(report.as_json())["outcome"] == state


def test_what_did_not_happen_is_null_and_never() -> None:
    report = report_of(
        story(state="failed", broke=None, switched=None, recovered=None, seen=None),
        SEEN,
        switch="command",
        source="scrape",
    )
    said = json.loads(report.as_json())
    assert said["breach_to_switch_seconds"] is None
    assert (said["requests_total"], said["failed_after_switch"]) == (6, 0)
    rows = dict(report.rows())
    assert rows["switched"] == rows["recovered (proved)"] == "never"


def test_the_timeline_counts_from_the_first_failed_request() -> None:
    rows = dict(report_of(story(), SEEN, switch="command", source="scrape").rows())
    assert rows["deployed"].strip() == "-0.250 s"
    assert rows["broke (first failed request)"].strip() == "+0.000 s"
    assert rows["switched"].strip() == "+2.250 s"
