"""What a switch tells beyond versions: the same version with other settings, and what was only started again."""

from __future__ import annotations

from tests.core.scenario import OK, ROLLBACK, Scenario
from watchdog.core.deployment import DeploymentState, Origin
from watchdog.core.events import OutcomeKind
from watchdog.core.rollback import RollbackState


def same_version() -> Scenario:
    """Version v1 on blue, and then v1 with other settings on green."""
    scenario = Scenario().shows("blue", version="v1", content="a").shows("green", version="v1", content="b")
    return scenario.green_deployed()


def restarted(before: str, after: str, scenario: Scenario) -> Scenario:
    """What runs on one variant is started again on another, new one."""
    content = scenario.state().variants[before].content
    version = scenario.state().variants[before].version
    scenario.shows(after, version=version, content=content)
    return scenario.after("5s").traffic(**{before: 0, after: 100})


def test_the_same_version_with_other_settings_is_taken_back() -> None:
    scenario = same_version().green_is_bad()
    scenario.rollback_is(RollbackState.INTENDED)
    assert (scenario.rollback.from_variant, scenario.rollback.to_variant) == ("green", "blue")
    assert (scenario.rollback.from_version, scenario.rollback.to_version) == ("v1", "v1")


def test_the_version_is_not_tainted_for_the_settings_it_had_elsewhere() -> None:
    scenario = same_version().green_is_bad()
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(green=0, blue=100))
    assert scenario.service.taints == {}
    assert scenario.on("green").state is DeploymentState.ROLLED_BACK
    for _ in range(10):
        scenario.after("30s").traffic().observe(value=OK, on="blue")
    scenario.rollback_is(RollbackState.COMPLETED)


def test_what_was_bad_of_the_same_version_is_no_target_afterwards() -> None:
    scenario = same_version().green_is_bad()
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(green=0, blue=100))
    scenario.healthy_for("11m").shows("red", version="v2", content="c").traffic(blue=0, red=100)
    scenario.after("35s")
    for _ in range(4):
        scenario.after("30s").observe(value=ROLLBACK, on="red")
    assert scenario.rollback.to_variant == "blue"


def test_the_same_version_of_which_nothing_more_is_known_is_no_way_out() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").shows("green", version="v1")
    scenario.green_deployed().green_is_bad(4)
    assert scenario.vetoes[0] == ("known_good_target", "same_version")


def test_a_stable_version_that_is_started_again_is_seen_and_not_armed() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").stable_blue()
    restarted("blue", "red", scenario)
    seen = scenario.on("red")
    assert (seen.version, seen.state, seen.armed) == ("v1", DeploymentState.RETURN, False)
    assert seen.origin is Origin.SEEN
    scenario.healthy_for("11m")
    assert scenario.on("red").state is DeploymentState.STABLE


def test_the_same_beside_what_stays_live_is_no_restart() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").stable_blue()
    scenario.shows("red", version="v1", content="a").after("5s").traffic(blue=50, red=50)
    assert (scenario.on("red").state, scenario.on("red").armed) == (DeploymentState.WATCHING, True)


def test_a_young_version_that_is_started_again_stays_armed_and_no_younger() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").shows("green", version="v2", content="b")
    before = scenario.green_deployed().on("green")
    restarted("green", "red", scenario)
    seen = scenario.on("red")
    assert (seen.version, seen.armed, seen.started_at) == ("v2", True, before.started_at)
    for _ in range(4):
        scenario.after("30s").observe(value=ROLLBACK, on="red")
    scenario.rollback_is(RollbackState.INTENDED)
    assert scenario.rollback.to_variant == "blue"


def test_a_bad_version_that_is_started_again_is_not_taken_for_one_that_was_bad_before() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").shows("green", version="v2", content="b")
    scenario.green_deployed().after("35s").traffic().after("5s").observe(value=ROLLBACK, on="green")
    restarted("green", "red", scenario)
    for _ in range(4):
        scenario.after("30s").observe(value=ROLLBACK, on="red")
    scenario.rollback_is(RollbackState.INTENDED)


def test_what_is_started_again_is_no_way_out_of_itself() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").stable_blue()
    restarted("blue", "red", scenario)
    scenario.after("35s")
    for _ in range(4):
        scenario.after("30s").observe(value=ROLLBACK, on="red")
    assert ("known_good_target", "same_version") in scenario.vetoes
    assert ("armed", "not_armed") in scenario.vetoes


def test_what_was_rolled_back_and_comes_again_by_a_restart_is_not_armed() -> None:
    scenario = Scenario().shows("blue", version="v1", content="a").shows("green", version="v2", content="b")
    scenario.green_deployed().green_is_bad()
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(green=0, blue=100))
    scenario.healthy_for("5m").traffic(blue=0, green=100)
    restarted("green", "red", scenario)
    assert (scenario.on("red").version, scenario.on("red").armed) == ("v2", False)


def test_settings_that_were_gone_back_to_and_are_bad_too_are_not_left_again() -> None:
    scenario = same_version().green_is_bad()
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(green=0, blue=100))
    for _ in range(10):
        scenario.after("30s").traffic().observe(value=OK, on="blue")
    scenario.rollback_is(RollbackState.COMPLETED)
    scenario.after("20m").traffic()
    for _ in range(4):
        scenario.after("30s").observe(value=ROLLBACK, on="blue")
    assert ("armed", "not_armed") in scenario.vetoes
    assert ("known_good_target", "same_version") not in scenario.vetoes
    assert [one.switched for one in scenario.service.rollbacks.values()] == [True, False]
