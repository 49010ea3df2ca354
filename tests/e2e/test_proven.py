"""A rule acts only after it was tried on history, where that is asked for; a good record arms it while it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.stage import Stage

pytestmark = pytest.mark.timeout(60)


def history(file: Path, *, days: int) -> Path:
    """Hourly counts of a service that fails one request in a thousand, up to now."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    moments = [now - timedelta(hours=hour) for hour in range(24 * days, -1, -1)]
    lines = [f"{moment:%Y-%m-%dT%H:%M:%SZ},0.001,10000,10" for moment in moments]
    file.write_text("\n".join(["TimeStamp,Value,Events,Bad", *lines]) + "\n")
    return file


async def test_a_rule_that_nobody_back_tested_switches_nothing_until_its_record_is_there(
    stage: Stage,
) -> None:
    stage.daemon.settings["require_backtest"] = True
    await stage.open()
    stage.apps["green"].control(fail_every=2)
    await stage.deploy("green", "v2")
    blocked = await stage.rollback("blocked")
    assert [(veto["guard"], veto["reason"]) for veto in blocked["vetoes"]] == [
        ("backtested", "never_backtested")
    ]
    (heard,) = await stage.told("rollback_blocked")
    assert "guard backtested" in {fact["name"] for fact in heard["facts"]}
    await stage.polled("error-rate", times=2)
    assert stage.live() == {"green"}

    file = history(stage.folder / "errors.csv", days=8)
    given = ["--service", "trips", "--rule", "error-rate", "--csv", str(file), "--record"]
    said = await stage.daemon.says("backtest", *given, config=True)
    assert said.code == 0, said
    rollback = await stage.rollback("completed")
    assert rollback["id"] == blocked["id"]
    assert stage.live() == {"blue"}
    await stage.audit_holds()
