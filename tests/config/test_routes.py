from __future__ import annotations

import pytest

from tests.config.conftest import Draft
from watchdog.config.problems import meant
from watchdog.core.routing import Route

TELLING = "channels:\n  log: {kind: log}\nroutes:\n  - {to: [log]}\n"


def test_routes_keep_their_order_and_labels_their_plain_names(draft: Draft) -> None:
    draft.replace(
        "  - {to: [log]}\n",
        """  - {match: {service: trips, severity: high, kind: rollback_blocked, version: "1"}, to: [log]}
  - {match: {label.team: booking}, to: [log]}
  - {match: {team: booking, environment: production}, to: [log]}
  - {to: [log]}
""",
    )

    assert draft.load().routes == (
        Route(
            match={"service": "trips", "severity": "high", "kind": "rollback_blocked", "version": "1"},
            to=("log",),
        ),
        Route(match={"team": "booking"}, to=("log",)),
        Route(match={"team": "booking", "environment": "production"}, to=("log",)),
        Route(to=("log",)),
    )
    assert draft.notes() == []


def test_without_channels_and_routes_people_are_told_in_the_log(draft: Draft) -> None:
    draft.replace(TELLING, "")

    loaded = draft.load()

    assert [(name, it.kind) for name, it in loaded.channels.items()] == [("log", "log")]
    assert loaded.routes == (Route(to=("log",)),)
    assert draft.notes() == ["watchdog.yaml:1:1: no channels and no routes: people are told in the log only"]


@pytest.mark.parametrize(
    ("telling", "said"),
    [
        ("channels: {log: {kind: log}}\n", "14:1: nobody would be told: write `routes: [{to: [log]}]`"),
        (
            "channels: {log: {kind: log}}\nroutes: []\n",
            "15:9: nobody would be told: write `routes: [{to: [log]}]`",
        ),
        ("routes: []\n", "14:9: nobody would be told: write `routes: [{to: [CHANNEL]}]`"),
        ("routes: [{to: [log]}]\n", "14:16: unknown channel 'log' (none is defined)"),
        ("channels: {}\nroutes: [{to: [log]}]\n", "15:16: unknown channel 'log' (none is defined)"),
        ("channels: {l: {kind: log}}\nroutes: [{}]\n", "15:10: missing key 'to': a list of channels"),
        ("channels: {l: {kind: log}}\nroutes: [{to: l}]\n", "15:15: expected a list, found 'l'"),
        ("channels: {l: {kind: log}}\nroutes: [{t: [l]}]\n", "15:11: unknown key 't'"),
        ("channels: {l: {kind: log}}\nroutes: {to: [l]}\n", "15:9: expected a list, found a mapping"),
        ("channels: {a b: {kind: log}}\nroutes: [{to: [a b]}]\n", "14:12: 'a b' is not a name"),
        ("channels: [log]\nroutes: [{to: [log]}]\n", "14:11: expected a mapping, found a list"),
        ("channels: {l: log}\nroutes: [{to: [l]}]\n", "14:15: expected a mapping with `kind`, found 'log'"),
        ("channels: {l: {kind: smoke}}\nroutes: [{to: [l]}]\n", "14:22: unknown channel kind 'smoke'"),
    ],
)
def test_routes_that_tell_nobody_are_refused(draft: Draft, telling: str, said: str) -> None:
    draft.replace(TELLING, telling)

    assert any(said in problem for problem in draft.problems()), draft.problems()


@pytest.mark.parametrize(
    ("match", "note"),
    [
        (
            "{environment: staging}",
            "17:27: no service is in environment 'staging': this route takes nothing now",
        ),
        (
            "{team: payments}",
            "17:20: no service has a label 'team' that is 'payments': this route takes nothing now",
        ),
        ("{zone: x}", "17:14: no service has a label 'zone': this route takes nothing now"),
        ("{zzz: web}", "17:14: no service has a label 'zzz': this route takes nothing now"),
    ],
)
def test_a_route_that_takes_nothing_now_is_worth_a_note(draft: Draft, match: str, note: str) -> None:
    draft.replace("  - {to: [log]}", f"  - {{match: {match}, to: [log]}}\n  - {{to: [log]}}")

    assert draft.notes() == [f"watchdog.yaml:{note}"]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("{team: bookng}", "17:20: no service has a label 'team' that is 'bookng'; did you mean 'booking'?"),
        (
            "{label.team: Booking}",
            "17:26: no service has a label 'team' that is 'Booking'; did you mean 'booking'?",
        ),
        (
            "{environment: prodction}",
            "17:27: no service is in environment 'prodction'; did you mean 'production'?",
        ),
        ("{teem: booking}", "17:14: no service has a label 'teem'; did you mean 'team'?"),
        ("{label.teem: booking}", "17:14: no service has a label 'teem'; did you mean 'label.team'?"),
        ("{enviroment: x}", "17:14: no service has a label 'enviroment'; did you mean 'environment'?"),
    ],
)
def test_what_is_misspelt_in_a_match_is_refused(draft: Draft, match: str, said: str) -> None:
    draft.replace("  - {to: [log]}\n", f"  - {{match: {match}, to: [log]}}\n  - {{to: [log]}}\n")

    assert draft.problems() == [f"watchdog.yaml:{said}"]


@pytest.mark.parametrize(
    ("name", "known", "guess"),
    [
        ("bookng", ["booking", "billing"], "booking"),
        ("team-b", ["team-a"], None),
        ("prod-us", ["prod-eu"], None),
        ("prod2", ["prod1"], None),
        ("prodution-eu", ["production-eu", "production-us"], "production-eu"),
        ("booking-servce", ["booking-service"], "booking-service"),
        ("x", ["booking"], None),
        ("anything", [], None),
    ],
)
def test_another_name_of_the_same_family_is_no_typo(name: str, known: list[str], guess: str | None) -> None:
    assert meant(name, known) == guess


def test_a_channel_that_no_route_goes_to_is_worth_a_note(draft: Draft) -> None:
    draft.replace("channels:\n", "channels:\n  spare: {kind: log}\n")

    assert draft.notes() == ["watchdog.yaml:15:3: no route goes to channel 'spare'"]
