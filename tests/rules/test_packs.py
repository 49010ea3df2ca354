"""What each rule of each pack does at its own numbers, through the core's own evaluation and steps."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.core.history import History
from tests.core.scenario import T0, Scenario
from tests.rules.packs import PACKS, ROOT, all_together, rules, written
from watchdog.config.check import check
from watchdog.config.load import load
from watchdog.core.check import CheckId
from watchdog.core.evidence import lower_bound
from watchdog.core.observation import Pulse, Value
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Ratio, Rule

ENVIRON = {
    "WATCHDOG_CI_TOKEN": "t" * 32,
    "WATCHDOG_HOOK_SECRET": "s" * 32,
    "SLACK_BOT_TOKEN": "xoxb-" + "b" * 32,
    "PAGERDUTY_ROUTING_KEY": "R" * 32,
    "SMS_TOKEN": "m" * 32,
}
SAMPLES = sorted((ROOT / "config").glob("*.yaml"))
GI = 2.0**30


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rule]:
    return rules(tmp_path_factory.mktemp("packs"))


def number(rule: Rule, value: float, events: float, at: datetime) -> Value:
    bad = value * events if isinstance(rule.form, Ratio) else None
    return Value(value=value, at=at, events=events, bad=bad)


class Story(Scenario):
    """One rule, polled every 30 s."""

    def __init__(self, rule: Rule, *, events: float = 1000) -> None:
        super().__init__(rule)
        self.looks_every = 100
        self.events = events

    def measures(self, check: CheckId, value: float) -> None:
        self.sees(check, number(self.rules[0], value, self.events, self.now))

    def polled(self, text: str, *, on: str, value: float, others: float) -> Story:
        """For so long, `on` gives a value and every other live variant another one."""
        clock = self.now + timedelta(minutes=int(text.removesuffix("m")))
        while self.now < clock:
            self.after("30s").traffic()
            for one in self.checks():
                self.measures(one, value if one.variant in {on, ""} else others)
        return self

    def checks(self) -> list[CheckId]:
        world = self.service
        live = world.traffic.live if world.traffic else ()
        names = {self.check(self.rules[0].name, on=variant) for variant in live}
        return sorted(names, key=str)

    def bad_green(self, value: float) -> Story:
        """Blue proved itself; green takes its place and is as bad as that for 25 minutes."""
        self.traffic(blue=1, green=0)
        self.polled("11m", on="blue", value=0.0, others=0.0)
        self.after("5s").traffic(blue=0, green=1)
        return self.polled("25m", on="green", value=value, others=0.0)

    def bad_canary(self, value: float) -> Story:
        """Blue proved itself; green takes a tenth of the traffic and is as bad as that for 14 minutes."""
        self.traffic(blue=10, green=0)
        self.polled("11m", on="blue", value=0.0, others=0.0)
        self.after("5s").traffic(blue=9, green=1)
        return self.polled("14m", on="green", value=value, others=0.0)

    @property
    def rolled_back(self) -> bool:
        found = [one.state for one in self.service.rollbacks.values()]
        assert set(found) <= {RollbackState.INTENDED}, found
        return bool(found)


#: Rule, value, events in its window, and whether that rolls back.
AUTOMATIC = [
    ("blue-green-error-rate", 0.006, 60_000, True),
    ("blue-green-error-rate", 0.006, 2_000, False),  # too few to know
    ("blue-green-error-rate", 0.005, 10_000_000, False),  # equal is not above
    ("blue-green-error-rate", 0.004, 10_000_000, False),
    ("blue-green-error-rate", 0.01, 1_200, True),
    ("blue-green-error-rate", 0.05, 100, False),  # five bad ones
    ("blue-green-latency-p95", 10.1, 1_000, True),
    ("blue-green-latency-p95", 10.0, 1_000, False),
    ("blue-green-latency-p95", 60.0, 19, False),
    ("canary-error-rate", 0.012, 14_000, True),
    ("canary-error-rate", 0.01, 10_000_000, False),
    ("canary-error-rate", 0.009, 10_000_000, False),
    ("canary-error-rate", 0.02, 600, True),
    ("canary-error-rate", 0.05, 150, False),
    ("runbook-error-rate", 0.016, 90_000, True),
    ("runbook-error-rate", 0.015, 10_000_000, False),
    ("runbook-error-rate", 0.02, 4_000, True),
    ("runbook-latency-p95", 3.16, 1_000, True),
    ("runbook-latency-p95", 3.15, 1_000, False),
    ("runbook-latency-p95", 9.0, 99, False),
    ("error-rate", 0.08, 20_000, True),
    ("error-rate", 0.075, 10_000_000, False),
    ("error-rate", 0.5, 60, True),
    ("latency-p95", 1.51, 1_000, True),
    ("latency-p95", 1.5, 1_000, False),
]


@pytest.mark.parametrize(("name", "value", "events", "expected"), AUTOMATIC)
def test_a_rule_rolls_back_strictly_beyond_its_limit_and_on_evidence_only(
    packs: dict[str, Rule], name: str, value: float, events: float, expected: bool
) -> None:
    assert Story(packs[name], events=events).bad_green(value).rolled_back is expected


@pytest.mark.parametrize(("value", "expected"), [(0.012, True), (0.01, False)])
def test_a_bad_canary_loses_its_traffic_beside_a_good_version(
    packs: dict[str, Rule], value: float, expected: bool
) -> None:
    story = Story(packs["canary-error-rate"], events=20_000).bad_canary(value)
    assert story.rolled_back is expected
    if expected:
        assert (story.rollback.from_variant, story.rollback.to_variant) == ("green", "blue")


def test_all_others_never_roll_back(packs: dict[str, Rule]) -> None:
    acting = {name for name, rule in packs.items() if rule.can_roll_back}
    assert acting == {name for name, *_ in AUTOMATIC} | {"healthy", "kubernetes-pods"}


#: Rule, value, and the level it is held at.
HELD = [
    ("error-rate", 0.01, Level.OK),
    ("error-rate", 0.012, Level.WARNING),
    ("error-rate", 0.055, Level.CRITICAL),
    ("latency-p95", 0.5, Level.OK),
    ("latency-p95", 0.51, Level.WARNING),
    ("latency-p95", 1.1, Level.CRITICAL),
    ("runbook-latency-p95", 2.1, Level.OK),
    ("runbook-latency-p95", 2.11, Level.CRITICAL),
    ("runbook-error-rate", 0.01, Level.OK),
    ("runbook-error-rate", 0.011, Level.CRITICAL),
    ("runbook-connections", 1000, Level.OK),
    ("runbook-connections", 1001, Level.CRITICAL),
    ("runbook-cpu", 0.8, Level.OK),
    ("runbook-cpu", 0.81, Level.CRITICAL),
    ("runbook-memory", 0.85, Level.OK),
    ("runbook-memory", 0.86, Level.CRITICAL),
    ("runbook-disk", 0.9, Level.OK),
    ("runbook-disk", 0.91, Level.CRITICAL),
    ("capacity-disk", 0.8, Level.OK),
    ("capacity-disk", 0.81, Level.WARNING),
    ("capacity-disk", 0.91, Level.CRITICAL),
    ("capacity-database-size", 80 * GI, Level.OK),
    ("capacity-database-size", 81 * GI, Level.WARNING),
    ("capacity-database-size", 101 * GI, Level.CRITICAL),
    ("capacity-database-connections", 0.8, Level.OK),
    ("capacity-database-connections", 0.81, Level.WARNING),
    ("capacity-database-connections", 0.91, Level.CRITICAL),
    ("capacity-rate-limiting", 0.01, Level.OK),
    ("capacity-rate-limiting", 0.012, Level.WARNING),
    ("capacity-rate-limiting", 0.055, Level.CRITICAL),
    ("capacity-database-unreachable", 1.0, Level.OK),
    ("capacity-database-unreachable", 0.0, Level.CRITICAL),
    ("kubernetes-not-ready", 0.25, Level.OK),
    ("kubernetes-not-ready", 0.26, Level.WARNING),
    ("kubernetes-not-ready", 0.51, Level.CRITICAL),
    ("kubernetes-restarts", 0.005, Level.OK),
    ("kubernetes-restarts", 0.006, Level.WARNING),
    ("kubernetes-restarts", 0.016, Level.CRITICAL),
    ("kubernetes-progress", 0.0, Level.OK),
    ("kubernetes-progress", 1.0, Level.CRITICAL),
]


@pytest.mark.parametrize(("name", "value", "expected"), HELD)
def test_a_level_is_held_strictly_beyond_its_threshold(
    packs: dict[str, Rule], name: str, value: float, expected: Level
) -> None:
    story = Story(packs[name], events=100_000)
    story.traffic(blue=1, green=0)
    story.polled("20m", on="blue", value=value, others=0.0)
    assert story.remembers(name, on="blue" if packs[name].per_version else "").held is expected
    assert not story.service.rollbacks


#: Share of what it was, and the level.
FALLEN = [
    ("requests", 0.71, Level.OK),
    ("requests", 0.69, Level.WARNING),
    ("requests", 0.49, Level.CRITICAL),
    ("requests", 0.0, Level.CRITICAL),
    ("conversions", 0.71, Level.OK),
    ("conversions", 0.69, Level.WARNING),
    ("conversions", 0.39, Level.CRITICAL),
]


@pytest.mark.parametrize(("name", "share", "expected"), FALLEN)
def test_less_traffic_is_judged_by_what_it_was(
    packs: dict[str, Rule], name: str, share: float, expected: Level
) -> None:
    switched = T0 + timedelta(minutes=40)

    def measured(_: str, at: datetime) -> float:
        return 200.0 * share if at > switched else 200.0

    story = History(packs[name], measured=measured)
    story.looks_every = 100
    story.traffic(blue=1, green=0).tick()
    story.live_for("40m").deployed()
    story.live_for("40m")
    assert story.remembers(name).held is expected
    assert not story.service.rollbacks


def test_a_health_page_that_is_dead_five_times_rolls_back(packs: dict[str, Rule]) -> None:
    story = Scenario(packs["healthy"])
    story.traffic(blue=1, green=0).healthy_for("35m")
    story.after("5s").traffic(blue=0, green=1)
    for _ in range(4):
        story.after("10s").probed(alive=False)
    assert not story.service.rollbacks
    story.after("10s").sees(story.check(), Pulse(passed=False, at=story.now))
    story.rollback_is(RollbackState.INTENDED)


def test_pods_that_crash_three_times_in_a_row_roll_their_version_back_within_the_warm_up(
    packs: dict[str, Rule],
) -> None:
    story = Scenario(packs["kubernetes-pods"])
    story.traffic(blue=1, green=0)
    crashing = Pulse(passed=False, at=T0, answered=True)
    for _ in range(80):
        story.after("30s").traffic()
        story.sees(story.check("kubernetes-pods", on="blue"), replace(crashing, at=story.now, passed=True))
    story.after("5s").traffic(blue=0, green=1)
    for seen in range(3):
        assert not story.service.rollbacks, seen
        story.after("5s").traffic()
        story.sees(story.check("kubernetes-pods", on="green"), replace(crashing, at=story.now))
    story.rollback_is(RollbackState.INTENDED, str(story.vetoes))


def test_all_packs_can_be_loaded_together_and_say_nothing(tmp_path: Path) -> None:
    assert all_together(tmp_path).notes == ()


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_every_sample_configuration_is_good(file: Path) -> None:
    checked = check(file, ENVIRON)
    assert checked.problems == ()
    # The first sample takes every pack there is, as the design shows; its service uses one.
    unused = [note.message for note in checked.notes if " are used by no service: " in note.message]
    # And no sample can have proved itself on anybody's history.
    unproven = [note.message for note in checked.notes if " never back-tested: " in note.message]
    assert {note.message for note in checked.notes} == {*unused, *unproven}
    assert len(unused) == (file.stem == "watchdog")
    assert len(unproven) == 1


@pytest.mark.parametrize(("name", "minutes"), [("production", 30), ("canary", 15), ("staging", 10)])
def test_a_sample_is_armed_for_as_long_as_it_says(name: str, minutes: int) -> None:
    configuration = load(ROOT / "config" / f"{name}.yaml", environ=ENVIRON)
    for entry in configuration.services.values():
        assert entry.service.environment == name
        assert entry.service.rollback.armed_for == timedelta(minutes=minutes)


@pytest.mark.parametrize("pack", PACKS)
def test_every_number_says_where_it_comes_from_and_every_rule_its_pack(pack: str) -> None:
    for rule in written(pack):
        text = PACKS[pack].read_text().partition(f"- name: {rule['name']}\n")[2].partition("- name:")[0]
        assert len(re.findall(r"# origin: (runbook|convention|to be set by you)\b", text)) == 1, rule["name"]
        assert rule["tags"] == [pack]
        assert rule["summary"]
        assert pack == "web" or rule["name"].startswith(f"{pack}-")
    head = PACKS[pack].read_text().partition("version:")[0]
    assert "# Why: " in head
    assert "# When not: " in head


@pytest.mark.parametrize("pack", ["blue-green", "canary"])
def test_the_evidence_that_a_pack_names_is_what_it_takes(pack: str, packs: dict[str, Rule]) -> None:
    text = " ".join(PACKS[pack].read_text().replace("#", " ").split())
    sentence = re.search(r"a window takes about (.*?)\. ", text)
    assert sentence is not None
    rule = packs[f"{pack}-error-rate"]
    assert rule.evidence is not None
    limit = rule.thresholds.rollback or 0.0
    said = re.findall(r"([\d,]+)(?: requests)? at ([\d.]+) %", sentence[1])
    assert len(said) == 4
    for count, percent in said:
        events, share = float(count.replace(",", "")), float(percent) / 100
        # Enough, and four fifths of it are not.
        for factor, enough in ((1.02, True), (0.8, False)):
            bad = share * events * factor
            known = lower_bound(bad, events * factor, rule.evidence.confidence) > limit
            assert (known and bad >= rule.evidence.min_bad) is enough, (count, percent, factor)
