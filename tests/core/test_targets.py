"""Which version a rollback goes to: the newest proven one that is still there, or a reason why there is none."""

from __future__ import annotations

from msgspec.structs import replace

from tests.core.scenario import T0, Scenario
from watchdog.core.deployment import DeploymentState
from watchdog.core.targets import Target, choose
from watchdog.core.turn import Taint


def target(scenario: Scenario, wanted: str | None = None) -> Target:
    return choose(scenario.service, scenario.service.current(), wanted=wanted)


def test_the_stable_version_on_the_other_variant_is_the_target() -> None:
    found = target(Scenario().green_deployed())

    assert found.deployment is not None
    assert (found.deployment.variant, found.problem) == ("blue", "")


def test_a_version_that_was_never_stable_is_none() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("1m").traffic(blue=0, green=1)

    assert target(scenario).problem == "not_stable"


def test_two_bad_deployments_in_a_row_lead_back_to_the_last_good_one() -> None:
    scenario = Scenario().shows("red", ready=10).traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).after("5m").traffic(green=0, red=1)

    found = target(scenario)

    assert found.deployment is not None
    assert found.deployment.variant == "blue"


def test_of_several_good_ones_the_newest_is_the_target() -> None:
    scenario = Scenario().traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).healthy_for("12m")
    scenario.after("5s").traffic(green=0, red=1)

    found = target(scenario)

    assert found.deployment is not None
    assert found.deployment.variant == "green"


def test_a_tainted_version_is_no_target() -> None:
    scenario = Scenario().green_deployed()
    tainted = replace(
        scenario.service, taints={"blue": Taint(version="blue", at=T0, reason="rolled back: errors")}
    )

    found = choose(tainted, tainted.current())

    assert found.problem == "tainted"
    assert "rolled back: errors" in found.detail


def test_a_version_recorded_with_rollback_forbidden_is_no_target_either() -> None:
    scenario = Scenario().traffic(blue=1, green=0)
    scenario.post("v1", "blue", rollback="forbidden")
    scenario.healthy_for("11m").after("5s").traffic(blue=0, green=1)

    assert target(scenario).problem == "target_forbidden"


def test_a_variant_that_carries_a_later_version_is_no_target_for_its_earlier_one() -> None:
    scenario = Scenario().green_deployed().shows("blue", version="v9")
    scenario.after("5s").traffic()

    assert target(scenario).problem == "replaced"


def test_a_later_announcement_on_the_variant_means_that_it_carries_something_else() -> None:
    scenario = Scenario().green_deployed()
    assert scenario.post("v3", "blue").status == 201

    assert target(scenario).problem == "not_stable"


def test_an_announcement_that_says_it_began_long_ago_is_a_later_one_all_the_same() -> None:
    scenario = Scenario().green_deployed()
    scenario.post("v3", "blue", started_at="2026-03-01T00:00:00Z")

    assert target(scenario).problem == "not_stable"


def test_an_announcement_that_failed_leaves_doubt_about_the_variant() -> None:
    scenario = Scenario().green_deployed()
    scenario.post("v3", "blue")
    scenario.after("61m").tick()

    states = [one.state for one in scenario.service.deployments.values() if one.version == "v3"]
    assert states == [DeploymentState.FAILED]
    assert target(scenario).problem == "not_stable"


def test_announcing_the_version_that_is_there_anyway_changes_nothing() -> None:
    scenario = Scenario()
    scenario.traffic(blue=1, green=0)
    scenario.post("v1", "blue")
    scenario.healthy_for("11m").after("5s").traffic(blue=0, green=1)
    scenario.post("v1", "blue")

    assert target(scenario).problem == ""


def test_the_same_version_elsewhere_is_no_way_out() -> None:
    scenario = Scenario().shows("blue", version="v2").shows("green", version="v2").green_deployed()

    assert target(scenario).problem == "same_version"


def test_a_variant_never_seen_with_traffic_is_no_target() -> None:
    scenario = Scenario().traffic(blue=1, green=0).healthy_for("11m")

    assert target(scenario).problem == "never_seen"


def test_without_another_variant_there_is_nowhere_to_go() -> None:
    scenario = Scenario().traffic(blue=1)

    assert target(scenario).problem == "no_variant"


def test_a_version_that_was_switched_back_to_is_good_as_before() -> None:
    scenario = Scenario().green_deployed().after("5s").traffic(blue=1, green=0).after("5s")
    scenario.traffic(blue=0, green=1)

    found = target(scenario)

    assert found.deployment is not None
    assert (found.deployment.variant, found.deployment.state) == ("blue", DeploymentState.STABLE)


def test_a_person_gets_the_version_he_names() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v2").shows("red", version="v3")
    scenario.traffic(blue=1, green=0, red=0).healthy_for("11m")
    scenario.after("5s").traffic(blue=0, green=1).healthy_for("12m").after("5s").traffic(green=0, red=1)

    newest, wanted = target(scenario), target(scenario, wanted="v1")

    assert newest.deployment is not None
    assert wanted.deployment is not None
    assert (newest.deployment.version, wanted.deployment.version) == ("v2", "v1")
    assert target(scenario, wanted="v7").problem == "unknown_version"


def test_a_person_who_names_a_tainted_version_hears_so() -> None:
    scenario = Scenario().shows("blue", version="v1").green_deployed()
    tainted = replace(scenario.service, taints={"v1": Taint(version="v1", at=T0, reason="it burns")})

    assert choose(tainted, tainted.current(), wanted="v1").problem == "tainted"


def test_every_reason_is_named_when_there_are_several() -> None:
    scenario = Scenario().traffic(blue=1, green=0, red=0).after("1m").traffic(blue=0, green=1)

    found = target(scenario)

    assert "blue" in found.detail
    assert "red" in found.detail
