"""Which checks exist, how often they are polled, and what exactly they ask."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import CRITICAL, OK, ROLLBACK, Scenario, of_service, probe, rule
from watchdog.core.check import CheckId
from watchdog.core.checks import (
    WATCH_CLOSELY,
    checks_of,
    filled_form,
    looks_every,
    polls,
    rule_of,
    values_for,
)
from watchdog.core.events import OutcomeKind
from watchdog.core.rule import Holds, ProbeForm, Query, Ratio
from watchdog.core.variables import Quoting

RECHECK = timedelta(seconds=5)


def intervals(scenario: Scenario) -> dict[str, float]:
    found = polls(scenario.service, recheck=RECHECK, now=scenario.now).alone
    return {str(check): interval.total_seconds() for check, interval in found.items()}


def names(scenario: Scenario) -> list[str]:
    return sorted(str(check) for check in checks_of(scenario.service))


def test_a_rule_that_names_the_version_is_one_check_for_each_live_one() -> None:
    scenario = Scenario(rule(), of_service()).traffic(blue=1, green=1, red=0)

    assert names(scenario) == ["trips/errors@blue", "trips/errors@green", "trips/load"]


def test_a_rule_that_names_the_variant_is_too() -> None:
    scenario = Scenario(rule(query='errors{variant="$variant"}')).traffic(blue=1, green=1)

    assert names(scenario) == ["trips/errors@blue/blue", "trips/errors@green/green"]


def test_before_traffic_is_known_only_the_service_s_own_checks_exist() -> None:
    assert names(Scenario(rule(), of_service())) == ["trips/load"]


def test_a_pending_version_is_not_asked_about() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")

    assert names(scenario) == ["trips/errors@blue"]


def test_a_quiet_check_is_polled_at_its_rule_s_interval() -> None:
    scenario = Scenario(rule(), of_service(interval=timedelta(minutes=5))).traffic(blue=1, green=0)

    assert intervals(scenario) == {"trips/errors@blue": 30, "trips/load": 300}


def test_a_pending_hold_is_polled_at_the_recheck_interval() -> None:
    scenario = Scenario(rule(hold=Holds()), of_service()).traffic(blue=1, green=0).after("30s")
    scenario.observe("errors", value=CRITICAL)

    assert intervals(scenario) == {"trips/errors@blue": 5, "trips/load": 30}


def test_a_rule_polled_more_often_than_rechecks_keeps_its_pace() -> None:
    scenario = (
        Scenario(rule(interval=timedelta(seconds=1), hold=Holds())).traffic(blue=1, green=0).after("30s")
    )
    scenario.observe(value=CRITICAL)

    assert intervals(scenario) == {"trips/errors@blue": 1}


def test_rechecks_end_after_ten_minutes() -> None:
    scenario = Scenario(rule(hold=Holds())).traffic(blue=1, green=0).after("30s").observe(value=ROLLBACK)
    assert intervals(scenario) == {"trips/errors@blue": 5}

    scenario.after("10m1s")

    assert intervals(scenario) == {"trips/errors@blue": 30}


def test_the_rules_that_confirm_are_polled_with_what_they_confirm() -> None:
    scenario = Scenario(rule(hold=Holds()), rule("latency"), confirm=("latency",)).traffic(blue=1, green=0)
    scenario.after("30s")
    assert intervals(scenario)["trips/latency@blue"] == 30

    scenario.observe("errors", value=CRITICAL)

    assert intervals(scenario)["trips/latency@blue"] == 5


def test_what_is_verified_is_polled_at_the_recheck_interval() -> None:
    scenario = Scenario(rule(), of_service()).green_deployed().green_is_bad(rule="errors").after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))

    assert intervals(scenario) == {"trips/errors@blue": 5, "trips/load": 30}


def test_a_pending_rule_that_was_removed_does_not_break_the_plan() -> None:
    scenario = Scenario(rule(hold=Holds()), of_service(hold=Holds())).traffic(blue=1, green=0).after("30s")
    scenario.observe("errors", value=ROLLBACK).observe("load", value=ROLLBACK)

    scenario.configure(rules=(of_service(hold=Holds()),))

    assert intervals(scenario) == {"trips/load": 5}


def test_a_check_of_an_open_incident_runs_by_the_rule_it_was_opened_with() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s").observe(value=CRITICAL)
    check, old = scenario.check(), scenario.rules[0]

    scenario.configure(rules=(rule(query='other{version="$version"}', interval=timedelta(minutes=5)),))

    assert rule_of(scenario.service, check) == old
    assert intervals(scenario) == {"trips/errors@blue": 30}
    for _ in range(2):
        scenario.after("10s").observe(value=OK)
    assert rule_of(scenario.service, check) == scenario.rules[0]


def test_a_rule_that_changed_its_kind_is_asked_both_ways_until_its_incident_is_over() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s").observe(value=CRITICAL)

    scenario.configure(rules=(of_service("errors"),))

    assert names(scenario) == ["trips/errors", "trips/errors@blue"]


def test_an_unknown_check_has_no_rule() -> None:
    assert rule_of(Scenario().service, CheckId(service="trips", rule="nonsense")) is None


# -- what is asked


def test_variables_are_filled_with_the_live_version() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v1", "blue")
    scenario.post("v2", "green")

    values = values_for(scenario.service, scenario.check())

    assert values == {
        "service": "trips",
        "environment": "production",
        "version": "v1",
        "variant": "blue",
        "deployment": scenario.on("blue").id,
    }


def test_a_check_of_the_whole_service_asks_about_the_newest_live_version() -> None:
    scenario = Scenario(of_service(), labels={"team": "booking"}).traffic(blue=1, green=0)
    scenario.after("5s").traffic(blue=1, green=1)

    values = values_for(scenario.service, scenario.check())

    assert (values["version"], values["label.team"]) == ("green", "booking")


def test_before_anything_is_live_variables_are_empty() -> None:
    scenario = Scenario(of_service())

    assert values_for(scenario.service, scenario.check())["version"] == ""


HOSTILE = 'v1"} or vector(1) #'


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            Ratio(bad='bad{v="$version"}', total='all{s="$service"}'),
            Ratio(bad='bad{v="v1\\"} or vector(1) #"}', total='all{s="trips"}'),
        ),
        (
            Query(query='q{v="$version"}', events='e{v="$version"}', freshness='f{v="$version"}'),
            Query(
                query='q{v="v1\\"} or vector(1) #"}',
                events='e{v="v1\\"} or vector(1) #"}',
                freshness='f{v="v1\\"} or vector(1) #"}',
            ),
        ),
        (Query(query="up"), Query(query="up")),
        (
            ProbeForm(kind="http", settings={"url": "http://$service/$version", "expect": {"status": 200}}),
            ProbeForm(
                kind="http",
                settings={
                    "url": "http://trips/v1%22%7D%20or%20vector%281%29%20%23",
                    "expect": {"status": 200},
                },
            ),
        ),
        (
            ProbeForm(
                kind="command",
                settings={"argv": ["look", "--at=$version", "$service"], "environment": {"V": "$version"}},
            ),
            ProbeForm(
                kind="command",
                settings={
                    "argv": ["look", f"--at={HOSTILE}", "trips"],
                    "environment": {"V": HOSTILE},
                },
            ),
        ),
        (
            ProbeForm(
                kind="http",
                settings={"expect": {"header": {"url": "$version", "x": {"matches": "^$version"}}}},
                quoting={"expect.header.*.matches": Quoting.PATTERN},
            ),
            ProbeForm(
                kind="http",
                settings={
                    "expect": {
                        "header": {"url": HOSTILE, "x": {"matches": r'^v1"\}\ or\ vector\(1\)\ \#'}},
                    }
                },
                quoting={"expect.header.*.matches": Quoting.PATTERN},
            ),
        ),
    ],
)
def test_a_value_is_quoted_for_where_it_goes(
    form: Ratio | Query | ProbeForm, expected: Ratio | Query | ProbeForm
) -> None:
    values = {"service": "trips", "version": HOSTILE}

    assert filled_form(rule(form=form), values) == expected


def test_a_probe_is_a_check_like_others() -> None:
    assert names(Scenario(probe()).traffic(blue=1, green=0)) == ["trips/healthy"]


def test_a_switch_is_read_closely_while_it_is_moved_and_proved() -> None:
    scenario, often, more = Scenario().green_deployed(), RECHECK, timedelta(milliseconds=500)
    assert looks_every(scenario.service, often) == often

    scenario.green_is_bad()
    assert looks_every(scenario.service, often) == WATCH_CLOSELY
    assert looks_every(scenario.service, more) == more

    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    assert looks_every(scenario.service, often) == WATCH_CLOSELY
