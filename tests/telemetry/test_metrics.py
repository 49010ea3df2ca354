from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.daemon import CHECK, HOTELS, NOW, TRIPS, view
from watchdog import __version__
from watchdog.core.check import CheckId, Reason, Verdict
from watchdog.core.rule import Level
from watchdog.core.view import CheckView, View
from watchdog.telemetry.metrics import Metrics

#: Every name of design §8.
NAMES = {
    "watchdog_check_value",
    "watchdog_check_level",
    "watchdog_rule_last_data_timestamp_seconds",
    "watchdog_source_up",
    "watchdog_source_query_seconds",
    "watchdog_decision_seconds",
    "watchdog_switch_seconds",
    "watchdog_rollbacks_total",
    "watchdog_rollback_ready",
    "watchdog_guard_vetoes_total",
    "watchdog_outbox_pending",
    "watchdog_notifications_total",
    "watchdog_loop_lag_seconds",
    "watchdog_is_leader",
    "watchdog_config_last_reload_successful",
    "watchdog_config_last_reload_success_timestamp_seconds",
    "watchdog_build_info",
}


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(view)


def test_every_name_of_the_contract_is_there(metrics: Metrics) -> None:
    described = {
        line.split()[2] for line in metrics.render().decode().splitlines() if line.startswith("# TYPE")
    }
    assert described >= NAMES


def test_no_series_says_when_another_was_made(metrics: Metrics) -> None:
    metrics.count_veto("armed")
    metrics.observe_query("prometheus", 0.1)
    assert b"_created" not in metrics.render()


def test_every_metric_is_explained(metrics: Metrics) -> None:
    for family in text_string_to_metric_families(metrics.render().decode()):
        assert family.documentation.strip().endswith("."), family.name


def test_what_happened_is_counted(metrics: Metrics) -> None:
    metrics.observe_query("prometheus", 0.002)
    metrics.observe_decision(0.03)
    metrics.observe_switch("trips", 0.004)
    metrics.count_rollback("trips", "completed")
    metrics.count_veto("armed")
    metrics.count_veto("armed")
    metrics.count_notification("ops", "ok")
    metrics.set_outbox(3)
    metrics.set_loop_lag(0.25)
    metrics.config_taken(NOW)
    metrics.config_refused()
    assert value(metrics, "watchdog_source_query_seconds_count", source="prometheus") == 1
    assert value(metrics, "watchdog_source_query_seconds_sum", source="prometheus") == 0.002
    assert value(metrics, "watchdog_decision_seconds_bucket", le="0.05") == 1
    assert value(metrics, "watchdog_decision_seconds_bucket", le="0.02") == 0
    assert value(metrics, "watchdog_switch_seconds_sum", service="trips") == 0.004
    assert value(metrics, "watchdog_rollbacks_total", service="trips", outcome="completed") == 1
    assert value(metrics, "watchdog_guard_vetoes_total", guard="armed") == 2
    assert value(metrics, "watchdog_notifications_total", channel="ops", outcome="ok") == 1
    assert value(metrics, "watchdog_outbox_pending") == 3
    assert value(metrics, "watchdog_loop_lag_seconds") == 0.25
    assert value(metrics, "watchdog_config_last_reload_successful") == 0
    taken = value(metrics, "watchdog_config_last_reload_success_timestamp_seconds")
    assert taken == NOW.timestamp()
    metrics.config_taken(NOW)
    assert value(metrics, "watchdog_config_last_reload_successful") == 1


def test_the_view_becomes_samples(metrics: Metrics) -> None:
    check = {"service": "trips", "rule": "error-rate", "version": "v2"}
    assert value(metrics, "watchdog_check_value", **check) == 0.2
    assert value(metrics, "watchdog_check_level", **check) == 2
    assert (
        value(metrics, "watchdog_rule_last_data_timestamp_seconds", rule="error-rate") == NOW.timestamp() - 1
    )
    assert value(metrics, "watchdog_source_up", source="prometheus") == 1
    assert value(metrics, "watchdog_source_up", source="new") is None
    assert value(metrics, "watchdog_rollback_ready", service="trips") == 1
    assert value(metrics, "watchdog_rollback_ready", service="hotels") == 0
    assert value(metrics, "watchdog_is_leader") == 1


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (Level.OK, 0),
        (Level.WARNING, 1),
        (Level.CRITICAL, 2),
        (Level.ROLLBACK, 3),
        (Level.UNKNOWN, -1),
    ],
)
def test_levels_are_numbers(level: Level, number: int) -> None:
    metrics = Metrics(lambda: with_check(msgspec.structs.replace(CHECK, level=level)))
    assert value(metrics, "watchdog_check_level", service="trips", rule="error-rate", version="v2") == number


def test_of_a_version_on_two_variants_the_worst_is_the_one_number() -> None:
    fine = msgspec.structs.replace(
        CHECK, level=Level.OK, id=msgspec.structs.replace(CHECK.id, variant="blue")
    )
    metrics = Metrics(lambda: with_check(fine, CHECK, fine))
    written = [
        line for line in metrics.render().decode().splitlines() if line.startswith("watchdog_check_level{")
    ]

    assert len(written) == 1
    assert value(metrics, "watchdog_check_level", service="trips", rule="error-rate", version="v2") == 2


def test_a_check_without_a_number_has_a_level_and_no_value() -> None:
    nothing = CheckView(
        id=CheckId(service="trips", rule="healthy"),
        level=Level.UNKNOWN,
        held=Level.OK,
        latched=Level.OK,
    )
    metrics = Metrics(lambda: with_check(nothing))
    labels = {"service": "trips", "rule": "healthy", "version": ""}
    assert value(metrics, "watchdog_check_level", **labels) == -1
    assert value(metrics, "watchdog_check_value", **labels) is None
    assert value(metrics, "watchdog_rule_last_data_timestamp_seconds", rule="healthy") is None


def test_that_nothing_answers_is_shown(metrics: Metrics) -> None:
    assert value(metrics, "watchdog_cut_off") == 0
    cut = Metrics(lambda: msgspec.structs.replace(view(), cut_off_at=NOW))
    assert value(cut, "watchdog_cut_off") == 1


def check_of(rule: str, reason: Reason, **facts: Any) -> CheckView:
    return CheckView(
        id=CheckId(service="trips", rule=rule),
        level=Level.UNKNOWN,
        held=Level.OK,
        latched=Level.OK,
        verdict=Verdict(level=Level.UNKNOWN, reason=reason, at=NOW),
        **facts,
    )


def test_a_rule_that_never_had_data_says_zero_so_that_an_alert_can_be_written() -> None:
    never = check_of("renamed", Reason.EMPTY, blind_since=NOW - timedelta(minutes=7))
    quiet = check_of("quiet", Reason.TOO_FEW_EVENTS, last_data_at=NOW - timedelta(days=1))
    metrics = Metrics(lambda: with_check(never, quiet, check_of("new", Reason.QUARANTINE)))
    last = {
        rule: value(metrics, "watchdog_rule_last_data_timestamp_seconds", rule=rule)
        for rule in ("renamed", "quiet", "new")
    }
    assert last == {"renamed": 0, "quiet": NOW.timestamp(), "new": None}


def test_a_check_that_is_blind_in_one_service_is_seen_although_others_have_data() -> None:
    since = NOW - timedelta(minutes=7)
    metrics = Metrics(lambda: with_check(CHECK, check_of("error-rate", Reason.STALE, blind_since=since)))
    name = "watchdog_check_blind_since_timestamp_seconds"
    labels = {"service": "trips", "rule": "error-rate"}
    assert value(metrics, name, **labels, version="") == since.timestamp()
    assert value(metrics, name, **labels, version="v2") is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_value(number: float) -> None:
    assert CHECK.verdict is not None
    odd = msgspec.structs.replace(CHECK, verdict=msgspec.structs.replace(CHECK.verdict, value=number))
    metrics = Metrics(lambda: with_check(odd))
    assert value(metrics, "watchdog_check_value", service="trips", rule="error-rate", version="v2") is None


def test_what_is_gone_leaves_no_series_behind() -> None:
    shown: list[View | None] = [view(), msgspec.structs.replace(view(), services={"hotels": HOTELS}), None]
    metrics = Metrics(lambda: shown[0])
    assert value(metrics, "watchdog_rollback_ready", service="trips") == 1
    shown.pop(0)
    assert value(metrics, "watchdog_rollback_ready", service="trips") is None
    assert value(metrics, "watchdog_rollback_ready", service="hotels") == 0
    shown.pop(0)
    assert value(metrics, "watchdog_is_leader") is None
    assert value(metrics, "watchdog_outbox_pending") == 0


def test_labels_are_escaped() -> None:
    odd = msgspec.structs.replace(TRIPS, name='a"b\\c\nd')
    metrics = Metrics(lambda: msgspec.structs.replace(view(), services={odd.name: odd}))
    assert value(metrics, "watchdog_rollback_ready", service='a"b\\c\nd') == 1


def test_two_watchdogs_in_one_process_do_not_share_numbers() -> None:
    one, other = Metrics(view), Metrics(view)
    one.count_veto("armed")
    assert value(other, "watchdog_guard_vetoes_total", guard="armed") is None


def test_the_build_is_named(metrics: Metrics) -> None:
    assert any(
        name == "watchdog_build_info" and ("version", __version__) in labels and number == 1
        for (name, labels), number in samples(metrics).items()
    )


def with_check(*checks: CheckView) -> View:
    return msgspec.structs.replace(view(), services={"trips": msgspec.structs.replace(TRIPS, checks=checks)})
