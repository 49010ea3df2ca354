from __future__ import annotations

from msgspec.structs import replace

from tests.core.scenario import Scenario
from watchdog.core.addressing import outgoing
from watchdog.core.message import NOTICES, MessageKind
from watchdog.core.mute import MuteWindow
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.service import Mode

WATCHED, STABLE = MessageKind.DEPLOYMENT_WATCHED, MessageKind.DEPLOYMENT_STABLE
WITH = Route(to=("ops",), notices=("chat",))


def story(*routes: Route, mode: Mode = Mode.ENFORCE) -> Scenario:
    scenario = Scenario(mode=mode)
    scenario.world = replace(scenario.world, routes=routes or (WITH,))
    return scenario


def notices(scenario: Scenario) -> list[MessageKind]:
    return [message.kind for message in scenario.messages if message.kind in NOTICES]


def test_a_deployment_that_is_seen_is_told_to_be_watched_and_to_be_stable() -> None:
    scenario = story().stable_blue()
    assert notices(scenario) == [], "what was there already is no news"
    scenario.shows("green", version="v2").after("5s").traffic(blue=0, green=1)

    watched = scenario.message(WATCHED)
    assert watched.headline == "trips v2 in production is being watched"
    assert dict(watched.facts) == {
        "variant": "green",
        "rolled back by itself": "until 2026-03-02 11:11:00 UTC",
        "stable after": "10m in good health",
    }
    assert (watched.severity, watched.needs_human, watched.version) == (Severity.LOW, False, "v2")
    scenario.healthy_for("12m")

    stable = scenario.message(STABLE)
    assert stable.headline == "trips v2 in production is stable: a version to go back to"
    assert stable.conversation == watched.conversation
    assert notices(scenario) == [WATCHED, STABLE]


def test_an_announced_deployment_is_told_when_its_traffic_comes() -> None:
    scenario = story().stable_blue()
    scenario.post("v2", "green", rollback="forbidden")
    assert notices(scenario) == []
    scenario.after("5s").traffic(blue=0, green=1)

    assert scenario.message(WATCHED).version == "v2"
    assert dict(scenario.message(WATCHED).facts)["rolled back by itself"].startswith("never: a rollback")


def test_one_that_is_announced_in_place_is_told_at_once() -> None:
    scenario = story().stable_blue()
    scenario.post("v1", "blue")
    assert notices(scenario) == [], "that is what was there already"
    scenario.after("20m").post("v2", "blue")

    assert scenario.message(WATCHED).version == "v2"


def test_a_name_that_comes_later_is_told_no_second_time() -> None:
    scenario = story().stable_blue().after("5s").traffic(blue=0, green=1)
    scenario.after("10s").post("v2", "green")

    assert notices(scenario) == [WATCHED]


def test_where_no_route_wants_notices_none_are_made() -> None:
    scenario = story(Route(to=("ops",))).stable_blue().after("5s").traffic(blue=0, green=1)
    scenario.healthy_for("12m")

    assert scenario.on("green").state == "stable"
    assert notices(scenario) == []


def test_a_return_is_no_notice() -> None:
    scenario = story().verified().blue_recovers().after("2m").traffic().tick().healthy_for("12m")

    assert scenario.on("blue").state == "stable"
    assert notices(scenario) == [WATCHED], "that of green"


def test_a_service_that_is_only_observed_or_approved_says_so() -> None:
    for mode, words in ((Mode.OBSERVE, "never: the service is only observed"), (Mode.APPROVE, "approves")):
        scenario = story(mode=mode).stable_blue().after("5s").traffic(blue=0, green=1)
        assert words in dict(scenario.message(WATCHED).facts)["rolled back by itself"]


def test_a_person_who_vouches_for_it_makes_it_stable() -> None:
    scenario = story().stable_blue().after("5s").traffic(blue=0, green=1).after("1m").traffic()
    version = scenario.on("green").version
    scenario.ask(RequestKind.MARK_GOOD, version=version, reason="served for a year")

    assert notices(scenario) == [WATCHED, STABLE]


def test_notices_go_where_a_route_says_and_nowhere_else() -> None:
    scenario = story().stable_blue().after("5s").traffic(blue=0, green=1)
    rows = outgoing([scenario.message(WATCHED)], scenario.world.routes, head="")

    assert [row.channel for row in rows] == ["chat"]


def test_a_muted_notice_is_dropped() -> None:
    window = MuteWindow(name="day", zone="UTC", start=9 * 60, end=12 * 60)
    scenario = story(replace(WITH, mutes=(window,))).stable_blue().after("5s").traffic(blue=0, green=1)
    scenario.at("3h").tick().after("1m").tick()

    assert notices(scenario) == []
