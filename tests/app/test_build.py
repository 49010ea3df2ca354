from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.app.conftest import Home
from watchdog.app.build import build_channels, build_probes, build_sources, build_switch, build_switches
from watchdog.app.shared import Shared
from watchdog.channels.log import LogChannel
from watchdog.config.loaded import Configuration
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.rule import ProbeForm
from watchdog.core.traffic import Tier
from watchdog.probes.http import HttpProbe
from watchdog.probes.interface import Probe
from watchdog.sources.prometheus import PrometheusSource
from watchdog.sources.scrape import ScrapeSource
from watchdog.testing.clock import StillClock
from watchdog.traffic.command import CommandSwitch
from watchdog.traffic.readiness import WithReadiness

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
CLOCK = StillClock(NOW)
SHARED = Shared(clock=CLOCK)
PROBE = """  - name: healthy
    probe: {kind: http, url: "http://$service.internal/healthz"}
    threshold: {critical: 3 failures}
"""


class FakeProbe:
    """Remembers the settings it was asked with."""

    def __init__(self, answer: Pulse | Failed) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        self.asked.append(settings)
        return self.answer

    async def aclose(self) -> None: ...


def with_ready(home: Home, **more: Any) -> Configuration:
    """The standby's readiness is unknown to the switch; a probe is asked."""
    ready = {"kind": "http", "url": "http://{address}/healthz", "headers": {"X-At": "{address}"}, **more}
    home.settings["services"] = [home.service("trips", "trips", ready=ready)]
    state = home.folder / "trips.json"
    state.write_text(
        '{"revision": "1", "variants": {"blue": {"weight": 100, "ready": 1, "total": 1},'
        ' "green": {"weight": 0, "addresses": ["127.0.0.1:8081", "127.0.0.1:8082"]}}}'
    )
    return home.load()


def test_every_source_is_built_under_its_name(home: Home) -> None:
    home.settings["sources"]["prom"] = {"kind": "prometheus", "url": "http://127.0.0.1:9", "concurrency": 3}
    rules = home.folder / "rules.yaml"
    rules.write_text(rules.read_text() + "    source: prom\n")
    sources = build_sources(home.load(), shared=SHARED, clock=CLOCK)
    assert {name: type(one) for name, one in sources.items()} == {
        "app": ScrapeSource,
        "prom": PrometheusSource,
    }
    assert sources["prom"].concurrency == 3
    assert sources["app"].concurrency >= 1


def test_every_channel_is_built_under_its_name(home: Home) -> None:
    home.settings["channels"]["second"] = {"kind": "log"}
    channels = build_channels(home.load(), shared=SHARED, clock=CLOCK)
    assert {name: type(one) for name, one in channels.items()} == {"log": LogChannel, "second": LogChannel}


def test_a_probe_is_built_for_each_kind_that_is_named_anywhere(home: Home) -> None:
    assert build_probes(home.load(), shared=SHARED) == {}
    assert list(build_probes(with_ready(home), shared=SHARED)) == ["http"]


def test_a_probe_is_built_for_rules_that_ask_for_one(home: Home) -> None:
    rules = home.folder / "rules.yaml"
    rules.write_text(rules.read_text() + PROBE)
    configuration = home.load()
    assert any(isinstance(rule.form, ProbeForm) for rule in configuration.rules.values())
    assert isinstance(build_probes(configuration, shared=SHARED)["http"], HttpProbe)


def test_every_service_gets_its_own_switch(home: Home) -> None:
    home.settings["services"].append(home.service("hotels", "hotels"))
    switches = build_switches(home.load(), {}, shared=SHARED, clock=CLOCK)
    assert {name: type(one) for name, one in switches.items()} == {
        "trips": CommandSwitch,
        "hotels": CommandSwitch,
    }
    assert switches["trips"].identity != switches["hotels"].identity


async def test_a_switch_is_read_with_the_clock_it_was_given(home: Home) -> None:
    switch = build_switches(home.load(), {}, shared=SHARED, clock=CLOCK)["trips"]
    state = await switch.read()
    assert state.read_at == NOW
    assert state.live == ("blue",)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (Pulse(passed=True, at=NOW), 2),
        (Pulse(passed=False, at=NOW), 0),
        (Failed(reason=FailReason.UNABLE), None),
    ],
    ids=["alive", "dead", "unable"],
)
async def test_readiness_is_asked_of_every_address_and_unknown_stays_unknown(
    home: Home, answer: Pulse | Failed, ready: int | None
) -> None:
    probe = FakeProbe(answer)
    probes: dict[str, Probe] = {"http": probe}
    switch = build_switch("trips", with_ready(home).services["trips"], probes, shared=SHARED, clock=CLOCK)
    assert isinstance(switch, WithReadiness)
    assert switch.tier is Tier.B
    state = await switch.read()
    assert state.variants["green"].ready == ready
    urls = sorted(settings["url"] for settings in probe.asked)
    assert urls == ["http://127.0.0.1:8081/healthz", "http://127.0.0.1:8082/healthz"]


async def test_the_address_is_filled_in_wherever_it_stands_and_the_rest_is_left_alone(home: Home) -> None:
    probe = FakeProbe(Pulse(passed=True, at=NOW))
    probes: dict[str, Probe] = {"http": probe}
    configuration = with_ready(home, expect={"status": 204})
    switch = build_switch("trips", configuration.services["trips"], probes, shared=SHARED, clock=CLOCK)
    await switch.read()
    await switch.read()
    for settings in probe.asked:
        address = settings["url"].removeprefix("http://").removesuffix("/healthz")
        assert dict(settings["headers"])["X-At"].endswith(address)
        assert "{address}" not in str(settings)
        assert "204" in str(settings["expect"])
    assert len(probe.asked) == 4


Build = Callable[[Configuration], object]


def test_building_opens_no_connection(home: Home) -> None:
    """Nothing listens anywhere, and no loop runs: building is only building."""
    configuration = with_ready(home)
    builders: list[Build] = [
        lambda it: build_sources(it, shared=SHARED, clock=CLOCK),
        lambda it: build_channels(it, shared=SHARED, clock=CLOCK),
        lambda it: build_probes(it, shared=SHARED),
        lambda it: build_switches(it, dict(build_probes(it, shared=SHARED)), shared=SHARED, clock=CLOCK),
    ]
    for build in builders:
        assert build(configuration)
