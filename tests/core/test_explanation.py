from __future__ import annotations

import pytest

from tests.core.series import Check, at, errors, number, pulse, query_rule, ratio_rule
from watchdog.core import explanation
from watchdog.core.check import Reason
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.rule import Direction, Evidence, Thresholds, Unit


def test_a_breach_names_share_events_window_and_limit() -> None:
    verdict = Check(ratio_rule()).verdict(errors(0.5, 0, events=412))
    assert verdict.explanation == "50% of 412 events were bad in 1m, above 1.5%"


def test_a_good_share_is_called_good() -> None:
    below = ratio_rule(Thresholds(critical=0.99, rollback=0.985), direction=Direction.BELOW)
    assert (
        Check(below).verdict(errors(0.4, 0)).explanation == "40% of 1000 events were good in 1m, below 98.5%"
    )
    assert (
        Check(below).verdict(errors(1.0, 0)).explanation == "100% of 1000 events were good in 1m, within 99%"
    )


def test_thin_evidence_is_named() -> None:
    one_of_forty = Value(value=0.025, at=at(0), events=40.0, bad=1.0)
    assert Check(ratio_rule()).verdict(one_of_forty).explanation == (
        "2.5% of 40 events were bad in 1m, above 1.5%, which is not significant: "
        "with 99% confidence it is only known to be beyond 0.34%"
    )


def test_rounding_never_makes_a_breach_look_like_an_equality() -> None:
    rule = query_rule(Thresholds(critical=1.0), unit=Unit.SECONDS)
    assert Check(rule).verdict(number(1.0001, 0)).explanation == "1s, just above 1s"
    assert Check(rule).verdict(number(1.0, 0)).explanation == "1s, within 1s"


def test_a_query_names_its_events_when_it_has_them() -> None:
    rule = query_rule(Thresholds(critical=1000), evidence=Evidence(min_events=50, bound=False))
    assert (
        Check(rule).verdict(number(1500, 0, events=80)).explanation == "1500 from 80 events in 1m, above 1000"
    )
    assert Check(rule).verdict(number(1500, 0, events=8)).explanation == "8 events in 1m, a verdict needs 50"


def test_every_unknown_reason_has_its_sentence_and_keeps_the_detail() -> None:
    check = Check(query_rule(Thresholds(critical=1)))
    said = {check.verdict(NoData(reason=reason), now=0).explanation for reason in NoDataReason}
    said |= {check.verdict(Failed(reason=reason), now=0).explanation for reason in FailReason}
    assert len(said) == len(NoDataReason) + len(FailReason)
    refused = Failed(reason=FailReason.UNREACHABLE, detail="connection refused")
    assert check.verdict(refused, now=0).explanation == "the source cannot be reached: connection refused"


@pytest.mark.parametrize(
    ("failures", "detail", "text"),
    [
        (0, "", "the probe passed"),
        (1, "", "1 probe failed"),
        (3, "status 503", "3 probes in a row failed: status 503"),
    ],
)
def test_probes_count_their_failures(failures: int, detail: str, text: str) -> None:
    assert explanation.of_probe(failures, detail) == text


def test_a_quarantine_says_when_it_ends() -> None:
    assert explanation.of_quarantine(at(75)) == (
        "the source was away; samples count again from 10:01:15Z, when a full window of them exists"
    )
    assert explanation.of_quarantine(None) == (
        "the source was away; samples count again when a full window of them exists"
    )


def test_a_probes_answer_to_a_query_is_not_understood() -> None:
    verdict = Check(query_rule(Thresholds(critical=1))).verdict(pulse(0, passed=False))
    assert verdict.reason is Reason.MALFORMED
    assert verdict.explanation.startswith("the answer cannot be understood: ")
