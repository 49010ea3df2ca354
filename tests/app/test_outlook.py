"""Would a rollback work now? What the doctor says is what the guards would say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.app.test_doctor import GREEN_LIVE, HERE, Clinic, configuration
from watchdog.app.finding import Health
from watchdog.config.loaded import Provider, Server
from watchdog.core.traffic import VariantState
from watchdog.sources.prometheus import PrometheusSettings
from watchdog.testing.traffic import FakeSwitch


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


async def test_a_mark_on_the_target_is_a_warning(clinic: Clinic) -> None:
    clinic.switch.pause("database migration")
    assert await clinic.troubles() == [
        ("switch of trips", Health.WARN, "paused by a mark on the target: database migration")
    ]


@pytest.mark.parametrize(
    ("live_ready", "blue_ready", "told"),
    [(10, 8, []), (10, 7, ["blue: 7 of 10 ready, 8 needed"]), (5, 7, ["blue: 7 of 10 ready, 8 needed"])],
)
async def test_the_standby_must_stand_in_for_all_that_is_live_ready_or_not_as_the_guard_counts(
    clinic: Clinic, live_ready: int, blue_ready: int, told: list[str]
) -> None:
    clinic.switch = FakeSwitch(
        {
            "blue": VariantState(weight=0, version="v1", ready=blue_ready, total=10),
            "green": VariantState(weight=100, version="v2", ready=live_ready, total=10),
        }
    )
    found = [detail for _, health, detail in await clinic.troubles() if health is Health.BAD]
    assert found == [f"no rollback now: {one}" for one in told]


@pytest.mark.parametrize(
    ("server", "address", "what"),
    [
        (Server(), "127.0.0.1:9911", "this watchdog itself"),
        (Server(), "localhost:9911", "this watchdog itself"),
        (Server(host="localhost"), "127.0.0.1:9911", "this watchdog itself"),
        (Server(host="0.0.0.0"), "127.0.0.7:9911", "this watchdog itself"),
        (Server(host="::"), "[::1]:9911", "this watchdog itself"),
        (Server(host="10.0.0.7"), "10.0.0.7:9911", "this watchdog itself"),
        (Server(), "Prometheus.example:80", "source 'numbers'"),
        (Server(), "127.0.0.1:9912", ""),
        (Server(), "10.0.0.8:9911", ""),
        (Server(host="0.0.0.0"), "10.0.0.8:9911", ""),
        (Server(), "127.0.0.2:9911", ""),
        (Server(), "prometheus.example:9911", ""),
        (Server(), "nowhere", ""),
        (Server(), "unix:/run/9911", ""),
    ],
    ids=str,
)
async def test_a_server_that_is_the_watchdog_or_its_source_is_bad(
    clinic: Clinic, server: Server, address: str, what: str
) -> None:
    settings = PrometheusSettings(url="http://prometheus.example/")
    source = Provider(kind="prometheus", settings=settings, at=HERE)
    clinic.configuration = replace(configuration(clinic.tmp_path), server=server, sources={"numbers": source})
    blue = VariantState(weight=0, version="v1", ready=2, total=2, addresses=(address,))
    clinic.switch = FakeSwitch({"blue": blue, "green": GREEN_LIVE})
    expected = f"{address} of blue is {what}: a rollback would end in the dark"
    assert await clinic.troubles() == ([("switch of trips", Health.BAD, expected)] if what else [])
