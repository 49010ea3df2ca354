"""What the doctor says of back-tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.app.test_doctor import RATE, configuration
from watchdog.app.finding import Finding, Health
from watchdog.app.proving import backtests
from watchdog.config.backtests import BackTest, BackTests
from watchdog.core.arming import Proof
from watchdog.core.service import Mode, Service

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MADE = datetime(2026, 10, 31, tzinfo=UTC)
RECORD = BackTest(
    service="trips",
    rule="error-rate",
    judgement=RATE.judgement,
    since=datetime(2026, 10, 1, tzinfo=UTC),
    until=MADE,
    made_at=MADE,
    step_seconds=30,
    samples=86_400,
    known=1.0,
    incidents=0,
    incidents_per_week=0.0,
    rollbacks=0,
)
TRIPS = Service(name="trips", labels={"team": "booking"}, rules=("error-rate", "queue"))


def rows(folder: Path, service: Service = TRIPS, **tests: object) -> list[Finding]:
    gate = BackTests(**tests)  # type: ignore[arg-type]  # each test gives the fields it needs
    return backtests(configuration(folder, services=(service,), backtest=gate), NOW)


def test_a_rule_that_was_back_tested_is_fine(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, records={("trips", "error-rate"): RECORD})
    assert (row.health, row.detail) == (
        Health.OK,
        "1 of 1 rules that may roll back were back-tested as they are",
    )


def test_where_nobody_speaks_of_back_tests_that_there_are_none_is_no_warning(tmp_path: Path) -> None:
    (row,) = rows(tmp_path)
    assert (row.health, row.detail) == (Health.OK, "1 rule that may roll back was never back-tested")
    assert row.advice.startswith("watchdog backtest")


@pytest.mark.parametrize("record", [None, replace(RECORD, judgement="another")])
def test_a_gap_is_a_warning_where_somebody_does(tmp_path: Path, record: BackTest | None) -> None:
    records = {} if record is None else {("trips", "error-rate"): record}
    (row,) = rows(tmp_path, configured=True, records=records)
    assert row.health is Health.WARN
    assert "1 of 1 rules that may roll back have not proved themselves: error-rate was" in row.detail


def test_a_gap_is_bad_where_it_keeps_a_rule_from_acting(tmp_path: Path) -> None:
    proof = Proof(
        judgement=RATE.judgement, reason="never_backtested", detail="error-rate was never back-tested"
    )
    (row,) = rows(tmp_path, replace(TRIPS, proofs={"error-rate": proof}))
    assert row.health is Health.BAD
    assert row.detail == (
        "trips wants them, and will not roll back by error-rate: error-rate was never back-tested"
    )


def test_a_proof_that_is_too_old_is_bad_too(tmp_path: Path) -> None:
    proof = Proof(judgement=RATE.judgement, until=MADE)
    (row,) = rows(tmp_path, replace(TRIPS, proofs={"error-rate": proof}))
    assert row.health is Health.BAD


@pytest.mark.parametrize("service", [replace(TRIPS, mode=Mode.APPROVE), replace(TRIPS, rules=("queue",))])
def test_what_never_acts_by_itself_needs_no_row(tmp_path: Path, service: Service) -> None:
    assert rows(tmp_path, service) == []
